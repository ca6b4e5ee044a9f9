"""What a compile costs, phase by phase: `python benchmarks/compile.py [--json] [--repeats N]`.

CPU milliseconds of this process, the least of several: what a warm process pays for a kernel it never saw.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from llmptx.engine import compile_entry, flow, machine
from llmptx.engine.cache import Cache
from llmptx.engine.flatten import flatten
from llmptx.engine.lower import lower
from llmptx.ptx import parse

KERNELS = (
    "add/float32.1",
    "exp/float32.2",
    "sin/float32.2",
    "sum/float32.2",
    "sort/float32.1",
    "matmul/float32.2",
)
SMALL = ("add/float32.1", "exp/float32.2")
TARGET = 30.0
BLOCK = (256, 1, 1)


@dataclass(frozen=True)
class Times:
    """Milliseconds of CPU. `mode` is brief (small jobs), full, or checked; `kept`: the whole from the disk
    cache instead; `target`: what the total is to stay under, where there is one.
    """

    kernel: str
    mode: str
    parse: float
    flatten: float
    flow: float
    lower: float
    code: float
    load: float
    total: float
    kept: float | None
    target: float | None


def _timed(times: dict[str, float], phase: str, work: Callable[[], Any]) -> Any:
    start = time.process_time()
    result = work()
    times[phase] = min(times.get(phase, float("inf")), 1e3 * (time.process_time() - start))
    return result


def _once(times: dict[str, float], text: str, level: int, check: bool) -> None:
    module = _timed(times, "parse", lambda: parse(text))
    name = module.entries[0].name
    program = _timed(times, "flatten", lambda: flatten(module, name))
    graph = _timed(times, "flow", lambda: flow.build(program, False))
    lowered = _timed(times, "lower", lambda: lower(program, graph, BLOCK, 32, check, "exact"))
    machine.provide(lowered.extras, check)  # once in a process, so none of a kernel's own cost
    code = _timed(times, "code", lambda: machine.object_code(lowered.text, lowered.extras, level))
    machine.load.cache_clear()
    _timed(times, "load", lambda: machine.load(code))


def _kept(text: str, check: bool, repeats: int) -> float:
    """The same from the text to code that can run, out of a file."""
    times: dict[str, float] = {}

    def whole() -> None:
        module = parse(text)
        compile_entry(module, module.entries[0].name, BLOCK, check=check, cache=Cache(Path(folder)))

    with tempfile.TemporaryDirectory() as folder:
        whole()
        for _ in range(repeats):
            machine.load.cache_clear()
            _timed(times, "whole", whole)
    return times["whole"]


def compile_times(repeats: int = 7) -> list[Times]:
    """Kernels of the library shipped here, each in every mode that the judge compiles it in."""
    rows = []
    for kernel in KERNELS:
        text = (files("llmptx") / f"llm/offline/numpy/{kernel}.ptx").read_text()
        for mode, level, check in (
            ("brief", machine.BRIEF, False),
            ("full", machine.FULL, False),
            ("checked", machine.BRIEF, True),
        ):
            times: dict[str, float] = {}
            for _ in range(repeats):
                _once(times, text, level, check)
            kept = None if mode == "brief" else _kept(text, check, repeats)
            target = TARGET if kernel in SMALL else None
            total = sum(times.values())
            rows.append(Times(kernel, mode, **times, total=total, kept=kept, target=target))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    rows = compile_times(options.repeats)
    if options.json:
        print(json.dumps({"schema": "llmptx/compile-benchmark/1", "rows": [asdict(row) for row in rows]}))
        return
    print(report(rows))


def report(rows: list[Times]) -> str:
    """As a table."""
    phases = ("parse", "flatten", "flow", "lower", "code", "load", "total")
    lines = [f"{'kernel':17} {'mode':8}" + "".join(f"{p:>9}" for p in phases) + f"{'kept':>9} {'target':>8}"]
    for row in rows:
        values = "".join(f"{getattr(row, phase):9.1f}" for phase in phases)
        kept = "-" if row.kept is None else f"{row.kept:.1f}"
        target = "-" if row.target is None else f"<= {row.target:g}"
        lines.append(f"{row.kernel:17} {row.mode:8}{values}{kept:>9} {target:>8}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
