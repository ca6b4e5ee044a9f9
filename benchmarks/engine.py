"""What the CPU engine's speed is, beside numpy, C loops and its own other modes, in one run.

`python benchmarks/engine.py [--json] [--repeats N] [--log2 N]`
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from compile import compile_times
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from speed import loops
from speed.cases import Case, cases, elementwise
from speed.kernel import Bound
from speed.timing import Row, Run, best, geometric_mean

# Milliseconds at 2**20 float32 (matmul: 128 rows) on a machine like this one, measured once and stated to us:
# gpuocelot's emulator, its LLVM back end, a loop in C.
OCELOT = {
    "saxpy": (406.0, 53.0, 0.09),
    "block_sum": (652.0, 197.0, 0.10),
    "matmul": (371.0, 2.3, 0.1),
    "expf_each": (701.0, 62.0, 3.0),
}
# What numpy's ratio must be of these alone; of the others the mean counts. saxpy is not one of the twenty.
OF_ITSELF = {"saxpy": 1.0, "exp": 1.0}
AGAINST_C = ("block_sum", "block_max", "block_scan", "shuffle_scan", "matmul_tiled", "stencil")
CHECKED = ("saxpy", "expf_each", "block_sum", "block_max", "block_scan", "block_sort")
CHECKED += ("matmul", "matmul_tiled", "stencil")
PHASES = ("parse", "flatten", "flow", "lower", "code", "load")
SCALING = {"expf_each": True, "sinf_each": True, "matmul_tiled": True, "saxpy": False}


@dataclass(frozen=True)
class Section:
    """A table: `note` says what the ratio is of what."""

    title: str
    note: str
    rows: Sequence[Row]


def against_numpy(found: dict[str, Case], log2: int, repeats: int) -> Section:
    def beside(name: str, kernel: Bound, numpy: Run) -> Row:
        alone = best({"one thread": kernel.fast(1), "numpy": numpy}, repeats, time.thread_time)
        ms = alone | best({"all": kernel.fast(_cores())}, repeats)
        return Row(name, ms, ms["one thread"] / ms["numpy"], OF_ITSELF.get(name))

    rows = []
    for each in elementwise(1 << log2):
        rows.append(beside(each.name, each.kernel, each.numpy))
        np.testing.assert_allclose(each.kernel.out, each.want, 1e-4, 1e-5, err_msg=each.name)
    saxpy = beside("saxpy", found["saxpy"].kernel, found["saxpy"].want)
    found["saxpy"].agree(found["saxpy"].kernel.out)
    mean = geometric_mean(row.ratio for row in rows if row.ratio)
    every = geometric_mean(row.ms["all"] / row.ms["numpy"] for row in rows)
    means = [Row("geometric mean, one thread", {}, mean, 1.0), Row("geometric mean, all", {}, every, 1.0)]
    note = "one thread of the engine / numpy, in CPU time; all: as it comes, by the wall's clock"
    return Section("numpy", note, [*rows, *means, saxpy])


def against_c(found: dict[str, Case], repeats: int) -> Section:
    library = loops.compiled()
    command = " ".join(loops.COMMAND[:3])
    if library is None:
        return Section("C", "skipped: there is no gcc on this machine", [])
    rows = []
    for name in AGAINST_C:
        case = found[name]
        loop = loops.bound(library, name, case.loop)
        one = case.kernel.fast(1)
        ms = best({"one thread": one, "C": loop}, repeats, time.thread_time)
        ms |= best({"all": case.kernel.fast(_cores())}, repeats)
        case.agree(case.kernel.out)
        outputs = [a for a in case.loop if hasattr(a, "shape") and a.shape == case.kernel.out.shape]
        case.agree(outputs[-1])
        rows.append(Row(name, ms, ms["one thread"] / ms["C"], 3.0))
    return Section("C", f"one thread of the engine / the same algorithm by {command}, in CPU time", rows)


def checked(found: dict[str, Case], repeats: int) -> Section:
    rows = []
    for name in CHECKED:
        kernel = found[name].kernel
        peers = {"fast": kernel.fast(1), "checked": kernel.checked()}
        ms = best(peers, max(3, repeats // 5), time.thread_time)
        rows.append(Row(name, ms, ms["checked"] / ms["fast"], 10.0))
    mean = geometric_mean(row.ratio for row in rows if row.ratio)
    return Section(
        "checked",
        "all sanitizers / none, one thread each, in CPU time",
        [*rows, Row("geometric mean", {}, mean, 10.0)],
    )


def compiling(repeats: int) -> Section:
    rows = []
    for times in compile_times(max(3, repeats // 8)):
        phases = {phase: getattr(times, phase) for phase in PHASES}
        kept = {} if times.kept is None else {"from the cache": times.kept}
        rows.append(Row(f"{times.kernel} {times.mode}", phases | kept, times.total, times.target))
    return Section("compile", "ms of one core in all, by phase; small kernels have a target", rows)


def scaling(found: dict[str, Case], repeats: int) -> Section:
    if _cores() < 2:
        return Section("scaling", "skipped: one core", [])
    rows = []
    for name, computes in SCALING.items():
        kernel = found[name].kernel
        ms = best({"one thread": kernel.fast(1), "two threads": kernel.fast(2)}, repeats)
        ratio = ms["one thread"] / ms["two threads"]
        note = "" if computes else "bound by memory: no target"
        rows.append(Row(name, ms, ratio, 1.8 if computes else None, at_least=True, note=note))
    return Section("scaling", "one thread / two", rows)


def against_ocelot(found: dict[str, Case], repeats: int) -> Section:
    if found["saxpy"].kernel.out.size != 1 << 20:
        return Section("gpuocelot", "skipped: its figures are for --log2 20", [])
    rows = []
    for name, (emulator, compiled, loop) in OCELOT.items():
        kernel = found[name].kernel
        ms = best({"engine": kernel.fast(_cores())}, repeats)["engine"]
        given = {"engine": ms, "emulator": emulator, "LLVM JIT": compiled, "C (stated)": loop}
        rows.append(Row(f"{name}: emulator", given, emulator / ms, 50.0, at_least=True))
        rows.append(Row(f"{name}: LLVM JIT", given, compiled / ms, 1.0, at_least=True))
    note = "gpuocelot's ms, as stated to us, / the engine's as it comes; not run here"
    return Section("gpuocelot", note, rows)


def _cores() -> int:
    return os.cpu_count() or 1


def sections(log2: int, repeats: int) -> list[Section]:
    found = dict(cases(log2))
    return [
        against_numpy(found, log2, repeats),
        against_c(found, repeats),
        checked(found, repeats),
        compiling(repeats),
        scaling(found, repeats),
        against_ocelot(found, repeats),
    ]


def _machine() -> dict[str, object]:
    version = ""
    if loops.compiled() is not None:
        version = subprocess.run(["gcc", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    return {"cpu": platform.processor() or platform.machine(), "cores": _cores(), "gcc": version}


def show(found: Sequence[Section], console: Console) -> None:
    for section in found:
        columns = list(dict.fromkeys(name for row in section.rows for name in row.ms))
        table = Table(title=f"{section.title}: {section.note}", title_justify="left", box=SIMPLE_HEAD)
        table.add_column("kernel", no_wrap=True)
        for name in [*(f"{c} ms" for c in columns), "ratio", "target", "reached"]:
            table.add_column(name, justify="right")
        for row in section.rows:
            times = [f"{row.ms[c]:.3f}" if c in row.ms else "" for c in columns]
            sign = ">=" if row.at_least else "<="
            target = row.note or ("" if row.target is None else f"{sign} {row.target:g}")
            reached = {None: "", True: "yes", False: "NO"}[row.reached]
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            table.add_row(row.name, *times, ratio, target, reached)
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--log2", type=int, default=20, help="elements, as a power of two: 16 to 26, even")
    options = parser.parse_args()
    before = os.getloadavg()
    found = sections(options.log2, options.repeats)
    load = {"before": before[0], "after": os.getloadavg()[0]}
    if options.json:
        rows = {
            s.title: {"note": s.note, "rows": [asdict(r) | {"reached": r.reached} for r in s.rows]}
            for s in found
        }
        head = {"schema": "llmptx/engine-benchmark/2", "log2": options.log2, "repeats": options.repeats}
        print(json.dumps({**head, "machine": _machine(), "load": load, "sections": rows}))
        return
    console = Console(width=120)
    show(found, console)
    words = ", ".join(f"{name} {value}" for name, value in _machine().items())
    console.print(
        f"{words}; load average {load['before']:.1f} before and {load['after']:.1f} after; "
        f"2^{options.log2} float32, best of {options.repeats} taken in turns"
    )


if __name__ == "__main__":
    main()
