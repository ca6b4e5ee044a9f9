"""From a verified kernel to better ones, with a scripted model and weights told by the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from llmptx.record import Attempt, Candidate, Completion, Prompt, Usage, Verdict
from llmptx.search import Improving, Note
from llmptx.search.loop import hash_of
from tests.search.test_loop import ADD, fenced, judge, module, search


@dataclass(frozen=True)
class Pair:
    """Thousands and units of the number in the text: two things to save."""

    registers: int
    instructions: int

    def better_than(self, other: Pair) -> bool:
        mine, theirs = (self.registers, self.instructions), (other.registers, other.instructions)
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


def weigh(text: str) -> Pair:
    return Pair(*divmod(int(text.split("%rd1, ")[1].split(";")[0]), 1000))


def improved(
    replies: Sequence[str], start: int = 30030, wrong: Sequence[int] = ()
) -> tuple[Improving, list[Prompt], list[Note]]:
    def complete(prompt: Prompt, sample: int) -> Completion:
        prompts.append(prompt)
        return Completion(
            "m",
            "e",
            replies[len(prompts) - 2] if prompts[1:] else fenced(module(start)),
            "stop",
            Usage(),
            0.0,
        )

    def judged(candidate: Candidate) -> Verdict:
        number = int(candidate.text.split("%rd1, ")[1].split(";")[0])
        return judge(candidate, "" if number in wrong else candidate.text)

    prompts: list[Prompt] = []
    notes: list[Note] = []
    under_way = search()
    under_way.step(complete, judged)
    work = Improving(ADD, "float32", under_way.attempts[0], weigh, len(replies))
    while not work.over:
        work.step(complete, judged, notes.append)
    return work, prompts[1:], notes


def weights(work: Improving) -> set[tuple[int, int]]:
    return {(kept.weight.registers, kept.weight.instructions) for kept in work.front}  # type: ignore[attr-defined]


def test_what_is_better_takes_the_place_of_what_it_is_better_than() -> None:
    work, prompts, notes = improved([fenced(module(20030)), fenced(module(20010))])
    assert weights(work) == {(20, 10)}
    assert [p.template for p in prompts] == ["improve", "improve"]
    assert "mov.u64 %rd1, 20030;" in prompts[1].messages[2].content
    assert "Pair(registers=20, instructions=30)" in prompts[1].messages[3].content
    assert notes[-1].text.startswith("better: ")


def test_kernels_of_which_none_is_better_are_all_kept_and_improved_in_turn() -> None:
    work, prompts, _ = improved([fenced(module(20040)), fenced(module(31031)), fenced(module(10050))])
    assert weights(work) == {(30, 30), (20, 40), (10, 50)}
    shown = [p.messages[2].content.split("%rd1, ")[1].split(";")[0] for p in prompts]
    assert shown == ["30030", "20040", "30030"]


def test_a_worse_a_wrong_and_a_known_kernel_are_not_kept() -> None:
    work, _, _ = improved([fenced(module(n)) for n in (40040, 5005, 5005, 30030)], wrong=[5005])
    assert weights(work) == {(30, 30)}
    assert [kept.turns for kept in work.front] == [()]


def test_a_rejected_draft_is_repaired_once_and_its_record_is_the_conversation() -> None:
    work, prompts, _ = improved([fenced(module(10010)), fenced(module(10011))], wrong=[10010])
    assert [p.template for p in prompts] == ["improve", "repair"]
    (kept,) = work.front
    assert [a.verdict.passed for a in kept.turns if a.verdict] == [False, True]
    again, asked, _ = improved([fenced(module(i)) for i in (10010, 10011, 9009)], wrong=[10010, 10011])
    assert [p.template for p in asked] == ["improve", "repair", "improve"]
    assert weights(again) == {(9, 9)}


def test_a_reply_without_ptx_is_asked_for_again() -> None:
    _, prompts, _ = improved(["It cannot be done.", fenced(module(1001))])
    assert "no fenced block" in prompts[1].messages[-1].content


def test_there_must_be_a_kernel_to_begin_with() -> None:
    nothing = Attempt(
        Prompt("r", "d", (), "task", ""), Completion("m", "e", "", "stop", Usage(), 0.0), None, None
    )
    with pytest.raises(ValueError, match="no kernel to improve"):
        Improving(ADD, "float32", nothing, weigh, 1)
    assert hash_of(module(1)) != hash_of(module(2))
