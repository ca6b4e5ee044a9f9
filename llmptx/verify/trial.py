"""One candidate on trial: run a case some way, and say what was wrong with what came back.

Here the parent's side of the boundary is: `Trial.run` sends a job that holds no expected value, and only what
came back is compared. The stages are built of these steps; this module knows no stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from llmptx.ptx.plan import Plan
from llmptx.record import Accuracy, Finding, FindingKind, Routine, Signature, Tolerance
from llmptx.run.job import Array, Job, Outcome
from llmptx.verify.compare import Comparison, Curve, compare, merge_curves
from llmptx.verify.exhaustive import Swept
from llmptx.verify.inputs import Case
from llmptx.verify.plan_run import PLAIN, Part, PlanError, Setup, job, outputs, results
from llmptx.verify.read import Reading
from llmptx.verify.shrink import Shrunk, shrink

Run = Callable[[Job, float], Outcome]

SECONDS = 20.0
MAX_FINDINGS = 8
KEPT_ELEMENTS = 1 << 16
KEPT_CASES = 96
SANITIZED_ELEMENTS = 1 << 20
OTHER_POISON = 0x5A


@dataclass(frozen=True, slots=True)
class Kept:
    """A case whose plain run was right, and what it gave: other runs of it must give the same."""

    case: Case
    outputs: tuple[Array, ...]

    @property
    def elements(self) -> int:
        return sum(a.size for a in (*self.case.inputs, *self.outputs))


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that failed, and how to run another like it: what is wrong with that, and no more."""

    case: Case
    again: Callable[[Trial, Case], tuple[Finding, ...]]


@dataclass
class Trial:
    """What the stages share: the candidate, how to run it, and what has been learnt so far.

    lanes    how many threads may call `run` at once
    seconds  one run may take
    brief    to find out no more of a failure than that it is one
    """

    text: str
    routine: Routine
    signature: Signature
    reading: Reading
    plan: Plan
    run: Run
    seed: int
    kept: list[Kept] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    max_ulp: float = 0.0
    at: str = ""
    checked: int = 0
    curve: Curve = ()
    rounded: float | None = None
    monotonicity_breaks: int | None = None
    lanes: int = 1
    seconds: float = SECONDS
    brief: bool = False

    def accuracy(self) -> Accuracy | None:
        """Over all that was compared; None before anything was."""
        if not self.checked:
            return None
        return Accuracy(
            self.max_ulp, self.at, self.checked, self.curve, self.rounded, self.monotonicity_breaks
        )

    def learn(self, swept: Swept) -> None:
        """Takes in what the exhaustive stage saw, which says more than all that came before."""
        self.checked += swept.checked
        if self.signature.outputs[0] != "float32":
            return
        value = np.array(swept.at, np.uint32).view(np.float32)
        self.max_ulp = max(self.max_ulp, swept.max_ulp)
        self.at = f"in0={value} (0x{swept.at:08x})" if swept.max_ulp else ""
        self.curve = swept.curve
        self.rounded = swept.rounded / swept.checked
        self.monotonicity_breaks = swept.breaks if self.routine.monotone else None

    def execute(
        self, case: Case, setup: Setup = PLAIN, part: Part | None = None
    ) -> tuple[tuple[Finding, ...], Outcome | None]:
        """Runs a case, or that part of a call; findings where the run itself failed, else the outcome with
        every output in it.
        """
        try:
            asked = job(self.text, self.plan, self.routine, self.signature, case, setup, part)
        except PlanError as error:
            return (replace(error.finding, case=case.label),), None
        outcome = self.run(asked, self.seconds)
        found = [replace(f, case=f.case or case.label) for f in outcome.findings]
        if outcome.status != "ok" and not found:
            found.append(
                Finding("crash", f"the run ended with {outcome.status} and said no more", case=case.label)
            )
        for name in outcome.changed:
            if name != setup.alias:
                found.append(
                    Finding(
                        "input-modified", f"the kernel wrote to input {name}", buffer=name, case=case.label
                    )
                )
        for name in outputs(self.signature):
            if name in outcome.unwritten:
                found += _unwritten(name, np.flatnonzero(outcome.unwritten[name]), case)
        missing = [name for name in outputs(self.signature) if name not in outcome.buffers]
        if missing and not found:
            found.append(Finding("crash", f"the run gave back no {missing[0]}", case=case.label))
        return tuple(found[:MAX_FINDINGS]), None if found else outcome

    def judge(self, case: Case) -> tuple[Finding, ...]:
        """Runs a case plainly and compares it; where anything is wrong, finds out more about why."""
        found, outcome = self.execute(case)
        got = results(self.signature, outcome.buffers) if outcome is not None else None
        if got is not None:
            found = self.compared(case, got).findings
        if found:
            found = found if self.brief else self._explained(case, found, got)
            self.failures.append(Failure(case, _plainly))
        elif got is not None:
            self._keep(Kept(case, got))
        return found

    def at_the_bound(self, kept: Kept, setup: Setup, how: str) -> tuple[tuple[Finding, ...], float]:
        """Runs a case with approximations pushed to an end of their bound: findings, and the largest error in
        ULP.

        Such a result may lie off by twice the routine's tolerance and one ULP. CUDA documents its functions
        by the error found on chips, whose approximations are better than the manual's bound for the
        instruction, and a bound of the instruction is twice as many ULP of a result just below a power of
        two: expf, 2 ULP by the documentation, comes to 4.03 with `ex2.approx` at its bound.
        """
        failure = Failure(kept.case, lambda trial, case: trial._bounded(case, setup, how)[0])
        found, worst = self._bounded(kept.case, setup, how)
        if found:
            self.failures.append(failure)
        return found, worst

    @property
    def slack(self) -> Tolerance:
        """What a result is allowed whose approximations lie at their bound."""
        rule = self.routine.tolerance[self.signature.dtype]
        return replace(rule, ulp=2 * rule.ulp + 1) if rule.rule in ("ulp", "special") else rule

    def _bounded(self, case: Case, setup: Setup, how: str) -> tuple[tuple[Finding, ...], float]:
        found, outcome = self.execute(case, setup)
        if outcome is None:
            return tuple(replace(f, message=f"{f.message} ({how})") for f in found), 0.0
        lenient = replace(self.routine, tolerance={self.signature.dtype: self.slack})
        got = results(self.signature, outcome.buffers)
        comparison = compare(lenient, self.signature, case, got)
        wrong = tuple(replace(f, message=f"{f.message} ({how})") for f in comparison.findings)
        return wrong, comparison.max_ulp

    def compared(self, case: Case, got: Sequence[Array]) -> Comparison:
        """Compares outputs with the truth and takes the error into the verdict's accuracy."""
        comparison = compare(self.routine, self.signature, case, got)
        if comparison.max_ulp > self.max_ulp:
            self.max_ulp, self.at = comparison.max_ulp, f"{comparison.at} of {case.label}"
        self.checked += comparison.checked
        self.curve = merge_curves((self.curve, comparison.curve)) if comparison.curve else self.curve
        return comparison

    def _keep(self, kept: Kept) -> None:
        if kept.elements <= KEPT_ELEMENTS and len(self.kept) < KEPT_CASES:
            self.kept.append(kept)

    def _explained(
        self, case: Case, found: tuple[Finding, ...], got: Sequence[Array] | None = None
    ) -> tuple[Finding, ...]:
        """Causes first: what the sanitizers say of the case, elements nobody wrote; then what was seen."""
        small = sum(array.size for array in case.inputs) <= SANITIZED_ELEMENTS
        causes = self.execute(case, Setup(check=True))[0] if small or got is None else ()
        if got is not None and not any(f.kind == "unwritten-output" for f in causes):
            causes += self.unwritten(case, got)
        if causes and got is None:
            # The plain run only died or hung of this; the sanitizers name the line.
            found = tuple(f for f in found if f.kind not in ("crash", "timeout"))
        return tuple(dict.fromkeys(causes + found))[:MAX_FINDINGS]

    def unwritten(self, case: Case, got: Sequence[Array]) -> tuple[Finding, ...]:
        """Elements that still hold the poison; a second run with the complement tells them from values."""
        suspect = [_poisoned(array, PLAIN.poison) for array in got]
        if not any(mask.any() for mask in suspect):
            return ()
        _, outcome = self.execute(case, Setup(poison=OTHER_POISON))
        if outcome is None:
            return ()
        found: list[Finding] = []
        names = outputs(self.signature)
        for name, mask, other in zip(names, suspect, results(self.signature, outcome.buffers), strict=True):
            found += _unwritten(name, np.flatnonzero(mask & _poisoned(other, OTHER_POISON)), case)
        return tuple(found)

    def vary(self, kept: Kept, setup: Setup, kind: FindingKind, how: str) -> tuple[Finding, ...]:
        """Runs a case that was right once more, another way, and expects the same bits.

        Other bits that are right too are allowed where the kernel adds floats in an order nobody fixes, or
        `kind` is mismatch: there only a wrong value counts.
        """
        found = self._varied(kept, setup, kind, how)
        if found:
            failure = Failure(kept.case, lambda trial, case: trial._also_varied(case, setup, kind, how))
            self.failures.append(failure)
        return found

    def _also_varied(self, case: Case, setup: Setup, kind: FindingKind, how: str) -> tuple[Finding, ...]:
        """As `vary`, of a case whose plain run is not known yet; nothing where that is wrong itself."""
        _, outcome = self.execute(case)
        if outcome is None:
            return ()
        got = results(self.signature, outcome.buffers)
        if self.compared(case, got).findings:
            return ()
        return self._varied(Kept(case, got), setup, kind, how)

    def _varied(self, kept: Kept, setup: Setup, kind: FindingKind, how: str) -> tuple[Finding, ...]:
        found, outcome = self.execute(kept.case, setup)
        if outcome is None:
            return tuple(replace(f, message=f"{f.message} ({how})") for f in found)
        got = results(self.signature, outcome.buffers)
        if all(map(same, got, kept.outputs)):
            return ()
        wrong = self.compared(kept.case, got).findings
        if kind == "mismatch" or (self.reading.unordered and not wrong):
            return tuple(replace(f, message=f"{f.message} ({how})") for f in wrong)
        return (_differs(kept, got, outputs(self.signature), kind, how), *wrong)[:MAX_FINDINGS]


def _plainly(trial: Trial, case: Case) -> tuple[Finding, ...]:
    """What a run with all sanitizers says, or else a comparison: quick to end where the plain run dies."""
    found, outcome = trial.execute(case, Setup(check=True))
    if outcome is None:
        return found
    found, outcome = trial.execute(case)
    return (
        found if outcome is None else trial.compared(case, results(trial.signature, outcome.buffers)).findings
    )


def smallest(trial: Trial, findings: Sequence[Finding]) -> Shrunk | None:
    """The last case that failed, made small while what fails is of the kinds found; None where none did.

    What is learnt on the way is not taken into the trial's figures.
    """
    if not trial.failures or any(f.kind in ("timeout", "deadlock") for f in findings):
        return None  # a hang takes too long to see again and again
    apart = replace(trial, kept=[], failures=[])
    failure = trial.failures[-1]
    kinds = {finding.kind for finding in findings}

    def fails(case: Case) -> tuple[Finding, ...]:
        return tuple(f for f in failure.again(apart, case) if f.kind in kinds)

    return shrink(trial.routine, trial.signature, failure.case, fails, element=findings[0].element)


def same(a: Array, b: Array) -> bool:
    """Bit for bit, but that any NaN is any other."""
    if a.tobytes() == b.tobytes():
        return True
    if not np.issubdtype(a.dtype, np.floating):
        return False
    return bool(np.all(_bits_equal(a, b) | (np.isnan(a) & np.isnan(b))))


def _bits_equal(a: Array, b: Array) -> Array:
    shape = (a.size, a.dtype.itemsize)
    left = np.ascontiguousarray(a).view(np.uint8).reshape(shape)
    right = np.ascontiguousarray(b).view(np.uint8).reshape(shape)
    return np.asarray((left == right).all(axis=1))


def _poisoned(array: Array, poison: int) -> Array:
    raw = np.ascontiguousarray(array).view(np.uint8).reshape(array.size, array.dtype.itemsize)
    return np.asarray((raw == poison).all(axis=1))


def _unwritten(name: str, places: Array, case: Case) -> list[Finding]:
    if not places.size:
        return []
    first = int(places[0])
    message = f"{name}[{first}] was never written; {places.size} elements in all were not"
    return [Finding("unwritten-output", message, buffer=name, element=first, case=case.label)]


def _differs(kept: Kept, got: Sequence[Array], names: Sequence[str], kind: FindingKind, how: str) -> Finding:
    for name, before, now in zip(names, kept.outputs, got, strict=True):
        places = np.flatnonzero(~_bits_equal(before, now))
        if places.size:
            first = int(places[0])
            message = f"{name}[{first}] is {now[first]} {how}, and {before[first]} in the plain run"
            return Finding(kind, message, buffer=name, element=first, case=kept.case.label)
    return Finding(kind, f"the answer differs {how}", case=kept.case.label)
