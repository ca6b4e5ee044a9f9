"""The corpus and what can be said of it. The public face of the package."""

from llmptx.corpus.journal import Problem
from llmptx.corpus.store import Corpus, outcome, passing, rechecked
from llmptx.corpus.summary import Stats, check, distinct, stats
from llmptx.corpus.training import examples

__all__ = [
    "Corpus",
    "Problem",
    "Stats",
    "check",
    "distinct",
    "examples",
    "outcome",
    "passing",
    "rechecked",
    "stats",
]
