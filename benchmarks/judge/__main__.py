"""`python -m benchmarks.judge [--sample N] [--routines PATTERN...]`: mutants, controls, times of verdicts.

Results go line by line to a journal; run it again and it goes on. The tables are of all the journal holds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.judge.controls import controls
from benchmarks.judge.measure import Journal, exhausted, mutants, run
from benchmarks.judge.table import as_json, markdown
from benchmarks.judge.tasks import TASKS, Task
from benchmarks.judge.tasks import task as task_of
from llmptx.run.worker import Pool
from llmptx.verify.mutate import Mutant


def prove(pairs: Sequence[tuple[Task, Mutant]], journal: Journal, pool: Pool, seconds: float) -> None:
    """Tries every input on what survived of unary float32 kernels, for at most so many seconds."""
    began = time.monotonic()
    for task, mutant in pairs:
        row = journal.rows.get((task.name, mutant.hash))
        if row is None or row.outcome != "survived" or task.signature.inputs != ("float32",):
            continue
        if task.routine.kind != "elementwise":
            continue
        if time.monotonic() - began > seconds:
            return
        row = exhausted(task, mutant, row, pool)
        journal.add(row)
        print(f"{row.outcome:<10} {row.seconds:6.2f} s  {row.task}:{row.line} {row.what}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("--sample", type=int, default=5000, help="mutants in all (default 5000)")
    parser.add_argument("--routines", nargs="*", default=["*"], help="patterns of routine names")
    parser.add_argument("--dtype", nargs="*", default=["*"], help="patterns of dtypes")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of mutants")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long, and say how many ran")
    parser.add_argument(
        "--journal", type=Path, default=Path("build/judge.jsonl"), help="resumed if it is there"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    parser.add_argument("--prove", type=float, default=0, help="minutes to spend on trying every input")
    parser.add_argument("--no-controls", action="store_true", help="mutants only")
    chosen = parser.parse_args()
    tasks = [
        task_of(name, dtype)
        for name, dtype in TASKS
        if any(fnmatchcase(name, pattern) for pattern in chosen.routines)
        and any(fnmatchcase(dtype, pattern) for pattern in chosen.dtype)
    ]
    journal = Journal(chosen.journal)
    with Pool(1) as pool:
        if not chosen.no_controls:
            for row in controls(journal, pool):
                print(f"{row.outcome:<10} {row.seconds:6.2f} s  {row.task}  {row.message}", file=sys.stderr)
        pairs = list(mutants(tasks, chosen.sample, chosen.seed))
        for row in run(pairs, journal, pool, chosen.minutes * 60):
            where = f"{row.task}:{row.line}"
            print(
                f"{row.outcome:<10} {row.seconds:6.2f} s  {where:<24} {row.kind}: {row.what}", file=sys.stderr
            )
        prove(pairs, journal, pool, chosen.prove * 60)
    text = markdown(journal)
    print(text)
    if chosen.markdown:
        chosen.markdown.write_text(text, "utf-8")
    if chosen.json:
        chosen.json.write_text(as_json(journal), "utf-8")


if __name__ == "__main__":
    main()
