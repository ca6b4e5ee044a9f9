"""What a corpus holds: counts, doubles, and whether its records agree with themselves.

Only looks: the corpus is append-only, and nothing here writes to it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from llmptx.corpus.journal import Problem, decoded, lines
from llmptx.corpus.store import Corpus, outcome, passing
from llmptx.corpus.training import part_of
from llmptx.ptx.errors import PtxError
from llmptx.ptx.normalize import candidate_hash
from llmptx.record import ENGINE_VERSION, JUDGE_VERSION, Record, Verdict
from llmptx.routines import find

_FENCED = re.compile(r"```ptx\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts over the records that can be read; the mappings count records.

    turns       replies in all; candidates: distinct normalised PTX texts among them
    cost        US dollars, of the calls whose cost is known
    unreadable  lines that could not be read
    """

    records: int
    outcomes: Mapping[str, int]
    routines: Mapping[str, int]
    dtypes: Mapping[str, int]
    models: Mapping[str, int]
    terms: Mapping[str, int]
    turns: int
    candidates: int
    input_tokens: int
    output_tokens: int
    cost: float
    unreadable: int


def stats(corpus: Corpus) -> Stats:
    """One pass over the file."""
    counts: dict[str, Counter[str]] = {
        n: Counter() for n in ("outcomes", "routines", "dtypes", "models", "terms")
    }
    records = turns = tokens_in = tokens_out = unreadable = 0
    cost = 0.0
    hashes: set[str] = set()
    for entry in corpus.scan():
        if isinstance(entry, Problem):
            unreadable += 1
            continue
        records += 1
        turns += len(entry.attempts)
        counts["outcomes"][outcome(entry)] += 1
        counts["routines"][entry.routine] += 1
        counts["dtypes"][entry.dtype] += 1
        counts["models"][entry.model] += 1
        counts["terms"][entry.terms_class] += 1
        for attempt in entry.attempts:
            tokens_in += attempt.completion.usage.input_tokens
            tokens_out += attempt.completion.usage.output_tokens
            cost += attempt.completion.usage.cost or 0.0
            if attempt.candidate:
                hashes.add(attempt.candidate.hash)
    return Stats(
        records=records,
        outcomes=dict(counts["outcomes"]),
        routines=dict(counts["routines"]),
        dtypes=dict(counts["dtypes"]),
        models=dict(counts["models"]),
        terms=dict(counts["terms"]),
        turns=turns,
        candidates=len(hashes),
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cost=cost,
        unreadable=unreadable,
    )


def distinct(records: Iterable[Record]) -> Iterator[Record]:
    """The records without those whose passing candidate, or whole content, an earlier record has.

    Candidates are compared by the hash of their normalised text: names of registers and labels don't count.
    """
    seen: set[str] = set()
    for record in records:
        candidate = passing(record)
        key = f"{record.routine} {record.dtype} {candidate.hash}" if candidate else record.hash
        if key not in seen:
            seen.add(key)
            yield record


def check(corpus: Corpus, rechecks: Iterable[Verdict] = ()) -> Iterator[Problem]:
    """Every line that is unreadable, a double, contradicts itself, is stale or leaks, with its number.

    Stale: the kernel that passed did so by another judge, engine or spec than today's, and none of rechecks
    is of today. Leaking: its kernel, or one shown in its task, is also that of a routine in the other split.
    """
    seen: dict[str, int] = {}
    parts: dict[str, set[str]] = {}
    shown: dict[str, str] = {}
    today = {(v.routine, v.dtype, v.candidate) for v in rechecks if not _outdated(v)}
    for record in corpus:
        if candidate := passing(record):
            parts.setdefault(candidate.hash, set()).add(part_of(record.routine))
    for line in lines(corpus.path):
        entry = decoded(line, Record.from_dict)
        if isinstance(entry, Problem):
            yield entry
            continue
        first = seen.setdefault(entry.hash, line.number)
        if first != line.number:
            yield Problem(line.number, f"is the same record as line {first}")
        for message in (*_contradictions(entry), *_stale(entry, today), *_leaks(entry, parts, shown)):
            yield Problem(line.number, message)


def _stale(record: Record, today: Collection[tuple[str, str, str]]) -> Iterator[str]:
    for attempt in record.attempts:
        verdict = attempt.verdict
        if verdict and verdict.passed and (verdict.routine, verdict.dtype, verdict.candidate) not in today:
            why = _outdated(verdict)
            if why:
                yield f"{record.routine} {record.dtype}: is stale: {why}; run llmptx recheck"


def _outdated(verdict: Verdict) -> str:
    if verdict.judge != JUDGE_VERSION:
        return f"judged by judge {verdict.judge}, today's is {JUDGE_VERSION}"
    if verdict.engine != ENGINE_VERSION:
        return f"judged on engine {verdict.engine}, today's is {ENGINE_VERSION}"
    try:
        spec = find(verdict.routine).spec_hash(verdict.dtype)
    except KeyError:
        return "the catalogue does not have its routine and dtype"
    return "" if spec == verdict.spec else "the routine's spec has changed"


def _leaks(record: Record, parts: Mapping[str, set[str]], shown: dict[str, str]) -> Iterator[str]:
    part = part_of(record.routine)
    candidate = passing(record)
    if candidate and len(parts[candidate.hash]) > 1:
        yield f"{record.routine} {record.dtype}: leaks: its kernel is also one of the other split"
    for message in record.attempts[0].prompt.messages if record.attempts else ():
        for text in _FENCED.findall(message.content):
            if text not in shown:
                shown[text] = _hash(text)
            if parts.get(shown[text], {part}) - {part}:
                yield f"{record.routine} {record.dtype}: leaks: its task shows a kernel of the other split"


def _contradictions(record: Record) -> Iterator[str]:
    what = f"{record.routine} {record.dtype}"
    if record.passed != (passing(record) is not None):
        word = (
            "passed, but no verdict of it did" if record.passed else "did not pass, but a verdict of it did"
        )
        yield f"{what}: the record says it {word}"
    for number, attempt in enumerate(record.attempts, start=1):
        if attempt.candidate is None:
            continue
        if not _matches(attempt.candidate.text, attempt.candidate.hash):
            yield f"{what}, attempt {number}: the candidate's hash is not that of its text"
        if attempt.verdict and attempt.verdict.candidate != attempt.candidate.hash:
            yield f"{what}, attempt {number}: the verdict is about another candidate"


def _matches(text: str, stated: str) -> bool:
    # Text that does not parse has no normal form; its hash is whatever the judge gave it.
    return _hash(text) in ("", stated)


def _hash(text: str) -> str:
    try:
        return candidate_hash(text)
    except PtxError:
        return ""
