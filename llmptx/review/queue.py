"""What waits for a person: candidates that passed, the riskiest first.

Reads records and earlier decisions; decides nothing, and judges nothing again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from llmptx.record import Attempt, Candidate, Record, Review, Verdict
from llmptx.routines import UnknownRoutine, find

State = Literal["waiting", "approved", "rejected", "recalled"]
_STATES: Mapping[str, State] = {"approve": "approved", "reject": "rejected", "recall": "recalled"}
Key = tuple[str, str, str]

# A share of the tolerance beyond which a kernel is near its limit; registers beyond which occupancy suffers.
NEAR = 0.75
MANY_REGISTERS = 128


@dataclass(frozen=True, slots=True)
class Risk:
    """One reason to look closely, and how much it weighs in the order of the queue."""

    weight: int
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate in the queue: all records that arrived at it, the last decision on it, its risks."""

    candidate: Candidate
    verdict: Verdict
    records: tuple[Record, ...]
    review: Review | None
    risks: tuple[Risk, ...]

    @property
    def key(self) -> Key:
        return self.candidate.routine, self.candidate.dtype, self.candidate.hash

    @property
    def state(self) -> State:
        if self.review is None:
            return "waiting"
        return _STATES[self.review.decision]

    @property
    def risk(self) -> int:
        return sum(risk.weight for risk in self.risks)


def queue(
    records: Iterable[Record], reviews: Iterable[Review], verdicts: Iterable[Verdict] = ()
) -> tuple[Entry, ...]:
    """The latest passing candidate of every record, grouped by routine, dtype and hash; riskiest first.

    verdicts  later ones than the records hold, in order: an entry has the last, whatever it says
    """
    groups: dict[Key, list[tuple[Record, Attempt]]] = {}
    for record in records:
        for attempt in reversed(record.attempts):
            if attempt.candidate and attempt.verdict and attempt.verdict.passed:
                key = record.routine, record.dtype, attempt.candidate.hash
                groups.setdefault(key, []).append((record, attempt))
                break
    decisions = latest(reviews)
    approved = {key[:2] for key, review in decisions.items() if review.decision == "approve"}
    later = {(v.routine, v.dtype, v.candidate): v for v in verdicts}
    entries = [
        _entry(group, later.get(key), decisions.get(key), key[:2] in approved)
        for key, group in groups.items()
    ]
    return tuple(sorted(entries, key=lambda entry: (-entry.risk, entry.key)))


def latest(reviews: Iterable[Review]) -> Mapping[Key, Review]:
    """The last decision on each candidate: the one that counts."""
    return {(review.routine, review.dtype, review.candidate): review for review in reviews}


def _entry(
    group: list[tuple[Record, Attempt]], later: Verdict | None, review: Review | None, known: bool
) -> Entry:
    record, attempt = group[-1]
    assert attempt.candidate is not None
    assert attempt.verdict is not None
    return Entry(
        candidate=attempt.candidate,
        verdict=later or attempt.verdict,
        records=tuple(record for record, _ in group),
        review=review,
        risks=tuple(_risks(record, later or attempt.verdict, known)),
    )


def _risks(record: Record, verdict: Verdict, known: bool) -> Iterator[Risk]:
    if not known:
        yield Risk(3, f"no kernel of {record.routine} {record.dtype} is approved yet")
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


def _near_limit(verdict: Verdict) -> Iterator[Risk]:
    try:
        tolerance = find(verdict.routine).tolerance[verdict.dtype]
    except (UnknownRoutine, KeyError):
        yield Risk(6, f"the catalogue has no {verdict.routine} {verdict.dtype}")
        return
    if verdict.accuracy and tolerance.rule == "ulp" and verdict.accuracy.max_ulp > NEAR * tolerance.ulp > 0:
        yield Risk(2, f"errs by {verdict.accuracy.max_ulp:.3g} ULP of the {tolerance.ulp:g} allowed")
