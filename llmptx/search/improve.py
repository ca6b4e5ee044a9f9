"""From a verified kernel to better ones: those are kept that nothing kept is better than.

Each kernel kept is shown to the model with its weight, in turn, the least tried one first. What is rejected
is repaired once. Knows no endpoint, budget or judge, and not what a weight is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self

from llmptx.llm import prompt as prompts
from llmptx.record import Attempt, Candidate, Prompt, Routine
from llmptx.search.loop import Complete, Judge, Note, Tell, draft, no_ptx


class Weight(Protocol):
    """What a kernel costs, in several respects; str() says it in words."""

    def better_than(self, other: Self, /) -> bool: ...


Weigh = Callable[[str], Weight]


@dataclass(slots=True)
class Kept:
    """A verified kernel that nothing kept is better than. turns: the attempts of the conversation it ends."""

    weight: Weight
    candidate: Candidate
    turns: tuple[Attempt, ...]
    tried: int = 0


@dataclass
class Improving:
    """`step` until `over`. front: what is kept, with the kernel it began with while nothing is better.

    drafts  how many to ask for
    Raises ValueError where the start holds no kernel.
    """

    routine: Routine
    dtype: str
    start: Attempt
    weigh: Weigh
    drafts: int
    writer: prompts.Writer = field(default_factory=prompts.shipped)

    def __post_init__(self) -> None:
        candidate = self.start.candidate
        if candidate is None:
            raise ValueError("there is no kernel to improve")
        self.front = [Kept(self.weigh(candidate.text), candidate, ())]
        self.attempts: list[Attempt] = []
        self._seen = {candidate.hash}
        self._turns: tuple[Attempt, ...] = ()

    @property
    def over(self) -> bool:
        return len(self.attempts) >= self.drafts

    def step(self, complete: Complete, judge: Judge, tell: Tell = lambda note: None) -> Attempt:
        """One draft: asked for, judged, and kept where it passes and nothing kept is as good."""
        number = len(self.attempts) + 1
        mending = bool(self._turns)
        source = min(self.front, key=lambda kept: kept.tried)
        attempt = draft(
            self._prompt(source), source.tried, self.routine.name, self.dtype, complete, judge, tell, number
        )
        self.attempts.append(attempt)
        self._turns = (*self._turns, attempt)
        passed = attempt.verdict is not None and attempt.verdict.passed
        if passed:
            self._keep(attempt, tell, number)
        if passed or mending:
            source.tried += 1
            self._turns = ()
        return attempt

    def _prompt(self, source: Kept) -> Prompt:
        if not self._turns:
            opening = self.start.prompt
            return self.writer.improve(opening, source.candidate, str(source.weight))
        last = self._turns[-1]
        if last.candidate is None or last.verdict is None:
            return self.writer.ask_again(last.prompt, last.completion, no_ptx(last.completion))
        return self.writer.repair(last.prompt, last.completion, last.candidate, last.verdict)

    def _keep(self, attempt: Attempt, tell: Tell, number: int) -> None:
        candidate = attempt.candidate
        if candidate is None or candidate.hash in self._seen:
            return
        self._seen.add(candidate.hash)
        weight = self.weigh(candidate.text)
        if any(kept.weight.better_than(weight) or kept.weight == weight for kept in self.front):
            tell(Note(number, "stop", f"right, and no better: {weight}"))
            return
        kept = Kept(weight, candidate, self._turns)
        self.front = [other for other in self.front if not weight.better_than(other.weight)] + [kept]
        tell(Note(number, "verdict", f"better: {weight}"))
