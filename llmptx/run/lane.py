"""Which thread of a launch somebody means by `LANE`: 17, or 2,0,0:17. Knows grids and blocks."""

from __future__ import annotations

from dataclasses import dataclass

from llmptx.run.arguments import ArgumentError
from llmptx.run.job import Launch

Index = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Lane:
    """A thread: `block` as written (None: `thread` counts through the whole grid), `thread` likewise."""

    text: str
    block: tuple[int, ...] | None
    thread: tuple[int, ...]

    def within(self, launch: Launch) -> tuple[Index, Index] | None:
        """(block, thread) in a launch; None where that has no such thread."""
        x, y, z = launch.block
        block, thread = self.block, self.thread
        if block is None and len(thread) == 1:
            block, thread = (thread[0] // (x * y * z),), (thread[0] % (x * y * z),)
        found = _index(block or (0,), launch.grid), _index(thread, launch.block)
        return None if found[0] is None or found[1] is None else (found[0], found[1])


def lane(text: str) -> Lane:
    """Raises ArgumentError where the text names no thread."""
    before, colon, after = text.rpartition(":")
    try:
        block = tuple(int(part) for part in before.split(",")) if colon else None
        thread = tuple(int(part) for part in after.split(","))
    except ValueError:
        block, thread = None, ()
    parts = (*(block or ()), *thread)
    if not 1 <= len(thread) <= 3 or len(block or (0,)) > 3 or min(parts) < 0:
        raise ArgumentError(
            f"--trace {text}: write a thread by its number in the grid (17), or block and thread "
            "(2,0,0:17 or 2:1,3)"
        )
    return Lane(text, block, thread)


def lanes(text: str, launches: tuple[Launch, ...]) -> list[tuple[Index, Index] | None]:
    """By launch, the thread that is meant. Raises ArgumentError where none has it."""
    meant = lane(text)
    found = [meant.within(launch) for launch in launches]
    if not any(found):
        shapes = "; ".join(f"{each.entry}: grid {each.grid}, block {each.block}" for each in launches)
        raise ArgumentError(f"--trace {text}: no launch has that thread ({shapes})")
    return found


def _index(given: tuple[int, ...], extents: Index) -> Index | None:
    """One number counts through all extents; two or three are coordinates."""
    x, y, z = extents
    if len(given) == 1:
        number = given[0]
        if number >= x * y * z:
            return None
        return number % x, number // x % y, number // (x * y)
    i, j, k = (*given, 0)[:3]
    return (i, j, k) if i < x and j < y and k < z else None
