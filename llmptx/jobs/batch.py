"""Batches: requests written to files that an endpoint's batch service, or `vllm run-batch`, answers later.

A line is one call, in OpenAI's batch format; `custom_id` is its key in the ledger. A call counts as sent once
its file is whole. Reads the answers back, in any order and in as many files as they come. Knows no network.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from llmptx.jobs.errors import JobError
from llmptx.jobs.ledger import Ledger
from llmptx.llm.client import Client
from llmptx.llm.errors import EndpointError
from llmptx.record import canonical


@dataclass(slots=True)
class _Open:
    path: Path
    file: IO[str]
    keys: list[str]


class Batch:
    """The files of one run: `add` requests, then `close`. Safe to call from several threads."""

    def __init__(self, folder: Path, job: int) -> None:
        self._folder, self._job = folder, job
        self._open: dict[str, _Open] = {}
        self._mutex = threading.Lock()

    def add(self, key: str, client: Client, body: Mapping[str, Any]) -> None:
        """One more request for the client's model."""
        line = {"custom_id": key, "method": "POST", "url": f"/v1{client.protocol.PATH}", "body": body}
        with self._mutex:
            if client.model not in self._open:
                self._open[client.model] = self._begin(client.model)
            under_way = self._open[client.model]
            under_way.file.write(canonical(line) + "\n")
            under_way.keys.append(key)

    def close(self, ledger: Ledger) -> list[Path]:
        """Put the files in their places, and what they ask in the ledger as sent."""
        paths = []
        for each in self._open.values():
            with each.file as file:
                file.flush()
                os.fsync(file.fileno())
            os.replace(_half(each.path), each.path)
            ledger.batched(each.keys, each.path.name)
            paths.append(each.path)
        self._open = {}
        return paths

    def _begin(self, model: str) -> _Open:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"job-{self._job}-{re.sub('[^A-Za-z0-9.-]+', '_', model)}"
        number = 1
        while (path := self._folder / f"{name}-{number}.jsonl").exists():
            number += 1
        return _Open(path, _half(path).open("w", encoding="ascii"), [])


@dataclass(slots=True)
class Imported:
    """What a file of answers held. failed: answers that are errors, to be asked again; strange: of no call of
    the job that waits; waiting: calls of the job that still do.
    """

    answered: int = 0
    failed: int = 0
    strange: int = 0
    waiting: int = 0


def read_answers(
    path: Path, ledger: Ledger, job: int, clients: Mapping[str, Client], *, give_up: bool = False
) -> Imported:
    """File the answers of a job's batches. give_up: what is not among them is not waited for any more.

    Raises JobError for a file that is not one of answers, naming the line; what stands before it is filed.
    """
    found, awaited = Imported(), ledger.awaited(job)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        _take(json.loads(line), ledger, awaited, clients, found)
                    except (ValueError, KeyError, TypeError, AttributeError) as error:
                        text = f"{path}:{number}: not a batch's answer: {type(error).__name__}: {error}"
                        raise JobError(text) from error
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{path}: cannot be read: {error}") from error
    if give_up:
        for key in awaited:
            ledger.release(key)
        awaited.clear()
    found.waiting = len(awaited)
    return found


def _take(
    row: Mapping[str, Any],
    ledger: Ledger,
    awaited: dict[str, str],
    clients: Mapping[str, Client],
    found: Imported,
) -> None:
    key, response = str(row["custom_id"]), row.get("response") or {}
    if key not in awaited:
        found.strange += 1
        return
    client = clients[awaited.pop(key)]
    if row.get("error") or response.get("status_code", 200) != 200:
        ledger.release(key)
        found.failed += 1
        return
    try:
        completion = client.read(response["body"])
    except EndpointError:
        ledger.lose(key)
        found.failed += 1
        return
    ledger.arrived(key, completion)
    found.answered += 1


def _half(path: Path) -> Path:
    return path.with_suffix(".part")
