"""People decide: the queue of candidates that passed, and the decisions on them. The public face."""

from llmptx.review.decisions import Policy, PolicyError, Standing
from llmptx.review.desk import Desk, ReviewError, Verified
from llmptx.review.plain import plain, plain_line
from llmptx.review.queue import Entry, Risk

__all__ = [
    "Desk",
    "Entry",
    "Policy",
    "PolicyError",
    "ReviewError",
    "Risk",
    "Standing",
    "Verified",
    "plain",
    "plain_line",
]
