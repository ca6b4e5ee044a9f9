"""Which prompt to send next, and when to stop: `Search` is the loop, `STRATEGIES` say what it asks.

`Improving` goes on from a kernel that passed.
"""

from llmptx.search.bandit import Bandit
from llmptx.search.draft import Draft, Limits, Move, Strategy
from llmptx.search.improve import Improving, Kept
from llmptx.search.loop import STRATEGIES, Complete, Judge, Note, Search

__all__ = [
    "STRATEGIES",
    "Bandit",
    "Complete",
    "Draft",
    "Improving",
    "Judge",
    "Kept",
    "Limits",
    "Move",
    "Note",
    "Search",
    "Strategy",
]
