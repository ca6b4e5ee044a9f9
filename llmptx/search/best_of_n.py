"""Best of N: independent draws of the task, no repairs. What most benchmarks do, kept as the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from llmptx.search.draft import Draft, Limits, Move, another


def best_of_n(drafts: Sequence[Draft], limits: Limits) -> Move | None:
    """Draw again, until one passes or the drafts are used up."""
    return another(drafts, limits)
