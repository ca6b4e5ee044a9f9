"""What no longer passes is recalled, with its reason, before it can be exported again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llmptx.record import Finding, Stage, Verdict
from llmptx.review import Desk, ReviewError
from llmptx.review.recheck import Rechecked, recheck
from llmptx.routines import find
from llmptx.verify.certificate import check


class Judge:
    """Passes all but what it is told to fail, and remembers what it was asked."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.asked: list[tuple[str, str, str, str]] = []

    def __call__(self, text: str, routine: str, dtype: str, level: str, device: str) -> Verdict:
        self.asked.append((routine, dtype, level, device))
        from llmptx.ptx.normalize import candidate_hash

        findings = (Finding("mismatch", "off by one"),) if routine in self.failing else ()
        return Verdict(
            routine,
            dtype,
            level,  # type: ignore[arg-type]
            candidate_hash(text),
            find(routine).spec_hash(dtype),
            not findings,
            findings,
            (Stage("full", not findings, 5, 0.1),),
            seed=11,
        )


def _desk(root: Path, *records, approve: bool = True) -> Desk:  # type: ignore[no-untyped-def]
    desk = Desk(root)
    for record in records:
        desk.corpus.append(record)
        if approve:
            desk.approve(desk.find(record.attempts[-1].candidate.hash, record.routine), "ada")
    return desk


def _age(desk: Desk, path: str, **changes: str) -> None:
    """As an earlier judge left it: the certificate, and whole."""
    file = desk.verified / path
    content = json.loads(file.read_text())
    text = file.with_suffix(".ptx").read_text()
    body = {k: v for k, v in content["certificate"].items() if k != "hash"} | changes
    from llmptx.record import digest

    content["certificate"] = {**body, "hash": digest(body)}
    file.write_text(json.dumps(content))
    assert text


def _outcomes(results: list[Rechecked]) -> list[tuple[str, str]]:
    return [(r.routine, r.outcome) for r in results]


def test_what_this_judge_certified_is_left_alone(tmp_path, make_record):
    desk = _desk(tmp_path, make_record())
    judge = Judge()
    assert _outcomes(list(recheck(desk, judge))) == [("numpy.exp", "current")]
    assert judge.asked == []
    assert _outcomes(list(recheck(desk, judge, everything=True))) == [("numpy.exp", "passed")]
    assert judge.asked == [("numpy.exp", "float32", "full", "cpu")]


@pytest.mark.parametrize("change", [{"judge": "0"}, {"engine": "0"}, {"spec": "00"}])
def test_what_passes_again_gets_a_new_certificate(tmp_path, make_record, change):
    desk = _desk(tmp_path, make_record())
    _age(desk, "numpy/exp/float32.json", **change)
    with pytest.raises(ReviewError):
        list(desk.kernels())
    assert _outcomes(list(recheck(desk, Judge()))) == [("numpy.exp", "passed")]
    (kernel,) = desk.kernels()
    check(kernel.certificate, kernel.text)
    assert kernel.certificate["seed"] == 11
    assert kernel.content["review"]["reviewer"] == "ada"


def test_what_fails_is_recalled_with_its_reason(tmp_path, make_record):
    desk = _desk(tmp_path, make_record(), make_record(routine="numpy.log"))
    text = (desk.verified / "numpy/log/float32.ptx").read_text()
    for name in ("exp", "log"):
        _age(desk, f"numpy/{name}/float32.json", judge="0")
    results = list(recheck(desk, Judge("numpy.log")))
    assert _outcomes(results) == [("numpy.exp", "passed"), ("numpy.log", "recalled")]
    assert "mismatch: off by one" in results[1].reason
    assert [k.routine for k in desk.kernels()] == ["numpy.exp"]
    assert (desk.recalled / "numpy/log/float32.ptx").read_text() == text
    said = json.loads((desk.recalled / "numpy/log/float32.json").read_text())
    assert said["reason"] == results[1].reason
    assert said["verdict"]["findings"][0]["kind"] == "mismatch"
    reviews, _ = desk.reviews()
    assert (reviews[-1].decision, reviews[-1].reviewer) == ("recall", "recheck")
    assert [r.decision for r in reviews[:2]] == ["approve", "approve"]
    states = {e.candidate.routine: e.state for e in desk.queue()[0]}
    assert states == {"numpy.exp": "approved", "numpy.log": "recalled"}
    assert list(recheck(desk, Judge("numpy.log")))[-1].routine == "numpy.exp"


def test_texts_and_certificates_that_do_not_hold_are_recalled(tmp_path, make_record):
    names = ("exp", "log", "sin", "cos")
    desk = _desk(tmp_path, *(make_record(routine=f"numpy.{name}") for name in names))
    (desk.verified / "numpy/exp/float32.ptx").write_text("no ptx at all")
    (desk.verified / "numpy/log/float32.json").write_text("{")
    ours = desk.verified / "numpy/sin/float32.ptx"
    ours.write_text(ours.read_text().replace("ret;", "ret;\n    ret;", 1))
    desk.decide(("numpy.cos", "float32", _hash(desk, "numpy/cos/float32")), "reject", "bob", "no")
    results = list(recheck(desk, Judge()))
    assert {r.outcome for r in results} == {"recalled"}
    reasons = {r.routine: r.reason for r in results}
    for name, part in zip(names, ("no PTX", "does not hold", "the text is", "no decision"), strict=True):
        assert part in reasons[f"numpy.{name}"]
    assert list(desk.kernels()) == []


def _hash(desk: Desk, place: str) -> str:
    content = json.loads((desk.verified / f"{place}.json").read_text())
    return str(content["certificate"]["candidate"])


@pytest.mark.parametrize("place", ["numpy/exq/float32", "numpy/exp/float31"])
def test_what_the_catalogue_no_longer_has_is_recalled(tmp_path, make_record, place):
    desk = _desk(tmp_path, make_record())
    _age(desk, "numpy/exp/float32.json", judge="0")
    for suffix in (".ptx", ".json"):
        to = (desk.verified / place).with_suffix(suffix)
        to.parent.mkdir(exist_ok=True)
        (desk.verified / "numpy/exp/float32").with_suffix(suffix).rename(to)
    routine, dtype = place.replace("/", ".", 1).split("/")
    desk.decide((routine, dtype, _hash(desk, place)), "approve", "ada", "")
    judge = Judge()
    (result,) = recheck(desk, judge)
    assert result.outcome == "recalled"
    assert "cannot be judged any more" in result.reason
    assert judge.asked == []


def test_a_judge_that_breaks_recalls_nothing(tmp_path, make_record):
    desk = _desk(tmp_path, make_record())
    _age(desk, "numpy/exp/float32.json", judge="0")

    def broken(*_: str) -> Verdict:
        raise KeyError("a fault of ours")

    with pytest.raises(KeyError):
        list(recheck(desk, broken))
    assert (desk.verified / "numpy/exp/float32.ptx").exists()


def test_candidates_of_the_corpus_keep_their_records(tmp_path, make_record):
    fine, faulty = make_record(), make_record(routine="numpy.log")
    records = [_older(record) for record in (fine, faulty)]
    desk = _desk(tmp_path, *records, approve=False)
    before = desk.corpus.path.read_bytes()
    with pytest.raises(ReviewError, match="judge version 0"):
        desk.approve(desk.find(records[0].attempts[-1].candidate.hash, "numpy.exp"), "ada")
    results = list(recheck(desk, Judge("numpy.log"), corpus=True))
    assert sorted(_outcomes(results)) == [("numpy.exp", "passed"), ("numpy.log", "recalled")]
    assert desk.corpus.path.read_bytes() == before
    assert desk.queue()[1] == ()
    desk.approve(desk.find(records[0].attempts[-1].candidate.hash, "numpy.exp"), "ada")
    with pytest.raises(ReviewError, match="did not pass"):
        desk.approve(desk.find(records[1].attempts[-1].candidate.hash, "numpy.log"), "ada")
    assert _outcomes(list(recheck(desk, Judge(), corpus=True))) == [("numpy.exp", "current")]


def _older(record):  # type: ignore[no-untyped-def]
    attempt = record.attempts[-1]
    verdict = replace(attempt.verdict, judge="0")
    return replace(record, attempts=(*record.attempts[:-1], replace(attempt, verdict=verdict)))
