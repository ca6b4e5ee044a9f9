"""The corpus: an append-only JSON Lines file of whole trajectories.

Knows records, not how they came about; nothing here runs or judges a candidate.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from llmptx.corpus.journal import Line, Problem, appending, decoded, lines, scan, write_line
from llmptx.record import Candidate, Record, Verdict

Outcome = Literal["passed", "repaired", "rejected"]


class Corpus:
    """Records in a file. Reading never fails for what a line holds: it says which lines could not be read."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._known: set[str] = set()
        self._offset = 0
        self._number = 1

    def append(self, record: Record) -> bool:
        """File a record; True if it is new, False where one of the same hash is on file already.

        On disk when this returns. Safe with other processes and threads. OSError where the disk refuses.
        """
        with appending(self.path) as file:
            self._catch_up()
            known = record.hash
            if known in self._known:
                return False
            write_line(file, record.to_json())
            self._known.add(known)
            self._offset = os.fstat(file).st_size  # alone with the file: what was added is our line
            self._number += 1
            return True

    def scan(self) -> Iterator[Record | Problem]:
        """Records and unreadable lines in the file's order, lazily."""
        return scan(self.path, Record.from_dict)

    def __iter__(self) -> Iterator[Record]:
        """The records that can be read, lazily."""
        return (entry for entry in self.scan() if isinstance(entry, Record))

    def read(self) -> tuple[tuple[Record, ...], tuple[Problem, ...]]:
        """All records, and the lines that are cut, broken or of an unknown schema."""
        records: list[Record] = []
        problems: list[Problem] = []
        for entry in self.scan():
            if isinstance(entry, Problem):
                problems.append(entry)
            else:
                records.append(entry)
        return tuple(records), tuple(problems)

    def _catch_up(self) -> None:
        """Learn the hashes of lines written since the last look, by us or anyone."""
        last: Line | None = None
        for line in lines(self.path, self._offset, self._number):
            entry = decoded(line, Record.from_dict)
            if isinstance(entry, Record):
                self._known.add(entry.hash)
            if line.whole:
                last = line
        if last:
            self._offset, self._number = last.end, last.number + 1


def outcome(record: Record) -> Outcome:
    """passed: a draft that answered the task did; repaired: one that answered findings; rejected: none."""
    if not record.passed:
        return "rejected"
    return "repaired" if record.attempts[-1].prompt.template == "repair" else "passed"


def passing(record: Record) -> Candidate | None:
    """The record's latest candidate that passed."""
    for attempt in reversed(record.attempts):
        if attempt.candidate and attempt.verdict and attempt.verdict.passed:
            return attempt.candidate
    return None


def rechecked(root: Path) -> Iterator[Verdict]:
    """The verdicts that `llmptx recheck` filed in a workspace, in order."""
    found = scan(root / "corpus" / "rechecks.jsonl", Verdict.from_dict)
    return (verdict for verdict in found if isinstance(verdict, Verdict))
