"""What a corpus holds: counts, doubles, and whether its records agree with themselves.

Only looks: the corpus is append-only, and nothing here writes to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from llmptx.corpus.journal import Problem, decoded, lines
from llmptx.corpus.store import Corpus, outcome, passing
from llmptx.ptx.errors import PtxError
from llmptx.ptx.normalize import candidate_hash
from llmptx.record import Record


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


def check(corpus: Corpus) -> Iterator[Problem]:
    """Every unreadable line, double, and record that contradicts itself, with its line."""
    seen: dict[str, int] = {}
    for line in lines(corpus.path):
        entry = decoded(line, Record.from_dict)
        if isinstance(entry, Problem):
            yield entry
            continue
        first = seen.setdefault(entry.hash, line.number)
        if first != line.number:
            yield Problem(line.number, f"is the same record as line {first}")
        yield from (Problem(line.number, message) for message in _contradictions(entry))


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
    try:
        return candidate_hash(text) == stated
    except PtxError:
        return True  # text that does not parse has no normal form; its hash is whatever the judge gave it
