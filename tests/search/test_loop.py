"""The repair loop with a scripted model and a scripted judge."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llmptx.record import Accuracy, Attempt, Candidate, Completion, Finding, Prompt, Stage, Usage, Verdict
from llmptx.routines import find
from llmptx.search import Note, attempt
from llmptx.search.loop import hash_of, in_one_line

ADD = find("numpy.add")
HEAD = "//@ launch entry=k grid=1 block=1\n.version 8.0\n.target sm_80\n.address_size 64\n"


def module(number: int, comment: str = "") -> str:
    body = f".reg .u64 %rd<2>;\nmov.u64 %rd1, {number};\nret;\n"
    return f"{HEAD}.visible .entry k(.param .u64 n)\n{{\n{comment}{body}}}\n"


def fenced(text: str) -> str:
    return f"Here:\n```ptx\n{text}```\n"


def run(
    replies: Sequence[str], right: str = "", rounds: int = 5
) -> tuple[list[Attempt], list[Note], list[Prompt]]:
    """Attempts, notes and prompts of a model that says `replies`, where only `right` passes."""
    prompts: list[Prompt] = []

    def complete(prompt: Prompt) -> Completion:
        prompts.append(prompt)
        return Completion("m", "e", replies[len(prompts) - 1], "stop", Usage(), 0.0)

    steps = list(attempt(ADD, "float32", complete, lambda c: judge(c, right), rounds))
    attempts = [s for s in steps if isinstance(s, Attempt)]
    return attempts, [s for s in steps if isinstance(s, Note)], prompts


def judge(candidate: Candidate, right: str) -> Verdict:
    passed = candidate.text == right
    findings = () if passed else (Finding("mismatch", f"wrong: {candidate.text.count('mov')} mov"),)
    stages = (Stage("quick", passed, 5, 0.0),)
    return Verdict("numpy.add", "float32", "full", candidate.hash, "s", passed, findings, stages)


def test_a_candidate_that_passes_ends_it() -> None:
    attempts, notes, prompts = run([fenced(module(1))], right=module(1))
    assert len(attempts) == len(prompts) == 1
    assert attempts[0].verdict is not None
    assert attempts[0].verdict.passed
    assert [n.stage for n in notes] == ["asking", "judging", "verdict"]


def test_findings_go_back_and_the_repair_passes() -> None:
    attempts, _, prompts = run([fenced(module(1)), fenced(module(2))], right=module(2))
    assert [a.verdict.passed for a in attempts if a.verdict] == [False, True]
    assert prompts[1].template == "repair"
    assert "wrong: 1 mov" in prompts[1].messages[-1].content
    assert prompts[1].messages[-2].content == fenced(module(1))
    assert attempts[1].prompt == prompts[1]


def test_it_gives_up_after_the_rounds() -> None:
    attempts, _, prompts = run([fenced(module(i)) for i in range(9)], rounds=3)
    assert len(attempts) == len(prompts) == 3


def test_a_repeated_candidate_ends_it_whatever_its_registers_are_called() -> None:
    renamed = module(1, "// now it is right\n").replace("%rd", "%x")
    attempts, notes, _ = run([fenced(module(1)), fenced(renamed), fenced(module(2))], right=module(2))
    assert len(attempts) == 2
    assert attempts[0].verdict == attempts[1].verdict
    assert notes[-1].stage == "stop"


def test_a_reply_without_ptx_takes_a_round_and_is_asked_for_again() -> None:
    attempts, notes, prompts = run(["I'd rather not.", fenced(module(1))], right=module(1))
    assert (attempts[0].candidate, attempts[0].verdict) == (None, None)
    assert attempts[1].verdict is not None
    assert attempts[1].verdict.passed
    assert "no PTX" in notes[1].text
    assert "no fenced block" in prompts[1].messages[-1].content


def test_a_candidate_that_is_no_ptx_at_all_still_reaches_the_judge() -> None:
    broken = module(1).replace("ret;", "ret ret (")
    attempts, _, _ = run([fenced(broken)], rounds=1)
    assert attempts[0].candidate is not None
    assert attempts[0].candidate.hash == hash_of(broken)


def test_errors_of_the_model_end_it_with_what_there_is() -> None:
    def complete(prompt: Prompt) -> Completion:
        raise RuntimeError("budget spent")

    steps = attempt(ADD, "float32", complete, lambda c: judge(c, ""), 3)
    assert isinstance(next(steps), Note)
    with pytest.raises(RuntimeError, match="budget spent"):
        next(steps)


def test_a_verdict_in_one_line() -> None:
    stages = (Stage("quick", True, 5, 0.0), Stage("full", True, 7, 0.0))
    passed = Verdict("r", "d", "full", "c", "s", True, (), stages, accuracy=Accuracy(0.5, "x", 9))
    assert in_one_line(passed) == "passed 12 cases, max 0.5 ULP"
    findings = (Finding("parse", "no such thing", line=4), Finding("abi", "x"))
    failed = Verdict("r", "d", "full", "c", "s", False, findings, stages)
    assert in_one_line(failed) == "parse (line 4): no such thing, and 1 more"
