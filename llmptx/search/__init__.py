"""Which prompt to send next, and when to stop: `Search` is the loop, `STRATEGIES` say what it asks."""

from llmptx.search.bandit import Bandit
from llmptx.search.draft import Draft, Limits, Move, Strategy
from llmptx.search.loop import STRATEGIES, Complete, Judge, Note, Search

__all__ = [
    "STRATEGIES",
    "Bandit",
    "Complete",
    "Draft",
    "Judge",
    "Limits",
    "Move",
    "Note",
    "Search",
    "Strategy",
]
