"""How well models write kernels: scores from records, and the page that shows them."""

from llmptx.bench.metrics import Difference, Interval, Score, Trial, differences, pass_at, scores, trials

__all__ = ["Difference", "Interval", "Score", "Trial", "differences", "pass_at", "scores", "trials"]
