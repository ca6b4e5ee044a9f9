"""All 2^32 inputs of float32 functions: our kernels, and numpy's own as a control, by the same comparison.

`python benchmarks/exhaustive.py [ROUTINE...] [--of kernel|numpy] [--json]`. What numpy gives is known from
elsewhere (docs/tolerance.md), so that agreement shows the sweep to be right.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.resources import files

import numpy as np
from scipy import special

from llmptx.record import Accuracy, Tolerance
from llmptx.routines import find
from llmptx.routines.truth import Array
from llmptx.run.job import consecutive
from llmptx.run.worker import Pool
from llmptx.verify.exhaustive import sweep
from llmptx.verify.judge import verify

ROUTINES = ("exp", "log", "sin", "tanh", "erf")
LANES = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One sweep: the largest error in ULP, how many floats that is from the right one, and the cost.

    floats   known for numpy only
    rounded  share of correctly rounded results
    breaks   neighbours in the wrong order; None where the function goes up and down
    """

    routine: str
    of: str
    passed: bool
    max_ulp: float
    floats: int | None
    rounded: float | None
    breaks: int | None
    seconds: float
    cpu_seconds: float
    at: str


def of_numpy(name: str) -> Row:
    """numpy's or scipy's own function by the sweep alone; nothing is refused: its errors are the point."""
    routine = find(name)
    if routine.tolerance["float32"].rule != "exact":
        routine = replace(routine, tolerance={**routine.tolerance, "float32": Tolerance("ulp", 1e9)})
    short = routine.name.rpartition(".")[2]
    function = getattr(special if hasattr(special, short) else np, short)

    def answer(first: int, count: int) -> Array:
        with np.errstate(all="ignore"):
            got = function(consecutive(first, count, "float32"))
        return np.asarray(got.view(np.uint8) if got.dtype == np.bool_ else got)

    began, before = time.perf_counter(), _cpu()
    swept = sweep(routine, routine.signature("float32"), [answer], LANES, _progress(f"numpy's {short}"))
    value = np.array(swept.at, np.uint32).view(np.float32)
    at = f"in0={value} (0x{swept.at:08x})" if swept.max_ulp else ""
    share = swept.rounded / swept.checked
    breaks = swept.breaks if routine.monotone else None
    cost = time.perf_counter() - began, _cpu() - before
    return Row(routine.name, "numpy", True, swept.max_ulp, swept.floats, share, breaks, *cost, at)


def of_kernel(name: str) -> Row:
    """The kernel shipped here, by a whole exhaustive verdict: in workers, all other stages first."""
    routine = find(name)
    folder = files("llmptx") / "llm" / "offline" / routine.package / routine.name.rpartition(".")[2]
    drafts = sorted(f.name for f in folder.iterdir() if f.name.startswith("float32."))
    began, before = time.perf_counter(), _cpu()
    progress = _progress(f"the kernel of {routine.name}")
    with Pool(LANES) as pool:
        verdict = verify(
            (folder / drafts[-1]).read_text(),
            routine.name,
            "float32",
            "exhaustive",
            pool=pool,
            on_progress=lambda stage, done, total: progress(done, total),
        )
    cost = time.perf_counter() - began, _cpu() - before  # of the workers too, which have ended
    found = verdict.accuracy or Accuracy(0.0, "", 0)
    breaks = found.monotonicity_breaks
    return Row(
        routine.name, "kernel", verdict.passed, found.max_ulp, None, found.rounded, breaks, *cost, found.at
    )


def _cpu() -> float:
    return sum(os.times()[:4])


def _progress(what: str) -> Callable[[int, int], None]:
    def tick(done: int, total: int) -> None:
        if total and done % 64 == 0 and sys.stderr.isatty():
            print(f"{what}: {100 * done // total}% ", end="\r", file=sys.stderr, flush=True)

    return tick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("routines", nargs="*", default=list(ROUTINES))
    parser.add_argument("--of", choices=["kernel", "numpy"], help="only these; both by default")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    options = parser.parse_args()
    rows = []
    if not options.json:
        print(
            "routine            of      passed  max ULP  floats   rounded     breaks  wall s   CPU s  worst"
        )
    for name in options.routines:
        for of, measure in (("kernel", of_kernel), ("numpy", of_numpy)):
            if options.of not in (None, of):
                continue
            rows.append(measure(name))
            if not options.json:
                print(_line(rows[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))


def _line(row: Row) -> str:
    floats = "-" if row.floats is None else row.floats
    share = "-" if row.rounded is None else f"{row.rounded:.4%}"
    breaks = "-" if row.breaks is None else f"{row.breaks:,}"
    verdict = "yes" if row.passed else "no"
    return (
        f"{row.routine:<18} {row.of:<7} {verdict:>6} {row.max_ulp:8.4f} {floats:>7} {share:>9} {breaks:>10}"
        f" {row.seconds:7.1f} {row.cpu_seconds:7.1f}  {row.at}"
    )


if __name__ == "__main__":
    main()
