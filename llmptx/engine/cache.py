"""Compiled entries kept by content: in memory for this process, in files for the next.

A key is the SHA-256 of all that the machine code depends on: the printed module and how it is compiled, the
engine's own sources, LLVM, the CPU and its features. A file that is cut short, damaged, another key's or
another user's is passed over and written anew; where nothing can be written, nothing is, and nobody is told.

Whoever can write these files runs code in the processes that load them. So only callers that trust their PTX
as they trust a C extension (`Module`, exported packages) use this; the judge's workers, where candidates run,
neither write nor read it, and their system-call filter leaves them no way to.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from llmptx.engine.library import LIBRARY
from llmptx.engine.lower import Lowered
from llmptx.engine.unset import Origin

SETTING = "LLMPTX_CACHE"
MAGIC = b"llmptx/code/1\n"
DIGEST = 32
RECENT = 128
LIMIT = 256 << 20  # bytes of files
TRIM_EVERY = 64  # files written
SOURCES = ("ptx", "isa", "engine")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a compile gave: the object file, and what a launch must know. Its LLVM text is not kept."""

    lowered: Lowered
    why: str
    code: bytes


class Cache:
    """directory: where files go, made when first written to; None for memory only. limit: bytes of files."""

    def __init__(self, directory: Path | None = None, *, recent: int = RECENT, limit: int = LIMIT) -> None:
        self._directory, self._recent, self._limit = directory, recent, limit
        self._memory: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._written = 0

    def get(self, key: str) -> Kept | None:
        with self._lock:
            if (kept := self._memory.get(key)) is not None:
                self._memory.move_to_end(key)
                return kept
        kept = self._read(key)
        if kept is not None:
            self._remember(key, kept)
        return kept

    def put(self, key: str, kept: Kept) -> None:
        self._remember(key, kept)
        payload = _packed(kept)
        if self._directory is None or payload is None:
            return
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self._directory / key, MAGIC + _digest(key, payload) + payload)
            if self._written % TRIM_EVERY == 0:
                self._trim()
            self._written += 1

    def _remember(self, key: str, kept: Kept) -> None:
        with self._lock:
            self._memory[key] = kept
            self._memory.move_to_end(key)
            while len(self._memory) > self._recent:
                self._memory.popitem(last=False)

    def _read(self, key: str) -> Kept | None:
        if self._directory is None:
            return None
        try:
            with open(self._directory / key, "rb") as file:
                if not _ours(os.fstat(file.fileno())):
                    return None
                data = file.read(self._limit)
        except OSError:
            return None
        start = len(MAGIC) + DIGEST
        payload = data[start:]
        if not data.startswith(MAGIC) or data[len(MAGIC) : start] != _digest(key, payload):
            return None
        with contextlib.suppress(OSError):
            os.utime(self._directory / key)  # what is used is not old
        return _unpacked(payload)

    def _write(self, path: Path, data: bytes) -> None:
        """Whole or not at all: another process sees the old file or the new one."""
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(name, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _trim(self) -> None:
        """Takes the files used longest ago away, where there are more bytes than the limit."""
        assert self._directory is not None
        found = [(e.stat(), e.path) for e in os.scandir(self._directory) if e.is_file()]
        total = sum(status.st_size for status, _ in found)
        for status, path in sorted(found, key=lambda item: item[0].st_mtime_ns):
            if total <= self._limit:
                return
            os.unlink(path)
            total -= status.st_size


def default() -> Cache:
    """The cache of this process: in `$LLMPTX_CACHE`, in memory only where that is empty, else in the place
    where the system keeps caches.
    """
    return _cache(os.environ.get(SETTING))


@cache
def _cache(setting: str | None) -> Cache:
    if setting is not None:
        return Cache(Path(setting) / "code" if setting else None)
    try:
        home = Path.home()
    except RuntimeError:
        return Cache()
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        named = os.environ.get("XDG_CACHE_HOME", "")
        base = Path(named) if os.path.isabs(named) else home / ".cache"
    return Cache(base / "llmptx" / "code")


def key(*parts: object) -> str:
    """Of what was compiled and how. Parts must print as what they are, and nothing else prints so."""
    text = "\0".join((engine_version(), *(repr(part) for part in parts)))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def engine_version() -> str:
    """The SHA-256 of the sources that turn PTX into machine code."""
    total = hashlib.sha256()
    for folder in SOURCES:
        for source in sorted((files("llmptx") / folder).iterdir(), key=lambda entry: entry.name):
            if source.name.endswith(".py"):
                total.update(hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()


def _ours(status: os.stat_result) -> bool:
    """A plain file nobody else can have written."""
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return mine and stat.S_ISREG(status.st_mode) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + payload).digest()


def _packed(kept: Kept) -> bytes | None:
    """None for what JSON does not say: the waits of tensor-core instructions one thread at a time."""
    lowered = kept.lowered
    plain = (str, int, bool)
    if any(not isinstance(word, plain) for what, _ in lowered.waits.values() for word in what):
        return None
    about = {
        "why": kept.why,
        # Of helpers that are linked in, only the names still say something.
        "helpers": {n: text if n.startswith(LIBRARY) else "" for n, text in lowered.extras.items()},
        "width": lowered.width,
        "frame": lowered.frame,
        "stepped": lowered.stepped,
        "synchronises": lowered.synchronises,
        "symbols": lowered.symbols,
        "waits": [[number, what, pc] for number, (what, pc) in lowered.waits.items()],
        "origins": [[pc, [[o.pc, o.register] for o in found]] for pc, found in lowered.origins.items()],
        "homes": [[pc, sorted(offsets)] for pc, offsets in lowered.homes.items()],
    }
    head = json.dumps(about).encode()
    return len(head).to_bytes(4, "little") + head + kept.code


def _unpacked(payload: bytes) -> Kept:
    size = int.from_bytes(payload[:4], "little")
    about: dict[str, Any] = json.loads(payload[4 : 4 + size])
    lowered = Lowered(
        "",
        about["helpers"],
        about["width"],
        about["frame"],
        about["stepped"],
        about["synchronises"],
        about["symbols"],
        {number: (tuple(what), pc) for number, what, pc in about["waits"]},
        origins={pc: tuple(Origin(*each) for each in found) for pc, found in about["origins"]},
        homes={pc: frozenset(offsets) for pc, offsets in about["homes"]},
    )
    return Kept(lowered, about["why"], payload[4 + size :])
