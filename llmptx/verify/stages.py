"""The stages of the judge that run the candidate, cheapest first. Each ends at its first failing case.

A stage takes a Trial and gives Progress: findings and how many cases ran. Order and timing are the judge's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from llmptx.record import Finding, FindingKind, Level
from llmptx.verify import registers
from llmptx.verify.capped import BLOCKS, capped
from llmptx.verify.inputs import cases
from llmptx.verify.plan_run import PLAIN, Setup, blocks_of, element_alignment, job, outputs
from llmptx.verify.trial import OTHER_POISON, Kept, Trial

SANITIZED_CASES = 12
VARIED_CASES = 4
SCHEDULES = 3
WIDTH_CASES = 2
# One thread at a time, a block of 256 that waits a dozen times takes some 30 ms.
WIDTH_THREADS = 1 << 12
# Checked, a block that waits a dozen times takes some 40 us: a thousand blocks show what ten thousand would.
CHECKED_THREADS = 1 << 18
CAPPED_CASES = 3
CAPPED_BLOCKS = 64
_ENDS: tuple[Literal["low", "high"], ...] = ("low", "high")

Tick = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Result:
    """How a stage ended: it passed where there is no finding."""

    findings: tuple[Finding, ...]
    cases: int
    note: str = ""


def quick(trial: Trial, tick: Tick) -> Result:
    """A few small shapes with special values."""
    return _values(trial, "quick", tick)


def full(trial: Trial, tick: Tick) -> Result:
    """Every shape and distribution of the catalogue's inputs, each element compared."""
    return _values(trial, "full", tick)


def _values(trial: Trial, level: Level, tick: Tick) -> Result:
    count = 0
    for case in cases(trial.routine, trial.signature, level, trial.seed, blocks_of(trial.plan)):
        count += 1
        tick(count, 0)
        if found := trial.judge(case):
            return Result(found, count)
    return Result((), count)


def sanitizers(trial: Trial, tick: Tick) -> Result:
    """Every access checked, on small and awkward shapes."""
    runs = [
        (kept, Setup(check=True), "with all sanitizers")
        for kept in varied(_light(trial, CHECKED_THREADS), SANITIZED_CASES)
    ]
    return _variations(trial, runs, tick)


def memory(trial: Trial, tick: Tick) -> Result:
    """The same answers from other memory: other poison, guards before, least alignment, out == in. And from
    other registers, where any are read unwritten."""
    result = _variations(trial, list(_memory_runs(trial)), tick)
    module = trial.reading.module
    names = registers.guessed(module) if module and not result.findings else frozenset()
    if not module or not names:
        return result
    how = f"with other values in registers that nothing was written to: {', '.join(sorted(names)[:4])}"
    runs = [(kept, PLAIN, how) for kept in varied(_light(trial, CHECKED_THREADS), VARIED_CASES)]
    count = result.cases
    for pattern in registers.PATTERNS:
        other = replace(trial, text=registers.filled(module, trial.plan, names, pattern))
        found = _variations(other, runs, tick, nondeterminism=True)
        count += found.cases
        if found.findings:
            kind: FindingKind = "uninitialized-read"
            return Result(tuple(replace(f, kind=kind) for f in found.findings), count)
    return Result((), count)


def _memory_runs(trial: Trial) -> Iterator[tuple[Kept, Setup, str]]:
    aligned = element_alignment(trial.signature, trial.plan)
    for kept in varied(_light(trial, CHECKED_THREADS), VARIED_CASES):
        yield kept, Setup(poison=OTHER_POISON), "with other bytes in memory before the launch"
        yield kept, Setup(guard="before"), "with buffers that start at a page"
        for step, name in enumerate(("every buffer", "each buffer differently")):
            if all(size >= 256 for size in aligned.values()):
                break
            offsets = {
                buffer: size * (1 + step * place) % 256
                for place, (buffer, size) in enumerate(aligned.items())
            }
            yield (
                kept,
                Setup(check=True, offsets=offsets),
                f"with {name} as little aligned as the plan allows",
            )
        for alias in _aliases(trial):
            yield kept, Setup(alias=alias), f"with {outputs(trial.signature)[0]} in the memory of {alias}"


def _aliases(trial: Trial) -> Sequence[str]:
    if not trial.routine.inplace or trial.plan.noalias:
        return ()
    target = trial.signature.outputs[0]
    return [f"in{i}" for i, dtype in enumerate(trial.signature.inputs) if dtype == target]


def schedules(trial: Trial, tick: Tick) -> Result:
    """Blocks and warps in other orders; fewer blocks, for kernels that go round."""
    chosen = varied(trial.kept, VARIED_CASES, largest=True)
    seeds = np.random.default_rng(trial.seed).integers(0, 2**31, SCHEDULES).tolist()
    runs = [(k, Setup(seed=s), "with blocks and warps in another order") for k in chosen for s in seeds]
    result = _variations(trial, runs, tick, nondeterminism=True)
    fewer = capped(trial.plan, trial.reading.module) if trial.reading.module else None
    if result.findings or fewer is None:
        return result
    rounds = [kept for kept in trial.kept if BLOCKS < _blocks(trial, kept) <= CAPPED_BLOCKS]
    how = f"with grids capped at {BLOCKS} blocks, so that each block goes round as for huge extents"
    capped_runs = [(kept, Setup(check=True), how) for kept in varied(rounds, CAPPED_CASES)]
    found = _variations(replace(trial, plan=fewer), capped_runs, tick)
    return Result(found.findings, result.cases + found.cases)


def approximations(trial: Trial, tick: Tick) -> Result:
    """Every `.approx` result at either end of the manual's bound, over all the cases kept."""
    if not trial.reading.approximate:
        return Result((), 0)
    runs = [(kept, end) for end in _ENDS for kept in trial.kept]
    worst = 0.0
    for count, (kept, end) in enumerate(runs, 1):
        tick(count, len(runs))
        how = f"with .approx results at the {end} end of their bound"
        found, error = trial.at_the_bound(kept, Setup(approx=end), how)
        if found:
            return Result(found, count)
        worst = max(worst, error)
    return Result((), len(runs), f"at most {worst:.3g} ULP off at either end of the manual's bounds")


def widths(trial: Trial, tick: Tick) -> Result:
    """One thread at a time gives the bits that a warp at a time gives."""
    chosen = varied(_light(trial, WIDTH_THREADS), WIDTH_CASES)
    runs = [(kept, Setup(width=1), "one thread at a time") for kept in chosen]
    return _variations(trial, runs, tick, nondeterminism=True)


def _light(trial: Trial, threads: int) -> list[Kept]:
    """The kept cases of so many threads at most; the one of fewest where all have more."""
    few = [kept for kept in trial.kept if _threads(trial, kept) <= threads]
    return few or sorted(trial.kept, key=lambda kept: _threads(trial, kept))[:1]


def _threads(trial: Trial, kept: Kept) -> int:
    """How many threads a case launches."""
    launches = job(trial.text, trial.plan, trial.routine, trial.signature, kept.case).launches
    return sum(math.prod(launch.grid) * math.prod(launch.block) for launch in launches)


def _blocks(trial: Trial, kept: Kept) -> int:
    """How many blocks the largest launch of a case has."""
    launches = job(trial.text, trial.plan, trial.routine, trial.signature, kept.case).launches
    return max((math.prod(launch.grid) for launch in launches), default=0)


def hardware(trial: Trial, tick: Tick) -> Result:
    """The kept cases on a GPU (`trial.run` is the GPU's by now), bit for bit what the engine gave.

    Where an instruction is only bounded, or floats are added in an order nobody fixes, the tolerance decides.
    """
    free = trial.reading.approximate or trial.reading.unordered
    runs = [(kept, PLAIN, "on the GPU") for kept in trial.kept]
    return _variations(trial, runs, tick, nondeterminism=not free)


def _variations(
    trial: Trial, runs: Sequence[tuple[Kept, Setup, str]], tick: Tick, nondeterminism: bool = False
) -> Result:
    kind = "nondeterminism" if nondeterminism else "mismatch"
    for count, (kept, setup, how) in enumerate(runs, 1):
        tick(count, len(runs))
        # Bytes that were there before must not show in the answer at all, however near the truth it is.
        strict = "nondeterminism" if setup.poison != PLAIN.poison else kind
        found = trial.vary(kept, setup, strict, how)  # type: ignore[arg-type]
        if found and setup.poison != PLAIN.poison:
            found = trial.unwritten(kept.case, kept.outputs) + found
        if found:
            return Result(found, count)
    return Result((), len(runs))


def varied(kept: Sequence[Kept], most: int, largest: bool = False) -> list[Kept]:
    """At most `most` of the cases, of extents as different as there are, small ones first (or large ones)."""
    by_extents: dict[tuple[int, ...], Kept] = {}
    for one in kept:
        by_extents.setdefault(tuple(one.case.extents.values()), one)
    ranked = sorted(by_extents.values(), key=lambda k: k.elements, reverse=largest)
    if len(ranked) <= most:
        return ranked
    if largest:
        return ranked[:most]
    # Half from the bottom, where zero, one and two are; half spread over the rest, where the block edges are.
    low = ranked[: most // 2]
    rest = ranked[most // 2 :]
    step = len(rest) / (most - len(low))
    return low + [rest[min(len(rest) - 1, int((i + 1) * step) - 1)] for i in range(most - len(low))]
