"""What a strategy has to go on: the drafts so far, how far each came, and how much may still be asked.

Plain values. A strategy is a function of them and of nothing else, so a search that was interrupted makes the
same decisions again once its drafts are read back. Knows no model, judge or PTX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Draft:
    """One reply, and what came of it.

    parent   index of the draft whose findings it answers; None where it answers the task itself
    sample   which draw of the task its conversation began with
    turn     its place in that conversation, from 1
    reached  0 where the reply held no PTX, else 1 and the judge's stages it passed
    repeats  an earlier draft has the same normalised text
    """

    parent: int | None
    sample: int
    turn: int
    reached: int
    passed: bool = False
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """What to ask next: the task itself (no parent), or a repair of draft `parent`."""

    parent: int | None
    sample: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How many drafts in all, turns in a conversation, and draws of the task; the first draw's number."""

    drafts: int
    turns: int
    samples: int
    first: int = 0


# None: nothing more is worth asking. Called only while no draft has passed.
Strategy = Callable[[Sequence[Draft], Limits], Move | None]


def another(drafts: Sequence[Draft], limits: Limits) -> Move | None:
    """A new draw of the task, within the limits."""
    drawn = sum(draft.parent is None for draft in drafts)
    if len(drafts) >= limits.drafts or drawn >= limits.samples:
        return None
    return Move(None, limits.first + drawn)
