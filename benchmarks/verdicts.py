"""A full verdict's cost by stage, the worker warm: `python benchmarks/verdicts.py [ROUTINE...] [--json]`.

Every routine's own kernel in float32, or in its first dtype. Wall seconds, and CPU seconds of the judge, the
worker and ptxas together, which a busy machine does not stretch as much.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from llmptx.record import Routine
from llmptx.routines import catalog, select
from llmptx.run.worker import Pool
from llmptx.verify.judge import verify

TARGETS = {"elementwise": 1.0, "reduction": 3.0}


@dataclass(slots=True)
class Row:
    """One verdict: `stages` are wall seconds, `worker_cpu` is part of `cpu`."""

    routine: str
    kind: str
    dtype: str
    passed: bool
    wall: float = 0.0
    cpu: float = 0.0
    worker_cpu: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


def measure(routine: Routine, pool: Pool) -> Row:
    """A verdict on a text the worker does not know yet, so that all of it is compiled."""
    dtype = (
        "float32" if any(s.dtype == "float32" for s in routine.signatures) else routine.signatures[0].dtype
    )
    folder = files("llmptx") / "llm" / "offline" / routine.package / routine.name.rpartition(".")[2]
    last = max(f.name for f in folder.iterdir() if f.name.startswith(f"{dtype}."))
    before = _cpu()
    verdict = verify((folder / last).read_text(), routine.name, dtype, pool=pool)
    row = Row(routine.name, routine.kind, dtype, verdict.passed, verdict.seconds)
    row.worker_cpu = _of_worker(pool)  # a process of its own for every text, so this is all it has used
    row.cpu = _cpu() - before + row.worker_cpu
    row.stages = {stage.name: stage.seconds for stage in verdict.stages}
    return row


def _cpu() -> float:
    return sum(os.times()[:4])


def _of_worker(pool: Pool) -> float:
    """CPU seconds of the process that ran the candidate, as Linux counts them."""
    fields = Path(f"/proc/{pool.pids()[0]}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _print(rows: list[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row.stages))
    print(f"{'routine':<26}{'wall s':>8}{'CPU s':>8}{'worker':>8}  " + "".join(f"{n[:9]:>10}" for n in names))
    for row in sorted(rows, key=lambda row: (row.kind, -row.cpu)):
        stages = "".join(f"{row.stages.get(n, 0.0):10.3f}" for n in names)
        print(f"{row.routine:<26}{row.wall:8.2f}{row.cpu:8.2f}{row.worker_cpu:8.2f}  {stages}")
    for kind in dict.fromkeys(row.kind for row in rows):
        of = [row for row in rows if row.kind == kind]
        target = f"; at most {TARGETS[kind]:g} s wanted" if kind in TARGETS else ""
        print(
            f"{kind}: {len(of)}, wall {sum(r.wall for r in of) / len(of):.2f} s on average,"
            f" {max(r.wall for r in of):.2f} s at most; CPU {sum(r.cpu for r in of) / len(of):.2f},"
            f" {max(r.cpu for r in of):.2f}{target}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("routines", nargs="*", help="names or patterns; all by default")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    options = parser.parse_args()
    chosen = select(options.routines) if options.routines else tuple(catalog().values())
    rows = []
    with Pool(1) as pool:
        measure(catalog()["numpy.negative"], pool)  # warm
        for routine in chosen:
            rows.append(measure(routine, pool))
    if options.json:
        print(json.dumps([{name: getattr(row, name) for name in Row.__slots__} for row in rows]))
    else:
        _print(rows)


if __name__ == "__main__":
    main()
