"""An append-only file of JSON lines that survives crashes: whole lines are kept, broken ones told by number.

Knows nothing of what a line means: its readers bring a `decode`.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Decode = Callable[[Mapping[str, Any]], T]


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be read: its number, from 1, and why."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands in the file, without its line feed; `end` is the offset after it."""

    number: int
    raw: bytes
    end: int
    whole: bool


def lines(path: Path, start: int = 0, number: int = 1) -> Iterator[Line]:
    """The lines that are not blank, from byte `start`, where line `number` begins; none without a file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        end = start
        for index, raw in enumerate(file, start=number):
            end += len(raw)
            if raw.strip():
                yield Line(index, raw.rstrip(b"\r\n"), end, raw.endswith(b"\n"))


def decoded(line: Line, decode: Decode[T]) -> T | Problem:
    """What a line says, or why it can't be read."""
    try:
        data = json.loads(line.raw)
    except (ValueError, RecursionError) as error:
        cut = "" if line.whole else "; the line is cut off, as a crash leaves it"
        return Problem(line.number, f"not JSON: {error}{cut}")
    if not isinstance(data, dict):
        return Problem(line.number, f"holds a JSON {type(data).__name__}, not an object")
    try:
        return decode(data)
    except KeyError as error:
        return Problem(line.number, f"has no key {error}")
    except (ValueError, TypeError, AttributeError) as error:
        return Problem(line.number, str(error))


def scan(path: Path, decode: Decode[T]) -> Iterator[T | Problem]:
    """Every line in order, read as it is asked for."""
    for line in lines(path):
        yield decoded(line, decode)


@contextmanager
def appending(path: Path) -> Iterator[int]:
    """Alone with the file, created with its folders if need be: the one writer among processes and threads.

    Yields a descriptor for `write_line`. Each use opens the file anew, so the lock holds between threads too.
    """
    created = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if created:
            _sync_folder(path.parent)
        yield file
    finally:
        os.close(file)


def write_line(file: int, text: str) -> None:
    """One line, on disk when this returns.

    A line that an earlier crash cut off is ended first, so that this one is whole.
    """
    size = os.fstat(file).st_size
    ended = size == 0 or os.pread(file, 1, size - 1) == b"\n"
    data = (b"" if ended else b"\n") + text.encode() + b"\n"
    while data:
        data = data[os.write(file, data) :]
    os.fsync(file)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
