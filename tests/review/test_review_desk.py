"""Decisions bind to a text's hash, and only what they approve stands in the verified folder."""

from __future__ import annotations

import dataclasses
import json

import pytest

from llmptx.corpus import Corpus
from llmptx.review import Desk, ReviewError


def _desk(root, *records):
    desk = Desk(root)
    for record in records:
        desk.corpus.append(record)
    return desk


def _hash(record):
    return record.attempts[-1].candidate.hash


def test_approval_writes_the_kernel_and_its_certificate(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    path = desk.approve(desk.find(_hash(record)[:12]), "ada", "read every line")
    assert path == tmp_path / "verified/numpy/exp/float32.ptx"
    assert path.read_text() == record.attempts[0].candidate.text
    content = json.loads(path.with_suffix(".json").read_text())
    assert content["certificate"]["candidate"] == _hash(record)
    assert content["review"]["reviewer"] == "ada"
    (kernel,) = desk.kernels()
    assert (kernel.routine, kernel.dtype) == ("numpy.exp", "float32")


def test_the_package_may_have_dots(tmp_path, make_record):
    record = make_record(routine="scipy.special.erf")
    desk = _desk(tmp_path, record)
    path = desk.approve(desk.find(_hash(record)), "ada")
    assert path == tmp_path / "verified/scipy.special/erf/float32.ptx"
    assert [k.routine for k in desk.kernels()] == ["scipy.special.erf"]


def test_a_rejected_trajectory_is_not_in_the_queue(tmp_path, make_record):
    desk = _desk(tmp_path, make_record(outcomes=(False, False)))
    assert desk.queue() == ((), ())


def test_a_faulty_draft_of_a_repaired_trajectory_cannot_be_approved(tmp_path, make_record):
    record = make_record(outcomes=(False, True))
    desk = _desk(tmp_path, record)
    with pytest.raises(ReviewError, match="no candidate that passed"):
        desk.find(record.attempts[0].candidate.hash)
    assert desk.find(record.attempts[1].candidate.hash).records == (record,)


def test_a_text_that_is_not_what_was_judged_is_refused(tmp_path, make_record):
    attempt = make_record().attempts[0]
    forged = dataclasses.replace(attempt.candidate, text=attempt.candidate.text.replace("mov", "not", 1))
    record = dataclasses.replace(make_record(), attempts=(dataclasses.replace(attempt, candidate=forged),))
    desk = _desk(tmp_path, record)
    with pytest.raises(ReviewError, match="the text is"):
        desk.approve(desk.find(_hash(record)), "ada")
    assert not desk.path.exists()
    assert not desk.verified.exists()


@pytest.mark.parametrize("change", [{"spec": "0" * 64}, {"judge": "0"}, {"engine": "0"}])
def test_a_verdict_of_another_spec_or_judge_is_refused(tmp_path, make_record, change):
    attempt = make_record().attempts[0]
    verdict = dataclasses.replace(attempt.verdict, **change)
    record = dataclasses.replace(make_record(), attempts=(dataclasses.replace(attempt, verdict=verdict),))
    desk = _desk(tmp_path, record)
    with pytest.raises(ReviewError, match="verify again"):
        desk.approve(desk.find(_hash(record)), "ada")


def test_a_quick_verdict_is_refused(tmp_path, make_record):
    attempt = make_record().attempts[0]
    quick = dataclasses.replace(attempt.verdict, level="quick")
    record = dataclasses.replace(make_record(), attempts=(dataclasses.replace(attempt, verdict=quick),))
    desk = _desk(tmp_path, record)
    with pytest.raises(ReviewError, match="level quick"):
        desk.approve(desk.find(_hash(record)), "ada")


def test_a_later_rejection_removes_the_kernel(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    path = desk.approve(desk.find(_hash(record)), "ada")
    assert desk.reject(desk.find(_hash(record)), "bob", "wrong at -0") == path
    assert list(desk.kernels()) == []
    assert desk.find(_hash(record)).state == "rejected"
    assert [r.decision for r in desk.reviews()[0]] == ["approve", "reject"]


def test_a_newer_approval_replaces_the_kernel_and_rejecting_the_older_keeps_it(tmp_path, make_record):
    old, new = make_record(number=1), make_record(number=2)
    desk = _desk(tmp_path, old, new)
    desk.approve(desk.find(_hash(old)), "ada")
    path = desk.approve(desk.find(_hash(new)), "ada")
    assert desk.reject(desk.find(_hash(old)), "ada", "slower") is None
    assert path.read_text() == new.attempts[0].candidate.text


def test_a_rejection_needs_a_reason(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    with pytest.raises(ReviewError, match="reason"):
        desk.reject(desk.find(_hash(record)), "ada", " ")


def test_an_ambiguous_hash_names_every_match(tmp_path, make_record):
    text = make_record().attempts[0].candidate.text
    same = [make_record(routine=r, text=text) for r in ("numpy.exp", "numpy.exp2")]
    desk = _desk(tmp_path, *same)
    prefix = _hash(same[0])[:8]
    with pytest.raises(ReviewError, match=r"numpy\.exp float32\n.*numpy\.exp2 float32"):
        desk.find(prefix)
    assert desk.find(prefix, routine="numpy.exp2").candidate.routine == "numpy.exp2"


@pytest.mark.parametrize("prefix", ["", "abc", "ffffffff"])
def test_no_match_or_too_short_a_hash_is_an_error(tmp_path, make_record, prefix):
    with pytest.raises(ReviewError):
        _desk(tmp_path, make_record()).find(prefix)


def test_a_verified_file_that_was_changed_is_refused(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    path = desk.approve(desk.find(_hash(record)), "ada")
    path.write_text(path.read_text().replace("%rd1, 0", "%rd1, 1"))
    with pytest.raises(ReviewError, match="the text is"):
        list(desk.kernels())


def test_a_verified_file_without_a_decision_is_refused(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    desk.approve(desk.find(_hash(record)), "ada")
    desk.path.unlink()
    with pytest.raises(ReviewError, match="no decision approves it"):
        list(desk.kernels())


def test_a_cut_decision_is_reported_and_the_rest_counts(tmp_path, make_record):
    record = make_record()
    desk = _desk(tmp_path, record)
    desk.approve(desk.find(_hash(record)), "ada")
    with desk.path.open("a") as file:
        file.write('{"schema": "llmptx/rev')
    desk.reject(desk.find(_hash(record)), "ada", "no")
    reviews, problems = desk.reviews()
    assert [r.decision for r in reviews] == ["approve", "reject"]
    assert [p.line for p in problems] == [2]
    assert "reviews.jsonl:2" in desk.queue()[1][0]


def test_equal_candidates_of_several_records_are_one_entry(tmp_path, make_record):
    desk = _desk(tmp_path, make_record(max_ulp=1.0), make_record(max_ulp=0.5))
    (entry,), _ = desk.queue()
    assert len(entry.records) == 2
    assert Corpus(desk.corpus.path).read()[1] == ()
