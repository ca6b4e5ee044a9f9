"""Undo, two people, what is sent back, comments: the log says it all, and verified/ follows it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmptx.record import Review
from llmptx.review import Desk, Policy, PolicyError, ReviewError
from llmptx.review.decisions import standing
from llmptx.review.index import Index


def _desk(root, *records):
    desk = Desk(root)
    for record in records:
        desk.corpus.append(record)
    return desk


def _entry(desk, record):
    return desk.find(record.attempts[-1].candidate.hash)


def _log(*decisions):
    return [
        Review("c", "numpy.exp", "float32", d, who, "r", f"2026-01-01T00:00:{at:02}Z")
        for at, (who, d) in enumerate(decisions)
    ]


def test_an_undo_brings_back_what_stood_before_it():
    log = _log(("ada", "reject"), ("ada", "approve"), ("ada", "undo"))
    assert standing(log).state == "rejected"
    assert standing([*log, *_log(("ada", "undo"))]).state == "waiting"
    assert standing(log).count == 3


@given(st.lists(st.sampled_from(["approve", "reject", "return", "recall", "undo"]), max_size=12))
def test_standing_is_that_of_the_log_without_what_was_undone(decisions):
    kept: list[str] = []
    for decision in decisions:
        if decision != "undo":
            kept.append(decision)
        elif kept:
            kept.pop()
    log, short = _log(*(("ada", d) for d in decisions)), _log(*(("ada", d) for d in kept))
    assert standing(log).state == standing(short).state


def test_two_people_are_two_and_a_rejection_between_them_starts_again():
    policy = Policy(("numpy.*",))
    assert standing(_log(("ada", "approve"), ("ada", "approve")), policy).state == "waiting"
    assert standing(_log(("ada", "approve"), ("bob", "approve")), policy).state == "approved"
    again = _log(("ada", "approve"), ("bob", "reject"), ("bob", "approve"))
    assert (standing(again, policy).state, standing(again, policy).approvers) == ("waiting", ("bob",))


def test_under_the_two_person_rule_the_first_approval_writes_nothing(tmp_path, make_record):
    (tmp_path / "review.toml").write_text('two-people = ["numpy.*"]\n')
    record = make_record()
    desk = _desk(tmp_path, record)
    assert desk.approve(_entry(desk, record), "ada", "read it") is None
    assert list(desk.kernels()) == []
    with pytest.raises(ReviewError, match="ada has approved it"):
        desk.approve(_entry(desk, record), "ada")
    with pytest.raises(ReviewError, match="offline wrote it"):
        desk.approve(_entry(desk, record), "offline")
    path = desk.approve(_entry(desk, record), "bob")
    assert path.exists()
    assert json.loads(path.with_suffix(".json").read_text())["approvers"] == ["ada", "bob"]
    assert [kernel.routine for kernel in desk.kernels()] == ["numpy.exp"]
    desk.undo(_entry(desk, record), "bob")
    assert not path.exists()


@pytest.mark.parametrize("text", ["two-people = 3", "two = []", "two-people = [", 'two-people = ["a", 1]'])
def test_a_policy_that_cannot_be_followed_is_refused(tmp_path, text):
    (tmp_path / "review.toml").write_text(text)
    with pytest.raises(PolicyError, match=r"review\.toml"):
        Desk(tmp_path).queue()


def test_an_undone_approval_gives_the_place_back_to_the_one_before(tmp_path, make_record):
    first, second = make_record(number=1), make_record(number=2)
    desk = _desk(tmp_path, first, second)
    path = desk.approve(_entry(desk, first), "ada")
    desk.approve(_entry(desk, second), "ada")
    assert path.read_text() == second.attempts[0].candidate.text
    assert desk.undo(_entry(desk, second), "ada").decision == "approve"
    assert path.read_text() == first.attempts[0].candidate.text
    assert len(list(desk.kernels())) == 1
    desk.undo(_entry(desk, first), "ada")
    assert not path.exists()


def test_an_undone_rejection_brings_the_kernel_back(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    path = desk.approve(_entry(desk, record), "ada")
    assert desk.reject(_entry(desk, record), "ada", "hasty") == path
    assert not path.exists()
    desk.undo(_entry(desk, record), "ada")
    assert path.exists()


def test_nobody_undoes_what_another_decided(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    with pytest.raises(ReviewError, match="nothing was decided"):
        desk.undo(_entry(desk, record), "ada")
    desk.reject(_entry(desk, record), "ada", "no")
    with pytest.raises(ReviewError, match="is ada's"):
        desk.undo(_entry(desk, record), "bob")


def test_what_is_sent_back_says_what_to_change(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    with pytest.raises(ReviewError, match="a word on what to change"):
        desk.send_back(_entry(desk, record), "ada", " ")
    desk.send_back(_entry(desk, record), "ada", "unroll by four")
    assert _entry(desk, record).state == "returned"


def test_comments_stand_at_their_lines_and_in_the_audit(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    entry = _entry(desk, record)
    desk.comment(entry, 3, "why?", "ada")
    desk.approve(entry, "bob")
    for line, text in ((99, "x"), (1, " ")):
        with pytest.raises(ReviewError):
            desk.comment(entry, line, text, "ada")
    assert [(c.line, c.text) for c in desk.comments(entry.key)] == [(3, "why?")]
    schemas = {json.loads(line)["schema"] for line in desk.audit()}
    assert schemas == {"llmptx/comment/1", "llmptx/review/1"}


# -- the index says what the queue says


def test_the_index_has_the_queues_order_and_states(tmp_path, make_record):
    records = [make_record(number=n, outcomes=(False,) * (n % 3) + (True,)) for n in range(6)]
    records += [
        make_record(routine="numpy.add", number=9),
        make_record(routine="numpy.sum", outcomes=(False,)),
    ]
    desk = _desk(tmp_path, *records)
    index = Index(desk)

    def same():
        entries, _ = desk.queue()
        rows = index.rows()
        assert [(row.key, row.risk, row.state) for row in rows] == [(e.key, e.risk, e.state) for e in entries]
        for entry in entries:
            assert index.entry(entry.key) == entry

    same()
    desk.approve(_entry(desk, records[1]), "ada")
    desk.reject(_entry(desk, records[2]), "ada", "no")
    same()
    desk.corpus.append(make_record(number=1, created="2026-02-02T00:00:00Z", max_ulp=0.5))
    desk.corpus.append(make_record(routine="numpy.sin"))
    desk.undo(_entry(desk, records[2]), "ada")
    same()
    (tmp_path / "review.toml").write_text('two-people = ["*"]\n')
    same()


def test_the_index_starts_anew_where_the_files_were_replaced(tmp_path, make_record):
    desk = _desk(tmp_path, make_record(number=1), make_record(number=2))
    index = Index(desk)
    assert len(index.rows()) == 2
    desk.corpus.path.write_text(make_record(number=3).to_json() + "\n{broken\n")
    assert [row.key[2] for row in index.rows()] == [make_record(number=3).attempts[0].candidate.hash]
    assert "records.jsonl:2" in index.problems[0]
    with pytest.raises(ReviewError, match="no candidate"):
        index.entry(("numpy.exp", "float32", "0" * 64))
