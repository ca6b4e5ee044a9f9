"""One mutant at a time through the judge, each result a line of a journal, so that a run may be stopped."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from benchmarks.judge.tasks import Task, habit
from llmptx.ptx.plan import parse_plan
from llmptx.record import Verdict
from llmptx.run.worker import Pool
from llmptx.toolchain.ptxas import assemble
from llmptx.verify.equivalent import proved
from llmptx.verify.judge import verify
from llmptx.verify.mutate import Mutant, sample

Outcome = Literal["stillborn", "same code", "killed", "survived", "proved", "missed"]
TARGET = "sm_80"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one mutant.

    outcome  stillborn: ptxas refuses it; same code: its machine code is the original's; proved: shown to be
             right as `message` says; missed: it passes `full`, and `exhaustive` finds it
    stage    that killed it
    found    kinds of the findings
    habit    whether five random inputs and allclose let it pass; None where it was not asked
    """

    task: str
    group: str
    kind: str
    line: int
    what: str
    hash: str
    outcome: Outcome
    stage: str = ""
    found: tuple[str, ...] = ()
    message: str = ""
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    habit: bool | None = None


class Journal:
    """Rows in a JSON Lines file; the last of a mutant counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[tuple[str, str], Row] = {}
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                row = _read(line)
                if row is not None:
                    self.rows[row.task, row.hash] = row

    def add(self, row: Row) -> None:
        self.rows[row.task, row.hash] = row
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")


def _read(line: str) -> Row | None:
    """None for a line cut short by a stop."""
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return Row(**{**fields, "found": tuple(fields["found"])})


def mutants(tasks: Sequence[Task], count: int, seed: int) -> Iterator[tuple[Task, Mutant]]:
    """`count` mutants in all, the tasks by turns, so that a run stopped early has something of each."""
    each = -(-count // len(tasks))
    rounds = zip_longest(
        *(sample(task.text, each, zlib.crc32(f"{task.name} {seed}".encode())) for task in tasks)
    )
    listed = ((t, m) for round_ in rounds for t, m in zip(tasks, round_, strict=True) if m is not None)
    for number, pair in enumerate(listed):
        if number == count:
            return
        yield pair


def run(pairs: Iterable[tuple[Task, Mutant]], journal: Journal, pool: Pool, seconds: float) -> Iterator[Row]:
    """Judges what the journal does not have yet, for at most so many seconds."""
    began = time.monotonic()
    for task, mutant in pairs:
        if time.monotonic() - began > seconds:
            return
        if (task.name, mutant.hash) not in journal.rows:
            row = judged(task, mutant, pool)
            journal.add(row)
            yield row


def judged(task: Task, mutant: Mutant, pool: Pool) -> Row:
    """A mutant's row. Where the machine code is the original's there is nothing to judge."""
    about = (task.name, task.group, mutant.kind, mutant.line, mutant.what, mutant.hash)
    assembly = assemble(mutant.text, TARGET)
    if not assembly.ok:
        return Row(*about, outcome="stillborn", message=assembly.errors[0][1])
    same_plan = parse_plan(mutant.text) == parse_plan(task.text)
    if same_plan and assembly.code == assemble(task.text, TARGET).code:
        return Row(*about, outcome="same code")
    began = time.perf_counter()
    verdict = verify(mutant.text, task.routine.name, task.signature.dtype, pool=pool)
    spent = round(time.perf_counter() - began, 4)
    same = verdict.passed and proved(task.text, mutant.text)
    found = tuple(dict.fromkeys(f.kind for f in verdict.findings))
    return Row(
        *about,
        outcome="proved" if same else "survived" if verdict.passed else "killed",
        stage="" if verdict.passed else verdict.stages[-1].name,
        found=found,
        message=verdict.findings[0].message if verdict.findings else "by z3" if same else "",
        seconds=spent,
        stages=stages(verdict),
        habit="timeout" not in found and habit(task, mutant.text, pool),  # whoever runs it sees it hang
    )


def exhausted(task: Task, mutant: Mutant, row: Row, pool: Pool) -> Row:
    """A survivor's row once all 2^32 inputs were tried. For routines of one float32 input only."""
    began = time.perf_counter()
    verdict = verify(mutant.text, task.routine.name, task.signature.dtype, "exhaustive", pool=pool)
    last = verdict.stages[-1]
    return replace(
        row,
        outcome="proved" if verdict.passed else "missed",
        stage="" if verdict.passed else last.name,
        message="all inputs tried" if verdict.passed else verdict.findings[0].message,
        seconds=round(time.perf_counter() - began, 4),
    )


def stages(verdict: Verdict) -> dict[str, float]:
    """Seconds by stage."""
    return {stage.name: round(stage.seconds, 4) for stage in verdict.stages}
