"""What waits for a person: candidates that passed, the riskiest first.

Reads records and earlier decisions; decides nothing, and judges nothing again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmptx.record import Attempt, Candidate, Record, Review, Verdict
from llmptx.review.decisions import Key, Policy, Standing, State, standings
from llmptx.routines import UnknownRoutine, find

# A share of the tolerance beyond which a kernel is near its limit; registers beyond which occupancy suffers.
NEAR = 0.75
MANY_REGISTERS = 128

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)

# What the judge lets pass and kernels have been used to cheat with: a person looks at it.
# A word of the first column must be there before the pattern is looked for.
_CONSTRUCTS = tuple(
    (words, re.compile(pattern), weight, reason)
    for words, pattern, weight, reason in (
        (
            (".const", ".global"),
            r"(?m)^[ \t]*(?:\.visible[ \t]+)?\.(?:const|global)[ \t]+\.",
            2,
            "carries a table of constants",
        ),
        (
            (".volatile", ".relaxed", ".acquire", ".release", "atom.", "red."),
            r"\.(?:volatile|relaxed|acquire|release)\b|\b(?:atom|red)\.",
            2,
            "orders memory, or has atomics",
        ),
        ((".local",), r"\.local\b", 1, "uses local memory"),
        ((".approx",), r"\.approx\b", 1, "uses approximate instructions"),
        ((".nc",), r"\.nc\b", 1, "reads through the read-only cache"),
        (("setp.eq",), r"\bsetp\.eq\.[us]64\b", 1, "asks whether an extent or address equals something"),
    )
)


@dataclass(frozen=True, slots=True)
class Risk:
    """One reason to look closely, and how much it weighs in the order of the queue."""

    weight: int
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate in the queue: all records that arrived at it, how it stands, its risks."""

    candidate: Candidate
    verdict: Verdict
    records: tuple[Record, ...]
    standing: Standing
    risks: tuple[Risk, ...]

    @property
    def key(self) -> Key:
        return self.candidate.routine, self.candidate.dtype, self.candidate.hash

    @property
    def state(self) -> State:
        return self.standing.state

    @property
    def review(self) -> Review | None:
        """The last decision that stands."""
        return self.standing.decision

    @property
    def risk(self) -> int:
        return sum(risk.weight for risk in self.risks)


def queue(
    records: Iterable[Record],
    reviews: Iterable[Review],
    verdicts: Iterable[Verdict] = (),
    policy: Policy = Policy(),  # noqa: B008
) -> tuple[Entry, ...]:
    """The latest passing candidate of every record, grouped by routine, dtype and hash; riskiest first.

    verdicts  later ones than the records hold, in order: an entry has the last, whatever it says
    """
    groups: dict[Key, list[tuple[Record, Attempt]]] = {}
    for record in records:
        if attempt := passed(record):
            assert attempt.candidate is not None
            key = record.routine, record.dtype, attempt.candidate.hash
            groups.setdefault(key, []).append((record, attempt))
    stand = standings(reviews, policy)
    known = Known.of(stand, {key: group[-1][0].model for key, group in groups.items()})
    later = {(v.routine, v.dtype, v.candidate): v for v in verdicts}
    entries = [
        entry_of(group, later.get(key), stand.get(key, Standing(needed=policy.needed(key[0]))), known)
        for key, group in groups.items()
    ]
    return tuple(sorted(entries, key=lambda entry: (-entry.risk, entry.key)))


def passed(record: Record) -> Attempt | None:
    """The record's latest attempt that passed."""
    for attempt in reversed(record.attempts):
        if attempt.candidate and attempt.verdict and attempt.verdict.passed:
            return attempt
    return None


@dataclass(frozen=True, slots=True)
class Known:
    """What people have approved something of: tasks by routine and dtype, and models by name."""

    tasks: frozenset[tuple[str, str]]
    models: frozenset[str]

    @staticmethod
    def of(stand: Mapping[Key, Standing], models: Mapping[Key, str]) -> Known:
        approved = [key for key, standing in stand.items() if standing.state == "approved"]
        return Known(
            frozenset(key[:2] for key in approved),
            frozenset(models[key] for key in approved if key in models),
        )

    def risks(self, routine: str, dtype: str, model: str) -> Iterator[Risk]:
        """What comes of nobody knowing the task, or the model."""
        if (routine, dtype) not in self.tasks:
            yield Risk(3, f"no kernel of {routine} {dtype} is approved yet")
        if model not in self.models:
            yield Risk(2, f"nothing that {model} wrote is approved yet")


def entry_of(
    group: Sequence[tuple[Record, Attempt]], later: Verdict | None, standing: Standing, known: Known
) -> Entry:
    """The entry of the records and attempts that arrived at one candidate, the last of them told of."""
    record, attempt = group[-1]
    assert attempt.candidate is not None
    assert attempt.verdict is not None
    verdict = later or attempt.verdict
    news = known.risks(record.routine, record.dtype, record.model)
    return Entry(
        candidate=attempt.candidate,
        verdict=verdict,
        records=tuple(record for record, _ in group),
        standing=standing,
        risks=(*risks(record, verdict, attempt.candidate.text), *news),
    )


def risks(record: Record, verdict: Verdict, text: str) -> tuple[Risk, ...]:
    """What in a kernel, its verdict and the way to it asks for a close look."""
    return tuple(_risks(record, verdict, text))


def _risks(record: Record, verdict: Verdict, text: str) -> Iterator[Risk]:
    if (rounds := len(record.attempts)) > 1:
        yield Risk(rounds, f"passed only in round {rounds}")
    if verdict.level == "quick":
        yield Risk(6, "judged at level quick only")
    yield from _near_limit(verdict)
    spilled = [r for r in verdict.resources if r.spill_stores or r.spill_loads]
    if spilled:
        worst = max(spilled, key=lambda r: r.spill_stores + r.spill_loads)
        yield Risk(2, f"spills {worst.spill_stores + worst.spill_loads} bytes on {worst.target}")
    if (registers := max((r.registers for r in verdict.resources), default=0)) > MANY_REGISTERS:
        yield Risk(1, f"needs {registers} registers a thread")
    if any(r.shared or r.barriers for r in verdict.resources):
        yield Risk(1, "threads work together (shared memory, barriers)")
    code = _COMMENT.sub("", text)
    for words, pattern, weight, reason in _CONSTRUCTS:
        if any(word in code for word in words) and pattern.search(code):
            yield Risk(weight, reason)


def _near_limit(verdict: Verdict) -> Iterator[Risk]:
    try:
        tolerance = find(verdict.routine).tolerance[verdict.dtype]
    except (UnknownRoutine, KeyError):
        yield Risk(6, f"the catalogue has no {verdict.routine} {verdict.dtype}")
        return
    if verdict.accuracy and tolerance.rule == "ulp" and verdict.accuracy.max_ulp > NEAR * tolerance.ulp > 0:
        yield Risk(2, f"errs by {verdict.accuracy.max_ulp:.3g} ULP of the {tolerance.ulp:g} allowed")
