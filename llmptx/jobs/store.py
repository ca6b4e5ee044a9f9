"""The store: jobs, items, calls and verdicts as rows of one SQLite file (WAL).

One process writes at a time, kept so by a lock; its threads share one connection. Every method commits before
it returns. Knows no model, judge or corpus: what a row means is the business of the ledger and of the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from llmptx.jobs.errors import BusyError, JobError, StoreError
from llmptx.jobs.result import ItemResult
from llmptx.jobs.spec import Item, JobSpec, Resolve, check_model, from_catalogue, items_of, make
from llmptx.record import Verdict, canonical

State = Literal["pending", "done", "failed"]

# Each entry takes the file from the version before it to its own; entries are never changed, only added.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY, spec TEXT NOT NULL, created REAL NOT NULL,
        cancelled INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE items (
        job INTEGER NOT NULL REFERENCES jobs, position INTEGER NOT NULL,
        routine TEXT NOT NULL, dtype TEXT NOT NULL, sample INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'failed')),
        result TEXT,
        PRIMARY KEY (job, position), UNIQUE (job, routine, dtype, sample)
    ) STRICT;
    CREATE TABLE calls (
        key TEXT PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs,
        endpoint TEXT NOT NULL, model TEXT NOT NULL, sample INTEGER NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('planned', 'reserved', 'sent', 'received', 'settled', 'unknown')),
        tries INTEGER NOT NULL DEFAULT 0, reserved REAL NOT NULL DEFAULT 0, cost REAL,
        reply TEXT, updated REAL NOT NULL
    ) STRICT;
    CREATE INDEX calls_by_job ON calls (job);
    CREATE TABLE losses (
        key TEXT NOT NULL REFERENCES calls, job INTEGER NOT NULL REFERENCES jobs, charge REAL NOT NULL
    ) STRICT;
    CREATE INDEX losses_by_job ON losses (job);
    CREATE TABLE verdicts (
        key TEXT PRIMARY KEY, candidate TEXT NOT NULL, spec TEXT NOT NULL, judge TEXT NOT NULL,
        engine TEXT NOT NULL, level TEXT NOT NULL, verdict TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE items_2 (
        job INTEGER NOT NULL REFERENCES jobs, position INTEGER NOT NULL,
        routine TEXT NOT NULL, dtype TEXT NOT NULL, sample INTEGER NOT NULL, model TEXT NOT NULL,
        strategy TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'failed')),
        result TEXT,
        PRIMARY KEY (job, position), UNIQUE (job, routine, dtype, sample, model)
    ) STRICT;
    INSERT INTO items_2 SELECT job, position, routine, dtype, sample,
        (SELECT json_extract(spec, '$.model') FROM jobs WHERE id = job), '', state, result FROM items;
    DROP TABLE items;
    ALTER TABLE items_2 RENAME TO items;
    """,
    """
    ALTER TABLE calls ADD COLUMN batch TEXT NOT NULL DEFAULT '';
    CREATE INDEX calls_by_state ON calls (state);
    """,
    """
    ALTER TABLE jobs ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
    """,
)

_locks: dict[Path, tuple[int, int]] = {}
_locks_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as it stands: `states` counts its items by state."""

    id: int
    spec: JobSpec
    created: float
    cancelled: bool
    states: dict[str, int]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item as it stands. strategy: the one it was begun with, "" where the job's is the only one."""

    position: int
    item: Item
    state: State
    result: ItemResult | None
    strategy: str = ""


class Store:
    """`Store(path)` to write, `Store(path, readonly=True)` to look while another process writes.

    Raises StoreError where another process writes, or the file is of a later version.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self._mutex = threading.RLock()
        self._locked = False
        if readonly:
            if not self.path.exists():
                raise StoreError(f"{self.path}: no jobs here yet")
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            self._db = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=30)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _lock(self.path)
            self._locked = True
            self._db = sqlite3.connect(self.path, check_same_thread=False, timeout=30, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        try:
            self._prepare(readonly)
        except sqlite3.DatabaseError as error:
            self.close()
            raise StoreError(f"{self.path}: not a store of ours: {error}") from error
        except StoreError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._mutex:
            self._db.close()
            if self._locked:
                self._locked = False
                _unlock(self.path)

    @contextlib.contextmanager
    def transaction(self, *, paid: bool = True) -> Iterator[sqlite3.Connection]:
        """Everything done inside is on disk when it ends, or none of it is.

        paid  left False for what costs nothing to have again: a process that is killed loses none of it, a
              power cut may, and the disk is not waited for
        """
        with self._mutex:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if paid else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """What a SELECT gives."""
        with self._mutex:
            return self._db.execute(query, values).fetchall()

    # Jobs and items

    def submit(self, spec: JobSpec, resolve: Resolve = from_catalogue) -> int:
        """File a job and return its number. Raises JobError for unknown routines, dtypes and models."""
        items = items_of(spec, resolve)
        with self.transaction() as db:
            values = (spec.model_dump_json(by_alias=True), time.time())
            cursor = db.execute("INSERT INTO jobs (spec, created) VALUES (?, ?)", values)
            job = int(cursor.lastrowid or 0)
            db.executemany(
                "INSERT INTO items (job, position, routine, dtype, sample, model) VALUES (?, ?, ?, ?, ?, ?)",
                [(job, at, *dataclasses.astuple(item)) for at, item in enumerate(items)],
            )
        return job

    def job(self, job: int) -> JobRow:
        """Raises JobError where there is no such job."""
        found = self.rows("SELECT * FROM jobs WHERE id = ?", job)
        if not found:
            known = ", ".join(
                str(row["id"]) for row in self.rows("SELECT id FROM jobs ORDER BY id DESC LIMIT 8")
            )
            raise JobError(f"no job {job}; " + (f"the latest are {known}" if known else "there are none yet"))
        return self._job_row(found[0])

    def jobs(self) -> tuple[JobRow, ...]:
        return tuple(self._job_row(row) for row in self.rows("SELECT * FROM jobs ORDER BY id"))

    def items(self, job: int) -> tuple[ItemRow, ...]:
        rows = self.rows("SELECT * FROM items WHERE job = ? ORDER BY position", job)
        return tuple(_item_row(row) for row in rows)

    def begin(self, job: int, position: int, strategy: str) -> None:
        """The item is worked on with that strategy, from now on and after any resume."""
        with self.transaction(paid=False) as db:
            db.execute(
                "UPDATE items SET strategy = ? WHERE job = ? AND position = ?", (strategy, job, position)
            )

    def finish(self, job: int, position: int, state: State, result: ItemResult) -> None:
        with self.transaction(paid=False) as db:
            db.execute(
                "UPDATE items SET state = ?, result = ? WHERE job = ? AND position = ?",
                (state, canonical(dataclasses.asdict(result)), job, position),
            )

    def cancel(self, job: int) -> None:
        """No item of it is begun any more. Raises JobError where there is no such job."""
        self.job(job)
        with self.transaction() as db:
            db.execute("UPDATE jobs SET cancelled = 1 WHERE id = ?", (job,))

    def pause(self, job: int) -> None:
        """It is not worked on until it is resumed by name. Raises JobError where there is no such job."""
        self.job(job)
        with self.transaction() as db:
            db.execute("UPDATE jobs SET paused = 1 WHERE id = ?", (job,))

    def draw_again(self, job: int) -> int:
        """A new item, with draws of its own, for each kernel whose items were all rejected; how many.

        Raises JobError where there is no such job.
        """
        latest: dict[tuple[str, str, str], int] = {}
        good = set()
        rows = self.items(job)
        for row in rows:
            kernel = row.item.routine, row.item.dtype, row.item.model
            latest[kernel] = max(latest.get(kernel, 0), row.item.sample)
            if row.result is None or row.state != "done" or row.result.status != "rejected":
                good.add(kernel)
        again = [
            (job, len(rows) + at, routine, dtype, latest[routine, dtype, model] + 1, model)
            for at, (routine, dtype, model) in enumerate(kernel for kernel in latest if kernel not in good)
        ]
        with self.transaction() as db:
            db.executemany(
                "INSERT INTO items (job, position, routine, dtype, sample, model) VALUES (?, ?, ?, ?, ?, ?)",
                again,
            )
        return len(again)

    def reopen(self, job: int) -> None:
        """Failed items wait again, a cancelled or paused job goes on. Raises JobError where there is none."""
        self.job(job)
        with self.transaction() as db:
            db.execute("UPDATE jobs SET cancelled = 0, paused = 0 WHERE id = ?", (job,))
            db.execute("UPDATE items SET state = 'pending' WHERE job = ? AND state = 'failed'", (job,))

    def set_budget(self, job: int, budget: float | None) -> None:
        """Another budget, in US dollars, for what is left. Raises JobError where there is no such job."""
        spec = make({**self.job(job).spec.model_dump(by_alias=True), "budget": budget}, f"job {job}")
        check_model(spec)
        with self.transaction() as db:
            db.execute("UPDATE jobs SET spec = ? WHERE id = ?", (spec.model_dump_json(by_alias=True), job))

    # Verdicts

    def verdict(self, key: str) -> Verdict | None:
        found = self.rows("SELECT verdict FROM verdicts WHERE key = ?", key)
        return Verdict.from_dict(json.loads(found[0]["verdict"])) if found else None

    def keep_verdict(self, key: str, verdict: Verdict) -> None:
        v = verdict
        row = (key, v.candidate, v.spec, v.judge, v.engine, v.level, v.to_json())
        with self.transaction(paid=False) as db:
            db.execute("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _prepare(self, readonly: bool) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self.path}: written by a later version (schema {version}, known up to {len(MIGRATIONS)})"
            )
        if readonly:
            if version < len(MIGRATIONS):
                raise StoreError(
                    f"{self.path}: of an earlier version (schema {version}); a run brings it up to date"
                )
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        for number in range(version, len(MIGRATIONS)):
            self._db.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")

    def _job_row(self, row: sqlite3.Row) -> JobRow:
        counts = self.rows("SELECT state, count(*) AS n FROM items WHERE job = ? GROUP BY state", row["id"])
        spec = make(json.loads(row["spec"]), f"job {row['id']}")
        states = {str(c["state"]): int(c["n"]) for c in counts}
        return JobRow(row["id"], spec, row["created"], bool(row["cancelled"]), states, bool(row["paused"]))


def _item_row(row: sqlite3.Row) -> ItemRow:
    result = ItemResult(**json.loads(row["result"])) if row["result"] else None
    item = Item(row["routine"], row["dtype"], row["sample"], row["model"])
    return ItemRow(row["position"], item, row["state"], result, row["strategy"])


def _lock(path: Path) -> None:
    """Take the writer's lock: a POSIX record lock, which ends with its process and goes to no child."""
    lock = path.absolute().with_suffix(".lock")
    with _locks_guard:
        held = _locks.get(lock)
        if held:
            _locks[lock] = (held[0], held[1] + 1)
            return
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise BusyError(f"{path}: another process is at work on it; wait for it, or end it") from error
        _locks[lock] = (file, 1)


def _unlock(path: Path) -> None:
    lock = path.absolute().with_suffix(".lock")
    with _locks_guard:
        file, count = _locks.pop(lock)
        if count > 1:
            _locks[lock] = (file, count - 1)
        else:
            os.close(file)
