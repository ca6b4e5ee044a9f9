"""Best-first: drafts are the nodes of a tree, and the most promising one is mended next.

A draft promises as much as the stage it reached, and as it gained on the draft it mends. One that gained
nothing is dropped with its conversation, and so is one whose text was seen before. Where nothing promises
anything, the task is drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmptx.search.draft import Draft, Limits, Move, another


def best_first(drafts: Sequence[Draft], limits: Limits) -> Move | None:
    """Mend the draft of the highest promise, the earliest of several; else draw again."""
    mended = {draft.parent for draft in drafts}
    open_ones = [
        at
        for at, draft in enumerate(drafts)
        if at not in mended and not draft.repeats and draft.turn < limits.turns and _gain(drafts, draft) > 0
    ]
    if not open_ones or len(drafts) >= limits.drafts:
        return another(drafts, limits)
    best = max(open_ones, key=lambda at: promise(drafts, at))
    return Move(best, drafts[best].sample)


def promise(drafts: Sequence[Draft], at: int) -> int:
    """The stage that draft number `at` reached, and its gain."""
    return drafts[at].reached + _gain(drafts, drafts[at])


def _gain(drafts: Sequence[Draft], draft: Draft) -> int:
    return draft.reached - (0 if draft.parent is None else drafts[draft.parent].reached)
