"""What is appended is read back, whatever a crash or another writer did to the file."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmptx.corpus import Corpus, outcome, passing


def test_an_appended_record_is_read_back_equal(tmp_path, make_record):
    corpus = Corpus(tmp_path / "deep" / "records.jsonl")
    record = make_record(outcomes=(False, True))
    assert corpus.append(record)
    assert corpus.read() == ((record,), ())


def test_a_record_is_filed_once_even_if_made_at_another_time(tmp_path, make_record):
    corpus = Corpus(tmp_path / "records.jsonl")
    assert corpus.append(make_record())
    assert not corpus.append(make_record(created="2027-01-01T00:00:00Z"))
    assert not Corpus(corpus.path).append(make_record())
    assert len(corpus.read()[0]) == 1


def test_another_writer_is_noticed(tmp_path, make_record):
    ours, theirs = Corpus(tmp_path / "r.jsonl"), Corpus(tmp_path / "r.jsonl")
    assert ours.append(make_record(number=1))
    assert theirs.append(make_record(number=2))
    assert not ours.append(make_record(number=2))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_record_after_a_cut_line_is_whole(tmp_path, make_record, share):
    path = tmp_path / "records.jsonl"
    path.unlink(missing_ok=True)
    corpus = Corpus(path)
    corpus.append(make_record(number=1))
    whole = path.read_bytes()
    line = make_record(number=2).to_json().encode()
    path.write_bytes(whole + line[: int(share * len(line))])
    assert corpus.append(make_record(number=3))
    records, problems = corpus.read()
    assert records == (make_record(number=1), make_record(number=3))
    assert [p.line for p in problems] == ([2] if int(share * len(line)) else [])


def test_a_line_that_lacks_only_its_line_feed_is_a_record(tmp_path, make_record):
    path = tmp_path / "records.jsonl"
    path.write_text(make_record(number=1).to_json())
    corpus = Corpus(path)
    assert not corpus.append(make_record(number=1))
    assert corpus.append(make_record(number=2))
    assert corpus.read() == ((make_record(number=1), make_record(number=2)), ())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"schema": "llmptx/record/1", "rou', "cut off|not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[1, 2]", "a JSON list"),
        (b"{}", "schema is None"),
        (b'{"schema": "llmptx/record/2"}', "llmptx/record/2"),
        (b'{"schema": "llmptx/record/1"}', "no key 'attempts'"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_an_unreadable_line_is_named_and_the_rest_is_read(tmp_path, make_record, line, said):
    path = tmp_path / "records.jsonl"
    first, last = make_record(number=1), make_record(number=2)
    path.write_bytes(first.to_json().encode() + b"\n\n" + line + b"\n" + last.to_json().encode() + b"\n")
    records, problems = Corpus(path).read()
    assert records == (first, last)
    assert [p.line for p in problems] == [3]
    assert any(word in problems[0].message for word in said.split("|"))


def test_a_record_with_an_unknown_field_is_a_problem(tmp_path, make_record):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps({**json.loads(make_record().to_json()), "extra": 1}) + "\n")
    records, problems = Corpus(path).read()
    assert not records
    assert "extra" in problems[0].message


def test_a_missing_file_is_an_empty_corpus(tmp_path):
    assert Corpus(tmp_path / "none.jsonl").read() == ((), ())
    assert list(Corpus(tmp_path / "none.jsonl")) == []


def _append_all(path: Path, records: list) -> None:
    corpus = Corpus(path)
    for record in records:
        corpus.append(record)


def test_two_processes_lose_and_double_nothing(tmp_path, make_record):
    path = tmp_path / "records.jsonl"
    records = [make_record(number=n) for n in range(12)]
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_append_all, args=(path, part)) for part in (records[:8], records[4:])]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    read, problems = Corpus(path).read()
    assert not problems
    assert sorted(r.hash for r in read) == sorted(r.hash for r in records)


def test_outcome_and_passing_candidate(make_record):
    assert outcome(make_record(outcomes=(True,))) == "passed"
    assert outcome(make_record(outcomes=(False, True))) == "repaired"
    rejected = make_record(outcomes=(False, False))
    assert outcome(rejected) == "rejected"
    assert passing(rejected) is None
    repaired = make_record(outcomes=(False, True))
    assert passing(repaired) == repaired.attempts[1].candidate
