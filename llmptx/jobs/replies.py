"""Replies on record, in a store or in a file `export` wrote: with them a run is had again without a model.

A reply is found by the key of its call, the hash of endpoint, request and sample: what was asked in other
words is not on record. Knows no budget and sends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from llmptx.jobs.errors import JobError
from llmptx.jobs.ledger import completion_of
from llmptx.jobs.store import Store
from llmptx.record import Completion, canonical

SCHEMA = "llmptx/reply/1"


class Replies:
    """`Replies(path)` of a .sqlite store or a .jsonl file; `get` finds one. Raises JobError, StoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._store: Store | None = None
        self._lines: Mapping[str, str] = {}
        if path.suffix == ".sqlite":
            self._store = Store(path, readonly=True)
        else:
            self._lines = _read(path)

    def get(self, key: str) -> Completion | None:
        if self._store is None:
            line = self._lines.get(key)
        else:
            found = self._store.rows("SELECT reply FROM calls WHERE key = ? AND reply IS NOT NULL", key)
            line = found[0]["reply"] if found else None
        return completion_of(line) if line is not None else None

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


def export(store: Store, job: int, path: Path) -> int:
    """Write every reply that job asked for, or found on file, a line each; how many there were.

    Raises JobError where there is no such job.
    """
    store.job(job)
    rows = store.rows("SELECT key, reply FROM calls WHERE job = ? AND reply IS NOT NULL ORDER BY key", job)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            reply = json.loads(row["reply"])
            file.write(canonical({"schema": SCHEMA, "key": row["key"], "reply": reply}) + "\n")
    return len(rows)


def _read(path: Path) -> dict[str, str]:
    found = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if row["schema"] != SCHEMA:
                raise ValueError(f"schema is {row['schema']!r}; this version reads {SCHEMA!r}")
            found[str(row["key"])] = canonical(row["reply"])
            completion_of(found[str(row["key"])])
        except (ValueError, KeyError, TypeError) as error:
            raise JobError(f"{path}:{number}: not a reply on record: {error}") from error
    return found
