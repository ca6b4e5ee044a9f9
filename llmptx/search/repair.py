"""Repair: one conversation, each findings answered by the next draft, until its turns are used up.

A model that repeats itself has nothing left to say in a conversation; another is begun while drafts are left.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmptx.search.draft import Draft, Limits, Move, another


def repair(drafts: Sequence[Draft], limits: Limits) -> Move | None:
    """Mend the last draft, whatever is wrong with it."""
    if not drafts or drafts[-1].repeats or drafts[-1].turn >= limits.turns:
        return another(drafts, limits)
    if len(drafts) >= limits.drafts:
        return None
    return Move(len(drafts) - 1, drafts[-1].sample)
