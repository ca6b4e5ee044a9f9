"""A search for one kernel: ask, judge, and let a strategy say what to ask next.

One loop for every strategy. It knows no endpoint, budget, database or judge: `complete` and `judge` are
handed in, and whatever they raise leaves the search as it was before that step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmptx.llm import prompt as prompts
from llmptx.llm.extract import ReplyError, ptx_of
from llmptx.ptx.errors import PtxError
from llmptx.ptx.normalize import candidate_hash
from llmptx.record import Attempt, Candidate, Completion, Prompt, Routine, Verdict
from llmptx.search.best_first import best_first
from llmptx.search.best_of_n import best_of_n
from llmptx.search.draft import Draft, Limits, Move, Strategy
from llmptx.search.repair import repair

STRATEGIES: Mapping[str, Strategy] = {"repair": repair, "best-of-n": best_of_n, "best-first": best_first}

Complete = Callable[[Prompt, int], Completion]
Judge = Callable[[Candidate], Verdict]


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth telling whoever watches: the draft's number (from 1), the stage, one line of text.

    stage   asking, reply, judging, verdict, stop
    """

    round: int
    stage: str
    text: str


Tell = Callable[[Note], None]


class Search:
    """A search under way: `step` until `over`.

    writer             of the prompts; left out: the shipped one
    drafts, attempts   what was tried, in order: for the strategy, and for the record
    """

    def __init__(
        self,
        routine: Routine,
        dtype: str,
        strategy: Strategy,
        limits: Limits,
        writer: prompts.Writer | None = None,
    ) -> None:
        self.routine = routine
        self.dtype = dtype
        self.drafts: list[Draft] = []
        self.attempts: list[Attempt] = []
        self._strategy = strategy
        self._limits = limits
        self._writer = writer or prompts.shipped()
        self._verdicts: dict[str, Verdict] = {}

    @property
    def passed(self) -> bool:
        return bool(self.drafts) and self.drafts[-1].passed

    @property
    def reached(self) -> int:
        """How far the best draft came, as `Draft.reached` counts."""
        return max((draft.reached for draft in self.drafts), default=0)

    @property
    def over(self) -> bool:
        return self._move() is None

    def step(self, complete: Complete, judge: Judge, tell: Tell = lambda note: None) -> Attempt:
        """One draft: asked for, read and judged. A text that was judged before keeps its verdict.

        complete   (prompt, sample) -> completion
        """
        move = self._move()
        if move is None:
            raise ValueError("the search is over")
        number = len(self.drafts) + 1

        def once(candidate: Candidate) -> Verdict:
            return self._verdicts.get(candidate.hash) or judge(candidate)

        attempt = draft(
            self._prompt(move), move.sample, self.routine.name, self.dtype, complete, once, tell, number
        )
        candidate, verdict = attempt.candidate, attempt.verdict
        repeats = candidate is not None and candidate.hash in self._verdicts
        if candidate is not None and verdict is not None:
            self._verdicts[candidate.hash] = verdict
        self._file(move, attempt, repeats)
        if repeats:
            tell(Note(number, "stop", "the model repeated a candidate that was already rejected"))
        return attempt

    def _move(self) -> Move | None:
        return None if self.passed else self._strategy(self.drafts, self._limits)

    def _prompt(self, move: Move) -> Prompt:
        if move.parent is None:
            return self._writer.first(self.routine, self.dtype)
        parent = self.attempts[move.parent]
        if parent.candidate is None or parent.verdict is None:
            return self._writer.ask_again(parent.prompt, parent.completion, no_ptx(parent.completion))
        return self._writer.repair(parent.prompt, parent.completion, parent.candidate, parent.verdict)

    def _file(self, move: Move, attempt: Attempt, repeats: bool) -> None:
        verdict = attempt.verdict
        reached = 0 if verdict is None else 1 + sum(stage.passed for stage in verdict.stages)
        turn = 1 if move.parent is None else self.drafts[move.parent].turn + 1
        passed = verdict is not None and verdict.passed
        self.drafts.append(Draft(move.parent, move.sample, turn, reached, passed, repeats))
        self.attempts.append(attempt)


def draft(
    prompt: Prompt,
    sample: int,
    routine: str,
    dtype: str,
    complete: Complete,
    judge: Judge,
    tell: Tell,
    number: int,
) -> Attempt:
    """One draft, asked for, read and judged; `number` is what it is called in notes."""
    tell(Note(number, "asking", f"{sum(len(m.content) for m in prompt.messages):,} characters"))
    completion = complete(prompt, sample)
    try:
        text = ptx_of(completion.content)
    except ReplyError as error:
        tell(Note(number, "reply", f"no PTX: {error}"))
        return Attempt(prompt, completion, None, None)
    candidate = Candidate(routine, dtype, text, hash_of(text))
    tell(Note(number, "judging", f"{len(text.splitlines())} lines of PTX"))
    verdict = judge(candidate)
    tell(Note(number, "verdict", in_one_line(verdict)))
    return Attempt(prompt, completion, candidate, verdict)


def hash_of(text: str) -> str:
    """The candidate's hash; a text that is not PTX has no normal form, and is known by its own bytes."""
    try:
        return candidate_hash(text)
    except PtxError:
        return hashlib.sha256(text.encode()).hexdigest()


def no_ptx(completion: Completion) -> str:
    """Why a reply held no PTX, for the model and for people; "" where it holds some."""
    try:
        ptx_of(completion.content)
    except ReplyError as error:
        if completion.finish == "length":
            return f"{error}; it ended at the limit on a reply's length, so write less around the code"
        return str(error)
    return ""


def in_one_line(verdict: Verdict) -> str:
    """A verdict for a progress line or a table."""
    if verdict.passed:
        accuracy = f", max {verdict.accuracy.max_ulp:g} ULP" if verdict.accuracy else ""
        return f"passed {sum(stage.cases for stage in verdict.stages):,} cases{accuracy}"
    if not verdict.findings:
        return "rejected without a finding"
    finding = verdict.findings[0]
    place = f" (line {finding.line})" if finding.line else ""
    more = f", and {len(verdict.findings) - 1} more" if len(verdict.findings) > 1 else ""
    return f"{finding.kind}{place}: {finding.message}{more}"
