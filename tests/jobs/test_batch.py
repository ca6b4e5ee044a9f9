"""Batch files and recorded replies: the same records as an online run, and nothing asked twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmptx.jobs import JobError, JobSpec, Ledger, Replies, Store, read_answers, run
from llmptx.jobs.replies import export
from llmptx.jobs.run import client_of
from llmptx.llm.library import answer
from llmptx.record import canonical
from tests.jobs.fakes import KnowingJudge, MemoryCorpus, run_in, spec_of
from tests.llm.server import Endpoint

PRICED = {"base_url": "http://127.0.0.1:9/v1", "price": [1.0, 10.0], "mode": "batch"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "jobs.sqlite") as store:
        yield store


def answered(path: Path) -> Path:
    """What a batch service makes of a file of requests."""
    lines = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        assert (row["method"], row["url"]) == ("POST", "/v1/chat/completions")
        reply = answer("POST", row["url"], json.dumps(row["body"]).encode())
        response = {"status_code": reply.status, "request_id": "r", "body": json.loads(reply.body[0])}
        lines.append(
            canonical({"id": "x", "custom_id": row["custom_id"], "response": response, "error": None})
        )
    out = path.with_suffix(".out")
    out.write_text("\n".join(reversed(lines)) + "\n")
    return out


def imported(store: Store, path: Path, spec: JobSpec, give_up: bool = False):
    clients = {model.name: client_of(spec, model) for model in spec.all_models}
    return read_answers(path, Ledger(store), 1, clients, give_up=give_up)


def texts(corpus: MemoryCorpus) -> set[str]:
    return {r.attempts[-1].candidate.text for r in corpus.records if r.attempts[-1].candidate}


def test_a_job_by_batches_comes_to_the_kernels_of_one_online(tmp_path: Path, store: Store) -> None:
    _, online, _ = run_in(tmp_path / "online", spec_of())
    spec, corpus = spec_of(**PRICED), MemoryCorpus()
    job = store.submit(spec)
    sizes = []
    while (done := run(store, job, corpus, judge=KnowingJudge())).pending:
        (path,) = done.batches
        sizes.append(len(Path(path).read_text().splitlines()))
        assert run(store, job, corpus, judge=KnowingJudge()).batches == ()
        found = imported(store, answered(Path(path)), spec)
        assert (found.answered, found.failed, found.strange, found.waiting) == (sizes[-1], 0, 0, 0)
        again = imported(store, answered(Path(path)), spec)
        assert (again.answered, again.strange) == (0, sizes[-1])
    assert sizes == [4, 3]
    assert texts(corpus) == texts(online)
    assert done.calls == 7
    assert done.cost is not None
    assert done.cost > 0


def test_what_waits_in_a_file_is_charged_and_survives_a_crash(store: Store) -> None:
    spec = spec_of(**PRICED)
    job = store.submit(spec)
    (path,) = run(store, job, MemoryCorpus(), judge=KnowingJudge()).batches
    ledger = Ledger(store)
    held = ledger.spent(job)
    assert held > 0
    assert ledger.recover() == 0
    assert (ledger.spent(job), len(ledger.awaited(job))) == (held, 4)
    assert Path(path).name == "job-1-offline-1.jsonl"


def test_errors_and_missing_answers_are_asked_again_on_request(store: Store, tmp_path: Path) -> None:
    spec = spec_of(**PRICED)
    job = store.submit(spec)
    (path,) = run(store, job, MemoryCorpus(), judge=KnowingJudge()).batches
    rows = [json.loads(line) for line in answered(Path(path)).read_text().splitlines()]
    rows[0]["response"]["status_code"] = 500
    rows[1] |= {"response": None, "error": {"code": "batch_expired"}}
    rows[2]["response"]["body"]["choices"][0]["message"]["content"] = ""
    out = tmp_path / "some.jsonl"
    out.write_text("\n".join(map(json.dumps, rows[:3])))
    found = imported(store, out, spec)
    assert (found.answered, found.failed, found.waiting) == (0, 3, 1)
    assert imported(store, out, spec, give_up=True).waiting == 0
    assert Ledger(store).spent(job) > 0  # the empty reply may have been billed
    (path,) = run(store, job, MemoryCorpus(), judge=KnowingJudge()).batches
    assert Path(path).name == "job-1-offline-2.jsonl"
    assert len(Path(path).read_text().splitlines()) == 4


def test_a_file_that_is_no_answers_names_the_line(store: Store, tmp_path: Path) -> None:
    spec = spec_of(**PRICED)
    store.submit(spec)
    out = tmp_path / "out.jsonl"
    out.write_text('{"custom_id": "other"}\n[]\n')
    with pytest.raises(JobError, match=r"out\.jsonl:2: not a batch's answer"):
        imported(store, out, spec)


@pytest.mark.parametrize("form", ["sqlite", "jsonl"])
def test_a_run_is_had_again_from_its_replies_without_a_model(tmp_path: Path, form: str) -> None:
    with Endpoint() as endpoint:
        spec = spec_of(base_url=endpoint.url, price=[1.0, 10.0])
        _, recorded, _ = run_in(tmp_path / "first", spec)
    path = tmp_path / "first/jobs.sqlite"
    if form == "jsonl":
        with Store(path, readonly=True) as store:
            assert export(store, 1, tmp_path / "replies.jsonl") == 7
        path = tmp_path / "replies.jsonl"
    done, again, _ = run_in(tmp_path / "again", spec, replies=Replies(path))
    assert again.hashes == recorded.hashes
    assert (done.calls, done.cost) == (0, 0.0)


def test_what_is_not_on_record_fails_its_item_and_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    with Endpoint() as endpoint:
        spec = spec_of(base_url=endpoint.url)
        done, _, _ = run_in(tmp_path, spec, replies=Replies(tmp_path / "none.jsonl"))
        assert endpoint.requests == []
    assert done.count("failed") == 4
    assert "no reply to this request is on record in" in done.items[0].why


def test_a_broken_record_of_replies_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"schema": "llmptx/reply/2", "key": "k", "reply": {}}\n')
    with pytest.raises(JobError, match=r"r\.jsonl:1: not a reply on record: schema is"):
        Replies(path)
