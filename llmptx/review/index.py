"""What an inbox needs of ten thousand records, kept in step with their files: only what was added is read.

Knows rows and where their records lie; a candidate's whole entry is read again when it is asked for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from llmptx.corpus.journal import Problem, decoded, lines
from llmptx.record import Comment, Record, Review, Verdict
from llmptx.review.decisions import Key, Policy, Standing, standings
from llmptx.review.desk import Desk, ReviewError, read_comment, read_review
from llmptx.review.queue import Entry, Known, Risk, entry_of, passed, risks

T = TypeVar("T")


@dataclass(slots=True)
class Row:
    """A candidate in the list. `places`: byte ranges of its records; `own`: risks that are its alone."""

    key: Key
    model: str
    created: str
    level: str
    rounds: int
    max_ulp: float | None
    registers: int
    own: tuple[Risk, ...]
    places: list[tuple[int, int]] = field(default_factory=list)
    standing: Standing = field(default_factory=Standing)
    risks: tuple[Risk, ...] = ()
    risk: int = 0
    comments: int = 0

    @property
    def state(self) -> str:
        return self.standing.state


class Tail:
    """A journal read from where it was left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end, self.number = 0, 1

    def read(self, decode: Callable[[Mapping[str, Any]], T]) -> Iterator[tuple[T | Problem, tuple[int, int]]]:
        """What whole lines were added, each with the range of its bytes."""
        for line in lines(self.path, self.end, self.number):
            if not line.whole:
                return
            place = (self.end, line.end)
            self.end, self.number = line.end, line.number + 1
            yield decoded(line, decode), place


class Index:
    """The rows of a workspace's desk. Safe with several threads."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._lock = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        desk = self.desk
        self._records, self._reviews = Tail(desk.corpus.path), Tail(desk.path)
        self._verdicts, self._remarks = Tail(desk.rechecks), Tail(desk.comments_path)
        self._rows: dict[Key, Row] = {}
        self._log: list[Review] = []
        self._later: dict[Key, Verdict] = {}
        self._comments: dict[Key, list[Comment]] = {}
        self._policy = Policy()
        self._known = Known(frozenset(), frozenset())
        self._ranked: list[Row] = []
        self.problems: list[str] = []

    def rows(self) -> list[Row]:
        """Every candidate that passed, the riskiest first."""
        with self._lock:
            self._refresh()
            return self._ranked

    def log(self) -> tuple[Review, ...]:
        """Every decision, in order."""
        with self._lock:
            self._refresh()
            return tuple(self._log)

    def comments(self, key: Key) -> tuple[Comment, ...]:
        with self._lock:
            self._refresh()
            return tuple(self._comments.get(key, ()))

    def entry(self, key: Key) -> Entry:
        """The whole of one candidate, from its records. Raises ReviewError where there is none."""
        with self._lock:
            self._refresh()
            row = self._rows.get(key)
            if row is None:
                raise ReviewError(f"no candidate of {key[0]} {key[1]} that passed has the hash {key[2][:12]}")
            group = []
            for record in self._read(row.places):
                attempt = passed(record)
                assert attempt is not None
                group.append((record, attempt))
            return entry_of(group, self._later.get(key), row.standing, self._known)

    def _read(self, places: list[tuple[int, int]]) -> Iterator[Record]:
        with self.desk.corpus.path.open("rb") as file:
            for start, end in places:
                file.seek(start)
                yield Record.from_dict(json.loads(file.read(end - start)))

    def _refresh(self) -> None:
        paths = (self._records, self._reviews, self._verdicts, self._remarks)
        if any(
            tail.end and (not tail.path.exists() or tail.path.stat().st_size < tail.end) for tail in paths
        ):
            self._forget()  # somebody put other files in their place
        policy = self.desk.policy()
        changed = policy != self._policy
        self._policy = policy
        for record, place in self._good(self._records, Record.from_dict):
            changed |= self._add(record, place)
        for verdict, _ in self._good(self._verdicts, Verdict.from_dict):
            self._later[verdict.routine, verdict.dtype, verdict.candidate] = verdict
            changed = True
        for review, _ in self._good(self._reviews, read_review):
            self._log.append(review)
            changed = True
        for comment, _ in self._good(self._remarks, read_comment):
            key = comment.routine, comment.dtype, comment.candidate
            self._comments.setdefault(key, []).append(comment)
            changed = True
        if changed:
            self._rank()

    def _good(
        self, tail: Tail, decode: Callable[[Mapping[str, Any]], T]
    ) -> Iterator[tuple[T, tuple[int, int]]]:
        for entry, place in tail.read(decode):
            if isinstance(entry, Problem):
                self.problems.append(f"{tail.path.name}:{entry.line}: {entry.message}")
            else:
                yield entry, place

    def _add(self, record: Record, place: tuple[int, int]) -> bool:
        attempt = passed(record)
        if attempt is None or attempt.candidate is None or attempt.verdict is None:
            return False
        key = record.routine, record.dtype, attempt.candidate.hash
        verdict = attempt.verdict
        before = self._rows.get(key)
        self._rows[key] = Row(
            key,
            record.model,
            record.created,
            verdict.level,
            len(record.attempts),
            verdict.accuracy.max_ulp if verdict.accuracy else None,
            max((r.registers for r in verdict.resources), default=0),
            risks(record, verdict, attempt.candidate.text),
            [*(before.places if before else ()), place],
        )
        return True

    def _rank(self) -> None:
        stand = standings(self._log, self._policy)
        models = {key: row.model for key, row in self._rows.items()}
        self._known = Known.of(stand, models)
        for key, row in self._rows.items():
            row.standing = stand.get(key) or Standing(needed=self._policy.needed(key[0]))
            row.risks = (*row.own, *self._known.risks(key[0], key[1], row.model))
            row.risk = sum(risk.weight for risk in row.risks)
            row.comments = len(self._comments.get(key, ()))
        self._ranked = sorted(self._rows.values(), key=lambda row: (-row.risk, row.key))
