"""The exhaustive stage: a candidate answers every 32-bit input there is, in as many workers as may run.

The comparing is `exhaustive`'s; here is how a candidate is asked, and what is said of one that fails.
"""

from __future__ import annotations

from dataclasses import replace

from llmptx.record import Finding
from llmptx.run.job import Array, Outcome, consecutive
from llmptx.verify.compare import compare
from llmptx.verify.exhaustive import CHUNK, Answer, WrongError, sweep
from llmptx.verify.inputs import Case
from llmptx.verify.plan_run import PLAIN, PlanError, Setup, job, outputs
from llmptx.verify.stages import Result, Tick
from llmptx.verify.trial import SECONDS, Trial


def exhaustive(trial: Trial, tick: Tick) -> Result:
    """Every 32-bit input there is, with `.approx` results at either end of their bound too."""
    ways = [PLAIN]
    if trial.reading.approximate:
        ways += [Setup(approx="low"), Setup(approx="high")]
    try:
        answers = [_answers(trial, setup) for setup in ways]
    except PlanError as error:
        return Result((error.finding,), 0)
    done = 0

    def counted(chunks: int, total: int) -> None:
        nonlocal done
        done = chunks
        tick(chunks, total)

    try:
        swept = sweep(trial.routine, trial.signature, answers, trial.lanes, counted, slack=trial.slack)
    except WrongError as wrong:
        return Result(_wrong(trial, wrong, ways[wrong.way]), done + 1)
    except _FailedError as failed:
        return Result(_failed(trial, failed), done + 1)
    trial.learn(swept)
    note = "all 2^32 inputs"
    if len(ways) > 1:
        note += f"; at most {swept.others:.3g} ULP off at either end of .approx bounds"
    return Result((), done, note)


class _FailedError(Exception):
    """A run that gave no answers: the first pattern it was to answer, and by which setup."""

    def __init__(self, first: int, setup: Setup, outcome: Outcome) -> None:
        super().__init__(first, setup, outcome)
        self.first, self.setup, self.outcome = first, setup, outcome


def _answers(trial: Trial, setup: Setup) -> Answer:
    """What the candidate makes of inputs of consecutive patterns, which the worker counts for itself.

    Raises PlanError.
    """
    case = _consecutive(trial, 0)
    asked = job(trial.text, trial.plan, trial.routine, trial.signature, case, setup)

    def answer(first: int, count: int) -> Array:
        buffers = (replace(b, data=None, first=first) if b.role == "input" else b for b in asked.buffers)
        outcome = trial.run(replace(asked, buffers=tuple(buffers), keep=True), SECONDS)
        wanted = outputs(trial.signature)[0]
        if outcome.status != "ok" or outcome.changed or wanted not in outcome.buffers:
            raise _FailedError(first, setup, outcome)
        return outcome.buffers[wanted]

    return answer


def _consecutive(trial: Trial, first: int) -> Case:
    dtype = trial.signature.inputs[0]
    data = consecutive(first, CHUNK, dtype)
    return Case(f"every {dtype} from 0x{first:08x}", {"n": CHUNK}, (data,))


def _failed(trial: Trial, failed: _FailedError) -> tuple[Finding, ...]:
    """The findings of the same run once more; those of the one that failed where this one does not."""
    case = _consecutive(trial, failed.first)
    found = trial.judge(case) if failed.setup == PLAIN else trial.execute(case, failed.setup)[0]
    return found or failed.outcome.findings or (Finding("crash", "a run gave no answer", case=case.label),)


def _wrong(trial: Trial, wrong: WrongError, setup: Setup) -> tuple[Finding, ...]:
    """The findings of a run of the block by itself; those of the answers at hand where that is right."""
    if setup == PLAIN and (found := trial.judge(wrong.case)):
        return found
    how = "" if setup == PLAIN else f" (with .approx results at the {setup.approx} end of their bound)"
    rule = trial.slack if setup != PLAIN else trial.routine.tolerance[trial.signature.dtype]
    routine = replace(trial.routine, tolerance={trial.signature.dtype: rule})
    found = compare(routine, trial.signature, wrong.case, (wrong.got,)).findings
    if not found:  # within what float64 can tell, but MPFR says otherwise
        found = (Finding("mismatch", "an answer is a little too far from the truth", case=wrong.case.label),)
    return tuple(replace(f, message=f.message + how) for f in found)
