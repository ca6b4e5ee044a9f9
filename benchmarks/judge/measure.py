"""One mutant at a time through the judge, each result a line of a journal, so that a run may be stopped."""

from __future__ import annotations

import json
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal

from benchmarks.judge.tasks import Task, habit
from llmptx.ptx.plan import parse_plan
from llmptx.record import Verdict
from llmptx.run.worker import Pool
from llmptx.toolchain.ptxas import assemble
from llmptx.verify.judge import verify
from llmptx.verify.mutate import Mutant, drawn

Outcome = Literal["stillborn", "same code", "killed", "survived", "proved", "correct", "within", "missed"]
TARGET = "sm_80"
EVERY = "original, every input"  # the kind of the row of a kernel that was tried on all its inputs
AHEAD = 3
HANGS = 5.0  # seconds of a run; honest kernels take milliseconds


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one mutant.

    outcome  stillborn: ptxas refuses it; same code: its machine code is the original's; proved: it does the
             same, as `message` says; correct: it answers otherwise, within the tolerance on every input there
             is; within: it answers otherwise, and cannot leave what the routine's rule allows; missed: it
             passes `full` and is wrong
    stage    that killed it
    found    kinds of the findings
    max_ulp  the largest error over all inputs, of an original
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
    max_ulp: float = 0.0
    proof_seconds: float = 0.0


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
    rounds = zip_longest(*(drawn(task.text, zlib.crc32(f"{task.name} {seed}".encode())) for task in tasks))
    listed = ((t, m) for round_ in rounds for t, m in zip(tasks, round_, strict=True) if m is not None)
    return islice(listed, count)


def run(pairs: Iterable[tuple[Task, Mutant]], journal: Journal, pool: Pool, seconds: float) -> Iterator[Row]:
    """Judges what the journal does not have yet, for at most so many seconds."""
    began = time.monotonic()
    left = (pair for pair in pairs if (pair[0].name, pair[1].hash) not in journal.rows)
    for task, mutant in _ahead(left):
        if time.monotonic() - began > seconds:
            return
        row = judged(task, mutant, pool)
        journal.add(row)
        yield row


def _ahead(pairs: Iterator[tuple[Task, Mutant]]) -> Iterator[tuple[Task, Mutant]]:
    """The pairs, ptxas at work on the next few while one is judged: `assemble` keeps what it said."""
    waiting: deque[tuple[Task, Mutant]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for pair in pairs:
            thread.submit(assemble, pair[1].text, TARGET)
            waiting.append(pair)
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting


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
    verdict = full_verdict(task, mutant.text, pool)
    spent = round(time.perf_counter() - began, 4)
    found = tuple(dict.fromkeys(f.kind for f in verdict.findings))
    return Row(
        *about,
        outcome="survived" if verdict.passed else "killed",
        stage="" if verdict.passed else verdict.stages[-1].name,
        found=found,
        message=verdict.findings[0].message if verdict.findings else "",
        seconds=spent,
        stages=stages(verdict),
        habit="timeout" not in found and habit(task, mutant.text, pool),  # whoever runs it sees it hang
    )


def full_verdict(task: Task, text: str, pool: Pool) -> Verdict:
    """A verdict at `full`, brief: what `quick` finds is neither explained nor assembled for every target."""
    name, dtype = task.routine.name, task.signature.dtype
    brief = partial(verify, text, name, dtype, pool=pool, seconds=HANGS, brief=True)
    verdict = brief(level="quick", targets=(TARGET,))
    return brief() if verdict.passed else verdict


def stages(verdict: Verdict) -> dict[str, float]:
    """Seconds by stage."""
    return {stage.name: round(stage.seconds, 4) for stage in verdict.stages}
