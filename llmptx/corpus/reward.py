"""The judge as a reward: for TRL's GRPO, and as a `verifiers` environment, over the rows of format `tasks`.

The reward comes from the verdict alone. Where a draft ends in the judge counts, so that a model that writes
no right kernel yet is told which of its drafts came further; only a kernel that passes the whole level has 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llmptx.llm.extract import ReplyError, ptx_of
from llmptx.record import Level, Verdict
from llmptx.run.worker import Pool
from llmptx.verify.judge import verify

# By the stage that a draft did not pass. Never near 1: the sum of many halves must not beat one right kernel.
STAGES = {"read": 0.05, "assemble": 0.1, "quick": 0.2}
LATER = 0.3


def score(verdict: Verdict) -> float:
    """1 for a kernel that passed; else by how far it came, 0.3 at most."""
    if verdict.passed:
        return 1.0
    failed = next((stage.name for stage in verdict.stages if not stage.passed), "read")
    return STAGES.get(failed, LATER)


class JudgeReward:
    """`reward(prompts, completions, routine=..., dtype=...)`, as TRL's GRPOTrainer calls rewards.

    Judges in worker processes of its own, which `close` ends. A completion is text, or a list of turns.
    """

    __name__ = "judge"

    def __init__(self, level: Level = "full", workers: int = 2) -> None:
        self.level = level
        self._pool = Pool(workers)
        self._threads = ThreadPoolExecutor(workers)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        routine: Sequence[str],
        dtype: Sequence[str],
        **_: Any,
    ) -> list[float]:
        """A reward from 0 to 1 for each completion. 0: no PTX in it."""
        return list(self._threads.map(self.one, completions, routine, dtype))

    def one(self, completion: Any, routine: str, dtype: str) -> float:
        """The reward of one completion."""
        text = completion if isinstance(completion, str) else str(completion[-1]["content"])
        try:
            ptx = ptx_of(text)
        except ReplyError:
            return 0.0
        return score(verify(ptx, routine, dtype, level=self.level, pool=self._pool))

    def close(self) -> None:
        self._threads.shutdown()
        self._pool.close()

    def __enter__(self) -> JudgeReward:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def load_environment(level: Level = "full", workers: int = 2, part: str = "train", **kwargs: Any) -> Any:
    """A single-turn environment of the `verifiers` package over the catalogue's tasks. Needs `verifiers`.

    part  of the catalogue: train, test or all
    """
    import verifiers as vf
    from datasets import Dataset

    from llmptx.corpus.training import examples

    rows = [
        {"prompt": row["prompt"], "answer": "", "info": {"routine": row["routine"], "dtype": row["dtype"]}}
        for row in examples((), "tasks", part=part)  # type: ignore[arg-type]
    ]
    reward = JudgeReward(level, workers)

    def judge(completion: Any, info: dict[str, str], **_: Any) -> float:
        return reward.one(completion, info["routine"], info["dtype"])

    return vf.SingleTurnEnv(dataset=Dataset.from_list(rows), rubric=vf.Rubric(funcs=[judge]), **kwargs)
