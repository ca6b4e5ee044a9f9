"""The repair strategy: ask, judge, show the findings, ask again.

One loop. It knows no endpoint, budget, database or judge: `complete` and `judge` are handed in, and whatever
they raise ends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmptx.llm import prompt as prompts
from llmptx.llm.extract import ReplyError, ptx_of
from llmptx.ptx.errors import PtxError
from llmptx.ptx.normalize import candidate_hash
from llmptx.record import Attempt, Candidate, Completion, Prompt, Routine, Verdict

Complete = Callable[[Prompt], Completion]
Judge = Callable[[Candidate], Verdict]


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth telling whoever watches: the round (from 1), the stage, one line of text.

    stage   asking, reply, judging, verdict, stop
    """

    round: int
    stage: str
    text: str


def attempt(
    routine: Routine, dtype: str, complete: Complete, judge: Judge, rounds: int
) -> Iterator[Attempt | Note]:
    """One independent sample: up to `rounds` attempts, each yielded once judged, with notes between.

    It ends with the first candidate that passes, after `rounds`, or with a candidate that was judged before:
    a model that repeats itself has nothing left to say. Errors of `complete` and `judge` pass through.
    """
    prompt = prompts.first(routine, dtype)
    verdicts: dict[str, Verdict] = {}
    for round in range(1, rounds + 1):
        yield Note(round, "asking", f"{sum(len(m.content) for m in prompt.messages):,} characters")
        completion = complete(prompt)
        try:
            text = ptx_of(completion.content)
        except ReplyError as error:
            yield Attempt(prompt, completion, None, None)
            yield Note(round, "reply", f"no PTX: {error}")
            prompt = prompts.ask_again(prompt, completion, no_ptx(completion, error))
            continue
        candidate = Candidate(routine.name, dtype, text, hash_of(text))
        repeated = verdicts.get(candidate.hash)
        yield Note(round, "judging", f"{len(text.splitlines())} lines of PTX")
        verdict = verdicts[candidate.hash] = repeated or judge(candidate)
        yield Attempt(prompt, completion, candidate, verdict)
        yield Note(round, "verdict", in_one_line(verdict))
        if verdict.passed:
            return
        if repeated:
            yield Note(round, "stop", "the model repeated a candidate that was already rejected")
            return
        prompt = prompts.repair(prompt, completion, candidate, verdict)


def hash_of(text: str) -> str:
    """The candidate's hash; a text that is not PTX has no normal form, and is known by its own bytes."""
    try:
        return candidate_hash(text)
    except PtxError:
        return hashlib.sha256(text.encode()).hexdigest()


def no_ptx(completion: Completion, error: ReplyError) -> str:
    """Why a reply held no PTX, for the model and for people."""
    if completion.finish == "length":
        return f"{error}; it ended at the limit on a reply's length, so write less around the code"
    return str(error)


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
