"""What changed between two kernels, names of registers and labels aside. Knows texts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from llmptx.ptx.errors import PtxError
from llmptx.ptx.normalize import normalized
from llmptx.review.plain import plain

CONTEXT = 3
MOST_LINES = 6000


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the difference; `gap` stands for lines that both have and are left out."""

    kind: Literal["same", "added", "removed", "gap"]
    old: int
    new: int
    text: str


def difference(old: str, new: str) -> tuple[Change, ...]:
    """From old to new, both normalised: renamed registers and labels, comments and layout don't show."""
    before, after = _lines(old), _lines(new)
    changes: list[Change] = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    blocks = matcher.get_opcodes()
    for at, (tag, a, b, c, d) in enumerate(blocks):
        if tag == "equal":
            changes += _shared(before, a, b, c, first=at == 0, last=at == len(blocks) - 1)
        else:
            changes += [Change("removed", n + 1, 0, before[n]) for n in range(a, b)]
            changes += [Change("added", 0, n + 1, after[n]) for n in range(c, d)]
    return tuple(changes)


def _shared(lines: Sequence[str], a: int, b: int, c: int, *, first: bool, last: bool) -> list[Change]:
    shown = [Change("same", n + 1, n + 1 - a + c, lines[n]) for n in range(a, b)]
    head, tail = (0 if first else CONTEXT), (0 if last else CONTEXT)
    if len(shown) <= head + tail + 1:
        return shown
    left = len(shown) - head - tail
    gap = Change("gap", 0, 0, f"{left} lines that both have")
    return [*shown[:head], gap, *(shown[-tail:] if tail else [])]


def _lines(text: str) -> list[str]:
    with suppress(PtxError):
        text = normalized(text)
    return [plain(line) for line in text.splitlines()[:MOST_LINES]]
