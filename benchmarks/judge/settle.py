"""What a mutant that passed `full` is: the same kernel, another right one, or a fault the judge missed.

Ways of proof, cheapest first. What none of them settles stays a survivor.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.judge.measure import EVERY, Journal, Outcome, Row
from benchmarks.judge.tasks import Task
from llmptx.ptx.normalize import candidate_hash
from llmptx.ptx.parser import parse
from llmptx.ptx.plan import parse_plan
from llmptx.record import Tolerance
from llmptx.routines.truth import quiet
from llmptx.run.worker import Pool
from llmptx.verify.compare import judge
from llmptx.verify.cut import Cut, cut
from llmptx.verify.depth import only_rounds_otherwise, within
from llmptx.verify.equivalent import proved
from llmptx.verify.exhaustive import DOUBT
from llmptx.verify.inputs import Case
from llmptx.verify.judge import verify
from llmptx.verify.mutate import Mutant
from llmptx.verify.read import read
from llmptx.verify.twins import TOTAL, Approx, Difference, NoAnswerError, affected, comparable, differences

TOGETHER = 4  # functions tried beside one original
# Floats this near above a power of two may be two ULP of the truth apart, if that lies below.
NEAR = 64

Settled = tuple[Outcome, str]
_Tried = tuple[Mutant, Row, Cut]


def settle(
    task: Task,
    left: Sequence[tuple[Mutant, Row]],
    journal: Journal,
    pool: Pool,
    span: tuple[int, int] = (0, TOTAL),
) -> Iterator[Row]:
    """The rows of one task's survivors once all ways were tried; those are left out of which none says
    anything. `span` is for tests: a proof needs all of it."""
    open_: list[tuple[Mutant, Row]] = []
    for mutant, row in left:
        began = time.perf_counter()
        if proved(task.text, mutant.text):
            yield replace(row, outcome="proved", message="by z3", proof_seconds=_since(began))
        elif (share := _within(task, mutant, pool)) is not None:
            words = f"at most {share:.0%} of the depth the rule allows"
            yield replace(row, outcome="within", message=words, proof_seconds=_since(began))
        else:
            open_.append((mutant, row))
    original = cut(parse(task.text))
    if original is None or not open_:
        return
    cuts = [(mutant, row, cut(parse(mutant.text))) for mutant, row in open_]
    alike = [(m, r, c) for m, r, c in cuts if c is not None and comparable(original, c)]
    worst = certified(task, journal, pool) if alike else None
    if worst is None:
        return
    for batch in _batches(alike, TOGETHER):
        began = time.perf_counter()
        found = _tried(task, original, batch, worst, pool, span)
        spent = _since(began) / len(batch)
        for (_, row, _), settled in zip(batch, found, strict=True):
            if settled is not None:
                yield replace(row, outcome=settled[0], message=settled[1], proof_seconds=round(spent, 4))


def _within(task: Task, mutant: Mutant, pool: Pool) -> float | None:
    """For a sum rounded otherwise: the greatest share of the rule's depth that its terms go through."""
    module = parse(mutant.text)
    if not only_rounds_otherwise(parse(task.text), module):
        return None
    return within(module, parse_plan(mutant.text), task.routine, task.signature, pool.run)


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 4)


def _batches(items: Sequence[_Tried], size: int) -> Iterator[Sequence[_Tried]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _tried(
    task: Task, original: Cut, batch: Sequence[_Tried], worst: float, pool: Pool, span: tuple[int, int]
) -> list[Settled | None]:
    """All 2^32 values of functions of 32 bits, beside the original's, which is right on every one."""
    rule = task.routine.tolerance[task.signature.dtype]
    ways: list[tuple[Approx, Tolerance]] = [("exact", rule)]
    if any(read(m.text, task.routine, task.signature).approximate for m, _, _ in batch):
        slack = replace(rule, ulp=2 * rule.ulp + 1) if rule.rule in ("ulp", "special") else rule
        ways += [("low", slack), ("high", slack)]
    sums = [_Sum() for _ in batch]
    try:
        for way, allowed in ways:
            chunks = affected(original, [c for _, _, c in batch], pool.run, way, span)
            for (_, _, other), theirs, total in zip(batch, chunks, sums, strict=True):
                for difference in differences(original, other, pool.run, theirs, way):
                    if not total.wrong:
                        total.take(*_error(task, difference, allowed, worst), difference.values.size)
    except NoAnswerError:
        return [None] * len(batch)
    return [total.settled(rule) for total in sums]


@dataclass(slots=True)
class _Sum:
    """What was seen of one function: answers that differ, the largest error, what is wrong or may be."""

    differing: int = 0
    most: float = 0.0
    wrong: str = ""
    surely: bool = False

    def take(self, error: float, wrong: str, surely: bool, count: int) -> None:
        self.differing += count
        self.most = max(self.most, error)
        self.wrong, self.surely = wrong, surely

    def settled(self, rule: Tolerance) -> Settled | None:
        if self.wrong:
            return ("missed", self.wrong) if self.surely else None
        if not self.differing:
            return "proved", "the same answers to all 2^32 values"
        limit = f"at most {self.most:.3g} ULP off where {rule.ulp:g} are allowed"
        if rule.rule == "exact":
            limit = "which the rule leaves open"
        return "correct", f"another answer to {self.differing} of all 2^32 values, {limit}"


def _error(task: Task, difference: Difference, rule: Tolerance, worst: float) -> tuple[float, str, bool]:
    """A bound on the largest error in ULP of the other's answers, what is wrong or may be, and whether it is.

    `worst` is the original's largest error: what is few floats from it is within a few ULP more.
    """
    steps = difference.steps.astype(np.float64)
    narrow = (difference.answers & 0x007FFFFF) < NEAR
    bound = worst + steps * np.where(narrow, 2.0, 1.0)
    unsure = (difference.steps >= NEAR) | (bound > rule.ulp - DOUBT)
    near = float(bound[~unsure].max(initial=0.0))
    if not unsure.any():
        return near, "", False
    x, dtype = difference.values[unsure], task.signature.outputs[0]
    bits = difference.answers[unsure]
    got = bits.astype(np.uint8) if dtype == "bool" else bits.view(dtype)
    with quiet():
        truth = task.routine.oracle((x,), {"n": x.size}, task.signature)[0]
        judged = judge(rule, truth, got, Case("all values", {"n": x.size}, (x,)), dtype)
    doubtful = judged.wrong.copy()
    surely = judged.wrong.copy()
    if rule.rule != "exact":
        doubtful |= judged.error > rule.ulp - DOUBT
        surely &= judged.error > rule.ulp + DOUBT
    if doubtful.any():
        at = int(np.argmax(np.where(doubtful, judged.error, -1.0)))
        words = f"{x[at]!s} gives {got[at]!s}, {judged.error[at]:.4g} ULP off where {rule.ulp:g} are allowed"
        return float(judged.error[at]), words, bool(surely.any())
    return max(near, float(judged.error.max(initial=0.0))), "", False


def certified(task: Task, journal: Journal, pool: Pool) -> float | None:
    """The original's largest error in ULP over all its inputs, from the journal or found now; None where it
    fails."""
    key = (task.name, candidate_hash(task.text))
    row = journal.rows.get(key)
    if row is None:
        began = time.perf_counter()
        verdict = verify(task.text, task.routine.name, task.signature.dtype, "exhaustive", pool=pool)
        row = Row(
            task=task.name,
            group=task.group,
            kind=EVERY,
            line=0,
            what="",
            hash=key[1],
            outcome="survived" if verdict.passed else "killed",
            seconds=round(time.perf_counter() - began, 4),
            max_ulp=verdict.accuracy.max_ulp if verdict.accuracy else 0.0,
        )
        journal.add(row)
    return row.max_ulp if row.outcome == "survived" else None


def survivors(
    pairs: Iterable[tuple[Task, Mutant]], journal: Journal
) -> dict[str, tuple[Task, list[tuple[Mutant, Row]]]]:
    """The survivors among mutants, by task."""
    found: dict[str, tuple[Task, list[tuple[Mutant, Row]]]] = {}
    for task, mutant in pairs:
        row = journal.rows.get((task.name, mutant.hash))
        if row is not None and row.outcome == "survived":
            found.setdefault(task.name, (task, []))[1].append((mutant, row))
    return found
