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
from benchmarks.judge.measure import Journal, judged, mutants, run
from benchmarks.judge.settle import settle, survivors
from benchmarks.judge.table import as_json, filled, markdown
from benchmarks.judge.tasks import TASKS, Task
from benchmarks.judge.tasks import task as task_of
from llmptx.run.worker import Pool
from llmptx.verify.mutate import Mutant


def prove(pairs: Sequence[tuple[Task, Mutant]], journal: Journal, pool: Pool, seconds: float) -> None:
    """Tries to settle what survived, for at most so many seconds."""
    began = time.monotonic()
    found = survivors(pairs, journal).values()
    for task, left in sorted(found, key=lambda each: _tries_every_input(each[0])):  # the quickest first
        if time.monotonic() - began > seconds:
            return
        for row in settle(task, left, journal, pool):
            journal.add(row)
            where = f"{row.task}:{row.line}"
            print(f"{row.outcome:<10} {row.proof_seconds:6.2f} s  {where:<24} {row.what}", file=sys.stderr)


def _tries_every_input(task: Task) -> bool:
    return task.routine.kind == "elementwise" and task.signature.inputs in [("float32",), ("int32",)]


def again(pairs: Sequence[tuple[Task, Mutant]], journal: Journal, pool: Pool) -> None:
    """Judges what survived once more, as after a change of the judge."""
    for task, left in survivors(pairs, journal).values():
        for mutant, _ in left:
            row = judged(task, mutant, pool)
            journal.add(row)
            print(
                f"{row.outcome:<10} {row.seconds:6.2f} s  {row.task}:{row.line} {row.what}", file=sys.stderr
            )


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
    parser.add_argument("--again", action="store_true", help="judge once more what survived before")
    parser.add_argument("--prove", type=float, default=60, help="minutes to spend on proofs (default 60)")
    parser.add_argument(
        "--table", type=Path, nargs="*", help="judge nothing: write the tables into these pages"
    )
    parser.add_argument("--no-controls", action="store_true", help="mutants only")
    chosen = parser.parse_args()
    if chosen.table is not None:
        for page in chosen.table:
            page.write_text(filled(page.read_text("utf-8"), Journal(chosen.journal)), "utf-8")
        return
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
        if chosen.again:
            again(pairs, journal, pool)
        for row in run(pairs, journal, pool, chosen.minutes * 60):
            where = f"{row.task}:{row.line}"
            print(
                f"{row.outcome:<10} {row.seconds:6.2f} s  {where:<24} {row.kind}: {row.what}", file=sys.stderr
            )
        prove(pairs, journal, pool, chosen.prove * 60)
    print(markdown(journal))
    if chosen.json:
        chosen.json.write_text(as_json(journal), "utf-8")


if __name__ == "__main__":
    main()
