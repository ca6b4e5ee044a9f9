"""The search loop with a scripted model and a scripted judge."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llmptx.record import Accuracy, Attempt, Candidate, Completion, Finding, Prompt, Stage, Usage, Verdict
from llmptx.routines import find
from llmptx.search import STRATEGIES, Limits, Note, Search
from llmptx.search.loop import hash_of, in_one_line

ADD = find("numpy.add")
HEAD = "//@ launch entry=k grid=1 block=1\n.version 8.0\n.target sm_80\n.address_size 64\n"


def module(number: int, comment: str = "") -> str:
    body = f".reg .u64 %rd<2>;\nmov.u64 %rd1, {number};\nret;\n"
    return f"{HEAD}.visible .entry k(.param .u64 n)\n{{\n{comment}{body}}}\n"


def fenced(text: str) -> str:
    return f"Here:\n```ptx\n{text}```\n"


def search(strategy: str = "repair", drafts: int = 5, samples: int = 1) -> Search:
    return Search(ADD, "float32", STRATEGIES[strategy], Limits(drafts, drafts, samples))


def run(
    replies: Sequence[str], right: str = "", rounds: int = 5, strategy: str = "repair", samples: int = 1
) -> tuple[list[Attempt], list[Note], list[Prompt]]:
    """Attempts, notes and prompts of a model that says `replies`, where only `right` passes."""
    prompts: list[Prompt] = []

    def complete(prompt: Prompt, sample: int) -> Completion:
        prompts.append(prompt)
        return Completion("m", "e", replies[len(prompts) - 1], "stop", Usage(), 0.0)

    notes: list[Note] = []
    under_way = search(strategy, rounds, samples)
    while not under_way.over:
        under_way.step(complete, lambda c: judge(c, right), notes.append)
    return under_way.attempts, notes, prompts


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


def test_an_error_of_model_or_judge_leaves_the_search_where_it_was() -> None:
    def complete(prompt: Prompt, sample: int) -> Completion:
        return Completion("m", "e", fenced(module(1)), "stop", Usage(), 0.0)

    def broken(*_: object) -> Completion:
        raise RuntimeError("budget spent")

    under_way = search()
    for model, judged in ((broken, lambda c: judge(c, "")), (complete, broken)):
        with pytest.raises(RuntimeError, match="budget spent"):
            under_way.step(model, judged)  # type: ignore[arg-type]
        assert (under_way.drafts, under_way.attempts, under_way.over) == ([], [], False)
    under_way.step(complete, lambda c: judge(c, module(1)))
    assert (under_way.passed, under_way.over) == (True, True)
    with pytest.raises(ValueError, match="is over"):
        under_way.step(complete, lambda c: judge(c, ""))


def test_a_text_drawn_twice_is_judged_once() -> None:
    judged: list[Candidate] = []

    def count(candidate: Candidate) -> Verdict:
        judged.append(candidate)
        return judge(candidate, "")

    under_way = search("best-of-n", drafts=3, samples=3)
    while not under_way.over:
        under_way.step(
            lambda prompt, sample: Completion("m", "e", fenced(module(7)), "stop", Usage(), 0.0), count
        )
    assert (len(under_way.attempts), len(judged)) == (3, 1)
    assert [draft.repeats for draft in under_way.drafts] == [False, True, True]


def test_a_draw_answers_the_task_and_a_repair_its_own_parent() -> None:
    """The second draw reaches as far as the first did; the earlier one is mended, on its own conversation."""
    replies = [fenced(module(i)) for i in range(4)]
    attempts, _, prompts = run(replies, right=module(3), rounds=8, strategy="best-first", samples=8)
    assert [p.template for p in prompts] == ["task", "repair", "task", "repair"]
    assert prompts[1].messages[2].content == replies[0]
    assert prompts[3].messages[2].content == replies[2]
    assert attempts[-1].verdict is not None
    assert attempts[-1].verdict.passed


def test_a_verdict_in_one_line() -> None:
    stages = (Stage("quick", True, 5, 0.0), Stage("full", True, 7, 0.0))
    passed = Verdict("r", "d", "full", "c", "s", True, (), stages, accuracy=Accuracy(0.5, "x", 9))
    assert in_one_line(passed) == "passed 12 cases, max 0.5 ULP"
    findings = (Finding("parse", "no such thing", line=4), Finding("abi", "x"))
    failed = Verdict("r", "d", "full", "c", "s", False, findings, stages)
    assert in_one_line(failed) == "parse (line 4): no such thing, and 1 more"
