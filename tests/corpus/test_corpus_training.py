"""Every format is what its consumer's own code takes, and nothing that is held out or restricted slips in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter, ValidationError

import llmptx
from llmptx.corpus import Corpus, check, distinct, examples
from llmptx.corpus.near import shingles, unlike
from llmptx.corpus.parquet import write
from llmptx.corpus.reward import JudgeReward
from llmptx.record import JUDGE_VERSION
from llmptx.routines import catalog

LIBRARY = Path(llmptx.__file__).parent / "llm" / "offline"
# The keys and turns that trl's data_utils tells the kinds of datasets by.
TRL = {
    "chat": {"prompt", "completion"},
    "repair": {"prompt", "completion"},
    "preference": {"prompt", "chosen", "rejected"},
    "unpaired": {"prompt", "completion", "label"},
    "tasks": {"prompt", "routine", "dtype"},
}


def _with(record, index, **changes):
    attempt = record.attempts[index]
    completion = dataclasses.replace(attempt.completion, **changes)
    attempts = list(record.attempts)
    attempts[index] = dataclasses.replace(attempt, completion=completion)
    return dataclasses.replace(record, attempts=tuple(attempts))


@pytest.mark.parametrize("form", list(TRL))
def test_conversational_formats_have_trls_keys_and_turns(make_record, form):
    records = [make_record(outcomes=(False, True), number=1), make_record(outcomes=(False, False), number=2)]
    repaired = dataclasses.replace(
        records[0].attempts[1], prompt=dataclasses.replace(records[0].attempts[1].prompt, template="repair")
    )
    records[0] = dataclasses.replace(records[0], attempts=(records[0].attempts[0], repaired))
    rows = list(examples(records, form))
    assert rows
    for row in rows:
        assert row.keys() >= TRL[form]
        for name in ("prompt", "completion", "chosen", "rejected"):
            for turn in row.get(name, ()):
                assert set(turn) == {"role", "content"}
                assert turn["role"] in ("system", "user", "assistant")
        assert row["prompt"][-1]["role"] == "user"


def test_a_preference_is_between_replies_to_one_task(make_record):
    records = [make_record(outcomes=(False, True), number=1), make_record(outcomes=(False, False), number=2)]
    other = make_record(routine="numpy.add", outcomes=(False,), number=3)
    rows = list(examples([*records, other], "preference"))
    assert len(rows) == 3  # the wrong candidates of one task; that of the other has no right one beside it
    right = records[0].attempts[1].completion.content
    assert {row["chosen"][0]["content"] for row in rows} == {right}
    assert all(row["rejected"][0]["content"] != right for row in rows)
    assert {row["rejected_for"] for row in rows} == {"mismatch"}


def test_openai_rows_are_valid_messages_and_hold_nothing_else(make_record):
    turns = TypeAdapter(list[ChatCompletionMessageParam])
    (row,) = examples([make_record(outcomes=(False, True))], "openai")
    assert set(row) == {"messages"}
    turns.validate_python(row["messages"])
    assert row["messages"][-1]["role"] == "assistant"
    with pytest.raises(ValidationError):
        turns.validate_python([{"role": "judge", "content": "?"}])
    (pair,) = examples([make_record(outcomes=(False, True))], "openai-preference")
    assert set(pair) == {"input", "preferred_output", "non_preferred_output"}
    for part in (pair["input"]["messages"], pair["preferred_output"], pair["non_preferred_output"]):
        turns.validate_python(part)


def test_reasoning_is_put_in_only_where_it_is_whole_and_asked_for(make_record):
    full = _with(make_record(), 0, reasoning="First the tail.", reasoning_kind="full")
    summary = _with(make_record(number=1), 0, reasoning="thought a while", reasoning_kind="summary")
    plain = [row["completion"][0]["content"] for row in examples([full, summary], "chat")]
    asked = [row["completion"][0]["content"] for row in examples([full, summary], "chat", reasoning=True)]
    assert asked[0] == f"<think>\nFirst the tail.\n</think>\n\n{plain[0]}"
    assert asked[1] == plain[1]


def test_what_is_held_out_is_in_test_and_nowhere_else(make_record):
    records = [make_record(), make_record(routine="numpy.sin", number=1)]
    assert [row["routine"] for row in examples(records, "chat", part="train")] == ["numpy.exp"]
    assert [row["routine"] for row in examples(records, "chat", part="test")] == ["numpy.sin"]
    tasks = {
        part: {row["routine"] for row in examples((), "tasks", part=part)}
        for part in ("train", "test", "all")
    }
    assert tasks["train"] | tasks["test"] == tasks["all"] == set(catalog())
    assert not tasks["train"] & tasks["test"]


# -- doubles that are nearly so


def _kernel(routine: str, dtype: str, draft: int) -> str:
    package, _, name = routine.rpartition(".")
    return (LIBRARY / package / name / f"{dtype}.{draft}.ptx").read_text()


def test_a_kernel_with_one_more_instruction_is_nearly_the_same(make_record):
    text = _kernel("numpy.exp", "float32", 2)
    longer = text.replace("    ret;", "    add.u64 %rd1, %rd1, 0;\n    ret;", 1)
    other = _kernel("numpy.exp", "float64", 2)
    records = [make_record(text=t, max_ulp=u) for t, u in ((text, 1.0), (longer, 2.0), (other, 3.0))]
    assert len(list(distinct(records))) == 3
    assert list(unlike(records, 0.8)) == [records[0], records[2]]


def test_names_of_registers_do_not_matter_to_shingles():
    text = _kernel("numpy.exp", "float32", 2)
    assert shingles(text) == shingles(text.replace("%f", "%value"))
    assert "mov.u32 mov.u32 mov.u32" not in shingles(text) or len(shingles(text)) > 10


# -- Parquet


def test_parquet_reads_back_by_split_with_a_card(tmp_path, make_record):
    records = [make_record(outcomes=(False, True)), make_record(routine="numpy.sin", number=1)]
    records.append(make_record(routine="numpy.add", number=2, terms="restricted"))
    assert write(tmp_path, records, "kernels") == {"train": 1, "test": 1}
    (row,) = pq.read_table(tmp_path / "data/train.parquet").to_pylist()
    assert (row["routine"], row["family"], row["outcome"]) == ("numpy.exp", "exponential", "repaired")
    assert row["ptx"] == records[0].attempts[1].candidate.text
    assert [a["passed"] for a in row["attempts"]] == [False, True]
    assert row["attempts"][0]["findings"][0]["line"] == 9
    assert dict(row["registers"]) == {"sm_80": 18}
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "path: data/test.parquet" in card
    assert "trigonometric" in card


# -- what check finds


def test_a_verdict_of_another_judge_is_stale_until_it_is_rechecked(tmp_path, make_record):
    record = make_record()
    attempt = record.attempts[0]
    old = dataclasses.replace(attempt.verdict, judge="0")
    record = dataclasses.replace(record, attempts=(dataclasses.replace(attempt, verdict=old),))
    corpus = Corpus(tmp_path / "r.jsonl")
    corpus.append(record)
    (problem,) = check(corpus)
    assert f"judged by judge 0, today's is {JUDGE_VERSION}; run llmptx recheck" in problem.message
    assert list(check(corpus, [attempt.verdict])) == []
    assert len(list(check(corpus, [old]))) == 1


def test_a_task_that_shows_a_held_out_kernel_leaks(tmp_path, make_record):
    held = make_record(routine="numpy.sin")
    shown = held.attempts[0].candidate.text.replace("%rd", "%x")
    record = make_record(number=1)
    prompt = record.attempts[0].prompt
    told = dataclasses.replace(prompt.messages[-1], content=f"As in\n```ptx\n{shown}```\n")
    prompt = dataclasses.replace(prompt, messages=(*prompt.messages[:-1], told))
    record = dataclasses.replace(record, attempts=(dataclasses.replace(record.attempts[0], prompt=prompt),))
    corpus = Corpus(tmp_path / "r.jsonl")
    corpus.append(held)
    assert list(check(corpus)) == []
    corpus.append(record)
    (problem,) = check(corpus)
    assert (problem.line, "its task shows a kernel of the other split" in problem.message) == (2, True)


# -- the reward


def test_the_reward_is_the_judges(make_record):
    right, wrong = (_kernel("numpy.add", "float32", draft) for draft in (2, 1))
    broken = right.replace("add.", "ad.")
    replies = [f"```ptx\n{text}```" for text in (right, wrong, broken)]
    completions = [*([{"role": "assistant", "content": reply}] for reply in replies), "I cannot."]
    with JudgeReward(workers=1) as reward:
        given = reward([""] * 4, completions, routine=["numpy.add"] * 4, dtype=["float32"] * 4, extra=[1] * 4)
    assert given[0] == 1.0
    assert 0.1 < given[1] <= 0.3
    assert 0 < given[2] < given[1]
    assert given[3] == 0.0
