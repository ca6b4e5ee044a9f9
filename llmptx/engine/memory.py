"""The address space a launch runs in: buffers apart from each other, pages that fault between them, a
shadow beside.

POSIX only. An arena is one reserved range of addresses; what is not given to a buffer cannot be touched.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

PAGE = mmap.PAGESIZE
GUARD = 1 << 20
ADDRESSABLE, INITIALISED, READ_ONLY = 1, 2, 4
RACE_BYTES = 20  # of shadow for a byte: 16 of its own, and two words for every four
RACE_LIMIT = 1 << 42  # of addresses
_NONE, _READ_WRITE = 0, 3
_PRIVATE_ANONYMOUS_NORESERVE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000

_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _map(size: int, protection: int) -> int:
    address = _libc.mmap(None, size, protection, _PRIVATE_ANONYMOUS_NORESERVE, -1, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise MemoryError(f"no {size} bytes of address space for a launch: {ctypes.get_errno()}")
    return int(address)


def view(address: int, size: int) -> NDArray[np.uint8]:
    """Memory as an array of bytes; valid while it is mapped."""
    if size == 0:
        return np.empty(0, np.uint8)
    memory = (ctypes.c_uint8 * size).from_address(address)
    return np.ctypeslib.as_array(memory)


@dataclass(frozen=True, slots=True)
class Area:
    """A buffer's place: `start` is its first byte; [first, first + room) are the pages that hold it."""

    name: str
    start: int
    size: int
    first: int
    room: int


class Arena:
    """Reserve, place, and give back (a context manager). `shadow` and `races` are 0 unless checked."""

    def __init__(self, sizes: dict[str, int], checked: bool) -> None:
        """sizes: bytes of every buffer by name, plus what alignment may take."""
        rooms = {name: _pages(size + 512) for name, size in sizes.items()}
        self.size = GUARD + sum(room + _pages(max(GUARD, room)) for room in rooms.values())
        self.base = _map(self.size, _NONE)
        self.shadow = _map(self.size, _READ_WRITE) if checked else 0
        self.races = _room_for_races(self.size) if checked else 0
        self.areas: dict[str, Area] = {}
        self._slack: dict[str, tuple[NDArray[np.uint8], int]] = {}
        self._next = self.base + GUARD
        self._rooms = rooms

    def place(
        self,
        name: str,
        size: int,
        alignment: int = 256,
        offset: int = 0,
        guard: Literal["after", "before"] = "after",
    ) -> Area:
        """A buffer whose address is `offset` past a multiple of `alignment`, as near to a guard page as
        that allows.
        """
        room = self._rooms[name]
        first = self._next
        self._next += room + _pages(max(GUARD, room))
        if _libc.mprotect(first, room, _READ_WRITE):
            raise MemoryError(f"cannot open {room} bytes: {ctypes.get_errno()}")
        if guard == "before":
            start = first + offset
        else:
            start = first + room - size
            start -= (start - offset) % alignment
        area = Area(name, start, size, first, room)
        self.areas[name] = area
        return area

    def bytes(self, area: Area) -> NDArray[np.uint8]:
        return view(area.start, area.size)

    def mark(self, area: Area, state: int, pieces: Sequence[slice] = (slice(None),)) -> None:
        """Sets the shadow of a buffer, or of some of its bytes."""
        states = self.states(area) if self.shadow else np.empty(0, np.uint8)
        for piece in pieces:
            states[piece] = state

    def states(self, area: Area) -> NDArray[np.uint8]:
        return view(self.shadow + area.start - self.base, area.size)

    def state(self, address: int) -> int:
        """The shadow of one byte; 0 outside the arena."""
        inside = self.shadow and 0 <= address - self.base < self.size
        return ctypes.c_uint8.from_address(self.shadow + address - self.base).value if inside else 0

    def guard_fill(self, area: Area, byte: int) -> None:
        """Fills what lies between the buffer and its guard pages."""
        view(area.first, area.start - area.first)[:] = byte
        tail = area.start + area.size
        view(tail, area.first + area.room - tail)[:] = byte

    def guard_broken(self, area: Area, byte: int) -> int | None:
        """Offset from the buffer's start of a byte beside it that was written, if any was."""
        tail = area.start + area.size
        for start, size in ((area.first, area.start - area.first), (tail, area.first + area.room - tail)):
            changed = np.flatnonzero(view(start, size) != byte)
            if changed.size:
                return int(start + changed[0] - area.start)
        return None

    def locate(self, address: int) -> tuple[str, int]:
        """(buffer, byte offset in it) nearest to an address."""
        best = min(
            self.areas.values(),
            key=lambda a: max(a.start - address, address - (a.start + a.size - 1), 0),
            default=None,
        )
        return (best.name, address - best.start) if best else ("", address)

    def close(self) -> None:
        if self.base:
            _libc.munmap(self.base, self.size)
            if self.shadow:
                _libc.munmap(self.shadow, self.size)
            if self.races:
                _libc.munmap(self.races, RACE_BYTES * self.size)
            self.base = 0

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _room_for_races(size: int) -> int:
    """Where the races' shadow is, or 0 for arenas too large to have one: no races are found in those."""
    return _map(RACE_BYTES * size, _READ_WRITE) if RACE_BYTES * size <= RACE_LIMIT else 0


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
