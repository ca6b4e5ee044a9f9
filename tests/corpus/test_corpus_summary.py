"""Counts, doubles, contradictions and training examples."""

from __future__ import annotations

import dataclasses

from llmptx.corpus import Corpus, check, distinct, examples, stats


def _filed(path, *records):
    corpus = Corpus(path)
    for record in records:
        corpus.append(record)
    return corpus


def test_stats_count_records_turns_and_unreadable_lines(tmp_path, make_record):
    corpus = _filed(
        tmp_path / "r.jsonl",
        make_record(number=1),
        make_record(number=2, outcomes=(False, True)),
        make_record(routine="numpy.sum", dtype="int64", number=3, outcomes=(False, False)),
    )
    with corpus.path.open("a") as file:
        file.write("{broken\n")
    found = stats(corpus)
    assert (found.records, found.turns, found.candidates, found.unreadable) == (3, 5, 5, 1)
    assert found.outcomes == {"passed": 1, "repaired": 1, "rejected": 1}
    assert found.routines == {"numpy.exp": 2, "numpy.sum": 1}
    assert (found.input_tokens, found.output_tokens) == (500, 1000)


def test_records_whose_passing_kernel_differs_only_in_register_names_are_doubles(make_record):
    first = make_record(number=1)
    text = first.attempts[0].candidate.text
    renamed = make_record(text=text.replace("%rd", "%other"), max_ulp=0.5)
    assert renamed.hash != first.hash
    assert list(distinct([first, renamed, make_record(number=2)])) == [first, make_record(number=2)]


def test_a_sound_corpus_has_no_problem(tmp_path, make_record):
    corpus = _filed(tmp_path / "r.jsonl", make_record(), make_record(number=2, outcomes=(False, True)))
    assert list(check(corpus)) == []


def test_check_names_doubles_and_contradictions_with_their_line(tmp_path, make_record):
    sound = make_record()
    wrong_flag = dataclasses.replace(make_record(number=1, outcomes=(False,)), passed=True)
    attempt = make_record(number=2).attempts[0]
    forged = dataclasses.replace(attempt.candidate, text=attempt.candidate.text.replace("2000", "7"))
    wrong_hash = dataclasses.replace(
        make_record(number=2), attempts=(dataclasses.replace(attempt, candidate=forged),)
    )
    path = tmp_path / "r.jsonl"
    path.write_text("".join(r.to_json() + "\n" for r in (sound, sound, wrong_flag, wrong_hash)))
    problems = list(check(Corpus(path)))
    assert [p.line for p in problems] == [2, 3, 4]
    assert "line 1" in problems[0].message
    assert "no verdict" in problems[1].message
    assert "not that of its text" in problems[2].message


def test_chat_examples_answer_the_first_prompt_with_the_reply_that_passed(make_record):
    record = make_record(outcomes=(False, True))
    (example,) = examples([record, make_record(outcomes=(False,))], "chat")
    assert [m["content"] for m in example["prompt"]] == ["write PTX", "turn 0"]
    assert example["completion"] == [{"role": "assistant", "content": record.attempts[1].completion.content}]


def test_repair_examples_are_of_repaired_records_only(make_record):
    found = list(examples([make_record(), make_record(outcomes=(False, True), number=1)], "repair"))
    assert [[m["content"] for m in e["prompt"]] for e in found] == [["write PTX", "turn 0", "turn 1"]]


def test_records_under_other_terms_are_left_out_unless_asked_for(make_record):
    records = [make_record(number=n, terms=t) for n, t in enumerate(("open", "restricted", "unknown"))]
    assert [e["terms_class"] for e in examples(records, "chat")] == ["open"]
    asked = examples(records, "chat", terms=("open", "unknown"))
    assert [e["terms_class"] for e in asked] == ["open", "unknown"]
