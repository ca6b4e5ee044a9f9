"""The coordinator with a judge that knows: outcomes, endpoints that fail, budgets, resuming."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from llmptx.corpus import Corpus
from llmptx.jobs import Event, JobError, Ledger, Retry, Store, run, summary
from llmptx.llm.client import Client, Limits
from llmptx.llm.errors import EndpointError
from llmptx.record import Candidate, Record, Verdict
from tests.jobs.fakes import ITEMS, KnowingJudge, MemoryCorpus, run_in, spec_of
from tests.llm.server import Endpoint

FAST = Retry(tries=3, base=0.01, cap=0.02)
ADD = ITEMS[0]


def away(endpoint: Endpoint, **settings: object) -> dict[str, object]:
    return {"base_url": endpoint.url, **settings}


def impatient(endpoint: Endpoint, **settings: object) -> Client:
    return Client("offline", endpoint.url, limits=Limits(read=0.3, total=2), **settings)  # type: ignore[arg-type]


def test_a_job_from_prompt_to_record(tmp_path: Path) -> None:
    done, corpus, events = run_in(tmp_path, spec_of(*ITEMS, ("numpy.add", "int32")))
    assert [item.status for item in done.items] == ["repaired", "repaired", "repaired", "passed", "passed"]
    assert [item.rounds for item in done.items] == [2, 2, 2, 1, 1]
    assert (done.calls, done.cost, done.pending, done.budget_spent) == (8, 0.0, 0, False)
    assert {item.record_hash for item in done.items} == corpus.hashes
    assert done.items[0].max_ulp == 0.5
    for record in corpus.records:
        assert (record.model, record.license, record.terms_class) == ("offline", "Apache-2.0", "open")
        assert record.passed
        assert record.attempts[-1].completion.endpoint == "offline"
    stages = [e.stage for e in events if e.routine == "numpy.add" and e.dtype == "float32"]
    assert stages == ["asking", "judging", "judging", "verdict"] * 2 + ["done"]


def test_everything_announced_is_on_disk_by_then(tmp_path: Path) -> None:
    corpus = MemoryCorpus()
    with Store(tmp_path / "jobs.sqlite") as store:
        job = store.submit(spec_of())

        def look(event: Event) -> None:
            with Store(store.path, readonly=True) as reader:
                if event.stage == "judging" and "lines" in event.text:
                    assert reader.rows("SELECT 1 FROM calls WHERE state = 'settled'")
                if event.stage == "verdict":
                    assert reader.rows("SELECT 1 FROM verdicts")
                if event.stage == "done":
                    assert any(
                        r.state == "done" and r.item.routine == event.routine for r in reader.items(job)
                    )
                    assert any(r.routine == event.routine for r in corpus.records)

        assert run(store, job, corpus, look, judge=KnowingJudge()).count("repaired") == 3


def test_rejections_carry_the_last_finding_and_are_filed(tmp_path: Path) -> None:
    done, corpus, _ = run_in(tmp_path, spec_of(ADD, rounds=1))
    assert (done.items[0].status, done.items[0].why) == ("rejected", "mismatch (line 9): element 3 is wrong")
    assert [r.passed for r in corpus.records] == [False]


def test_a_model_without_ptx_is_rejected_with_what_it_said(tmp_path: Path) -> None:
    with Endpoint(["prose", "short"]) as endpoint:
        done, corpus, _ = run_in(tmp_path, spec_of(ADD, rounds=2, **away(endpoint)))
    assert done.items[0].status == "rejected"
    assert "no PTX in the reply: the block that opens at line 1" in done.items[0].why
    assert "limit on a reply's length" in done.items[0].why
    assert [a.candidate for a in corpus.records[0].attempts] == [None, None]


def test_http_gives_the_same_records_as_the_model_in_process(tmp_path: Path) -> None:
    def local(record: Record) -> str:
        attempts = tuple(
            replace(
                a, completion=replace(a.completion, endpoint="", usage=replace(a.completion.usage, cost=None))
            )
            for a in record.attempts
        )
        return replace(record, attempts=attempts, license="", terms_class="").hash

    _, near, _ = run_in(tmp_path / "near", spec_of())
    with Endpoint() as endpoint:
        _, far, _ = run_in(tmp_path / "far", spec_of(**away(endpoint)))
        assert len(endpoint.requests) == 7
    assert {local(r) for r in near.records} == {local(r) for r in far.records}
    assert {(r.license, r.terms_class) for r in far.records} == {("unknown", "unknown")}


def test_nothing_is_asked_or_judged_twice(tmp_path: Path) -> None:
    judge = KnowingJudge()
    with Endpoint() as endpoint, Store(tmp_path / "jobs.sqlite") as store:
        spec = spec_of(**away(endpoint))
        first, second = MemoryCorpus(), MemoryCorpus()
        run(store, store.submit(spec), first, judge=judge)
        again = run(store, store.submit(spec), second, judge=judge)
        assert len(endpoint.requests) == len(judge.judged) == 7
        assert first.hashes == second.hashes
        assert (again.calls, again.cost) == (0, 0.0)


def test_samples_are_asked_for_apart(tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        done, corpus, _ = run_in(tmp_path, spec_of(ADD, samples=3, **away(endpoint)))
        assert sorted(r["seed"] for r in endpoint.requests) == [0, 0, 1, 1, 2, 2]
    assert [item.sample for item in done.items] == [0, 1, 2]
    assert len(corpus.hashes) == 3


@pytest.mark.parametrize(
    "fault", ["status 429 0", "status 500", "status 503", "hang", "cut", "stops", "json", "utf8", "empty"]
)
def test_passing_faults_are_retried(tmp_path: Path, fault: str) -> None:
    with Endpoint([fault]) as endpoint:
        client = impatient(endpoint)
        done, _, events = run_in(tmp_path, spec_of(ADD, **away(endpoint)), client=client, retry=FAST)
        assert len(endpoint.requests) == 3
    assert (done.items[0].status, done.items[0].calls) == ("repaired", 3)
    assert [e.stage for e in events].count("waiting") == 1


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    with Endpoint(["status 429 1"]) as endpoint:
        begun = time.monotonic()
        done, _, events = run_in(tmp_path, spec_of(ADD, **away(endpoint)), retry=FAST)
    assert time.monotonic() - begun >= 1
    assert any("trying again in 1 s" in e.text for e in events)
    assert done.items[0].status == "repaired"


@pytest.mark.parametrize(
    ("fault", "requests"),
    [("status 500", 3), ("status 400", 1), ("huge", 1), ("hang", 3), ("status 429 9999", 1)],
)
def test_an_item_that_gets_no_reply_fails_alone_and_goes_on_later(
    tmp_path: Path, fault: str, requests: int
) -> None:
    with Endpoint([fault] * requests) as endpoint, Store(tmp_path / "jobs.sqlite") as store:
        spec = spec_of(ADD, ITEMS[3], workers=1, **away(endpoint))
        job, corpus = store.submit(spec), MemoryCorpus()
        client = impatient(endpoint)
        done = run(store, job, corpus, judge=KnowingJudge(), client=client, retry=FAST)
        assert [item.status for item in done.items] == ["failed", "passed"]
        assert done.items[0].why.startswith((endpoint.url, "the reply is larger"))
        assert len(corpus.records) == 1
        later = run(store, job, corpus, judge=KnowingJudge(), client=client, retry=FAST)
        assert [item.status for item in later.items] == ["repaired", "passed"]
        assert len(corpus.records) == 2


@pytest.mark.parametrize("fault", ["status 401", "status 404"])
def test_a_dead_endpoint_stops_the_job_which_resumes(tmp_path: Path, fault: str) -> None:
    with Endpoint([fault] * 4) as endpoint, Store(tmp_path / "jobs.sqlite") as store:
        job, corpus = store.submit(spec_of(**away(endpoint))), MemoryCorpus()
        with pytest.raises(EndpointError, match=fault.split()[1]):
            run(store, job, corpus, judge=KnowingJudge())
        assert store.job(job).states == {"pending": 4}
        assert len(endpoint.requests) <= 2
        endpoint.faults.clear()
        assert run(store, job, corpus, judge=KnowingJudge()).pending == 0
        assert len(corpus.records) == 4


def test_an_endpoint_that_answers_nobody_stops_the_job(tmp_path: Path) -> None:
    every = spec_of(
        *ITEMS, ("numpy.add", "int32"), ("numpy.add", "float64"), ("numpy.exp", "float64"), workers=1
    )
    with Endpoint(["status 500"] * 99) as endpoint, Store(tmp_path / "jobs.sqlite") as store:
        job = store.submit(every)
        with pytest.raises(EndpointError, match="answered 500"):
            run(store, job, MemoryCorpus(), judge=KnowingJudge(), client=impatient(endpoint), retry=FAST)
        assert store.job(job).states == {"failed": 4, "pending": 3}


def test_a_refused_connection_stops_the_job(tmp_path: Path) -> None:
    spec = spec_of(base_url="http://127.0.0.1:9/v1")
    with Store(tmp_path / "jobs.sqlite") as store:
        job = store.submit(spec)
        with pytest.raises(EndpointError, match="cannot connect"):
            run(store, job, MemoryCorpus(), judge=KnowingJudge())
        assert summary(store, job).pending == 4


def test_a_budget_stops_before_it_is_passed_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    with Endpoint() as endpoint, Store(tmp_path / "jobs.sqlite") as store:
        spec = spec_of(**away(endpoint), price=[1.0, 10.0], tokens=2048, budget=0.07, workers=1)
        job, corpus = store.submit(spec), MemoryCorpus()
        done = run(store, job, corpus, judge=KnowingJudge())
        assert done.budget_spent
        assert done.pending > 0
        assert len(endpoint.requests) > 0
        assert done.cost is not None
        assert 0 < done.cost <= 0.07
        asked = len(endpoint.requests)
        store.set_budget(job, 5.0)
        rest = run(store, job, corpus, judge=KnowingJudge())
        assert (rest.pending, rest.budget_spent) == (0, False)
        assert len(endpoint.requests) == 7 > asked


def test_requests_that_are_out_do_not_end_a_budget_that_suffices(tmp_path: Path) -> None:
    """Two workers hold two upper bounds; the budget has room for one, and for all the calls really cost."""
    with Endpoint() as endpoint:
        spec = spec_of(**away(endpoint), price=[0.0, 1.0], tokens=16_384, budget=0.03, workers=2)
        done, _, _ = run_in(tmp_path, spec)
    assert (done.budget_spent, done.pending) == (False, 0)


def test_a_call_lost_in_a_crash_is_not_sent_again_unless_asked(tmp_path: Path) -> None:
    with Endpoint() as endpoint, Store(tmp_path / "jobs.sqlite") as store:
        spec = spec_of(ADD, **away(endpoint), price=[1.0, 10.0])
        job, corpus = store.submit(spec), MemoryCorpus()
        with pytest.raises(KeyboardInterrupt):
            run(store, job, corpus, _interrupt_at("judging"), judge=KnowingJudge())
        with store.transaction() as db:
            db.execute("UPDATE calls SET state = 'sent', reply = NULL")
        done = run(store, job, corpus, judge=KnowingJudge())
        assert done.items[0].status == "failed"
        assert "sent before a crash" in done.items[0].why
        assert len(endpoint.requests) == 1
        done = run(store, job, corpus, judge=KnowingJudge(), retry_unknown=True)
        assert done.items[0].status == "repaired"
        assert len(endpoint.requests) == 3
        assert done.calls == 3


def _interrupt_at(stage: str):
    def on_event(event: Event) -> None:
        if event.stage == stage:
            raise KeyboardInterrupt

    return on_event


def test_a_judge_that_breaks_fails_the_item_only(tmp_path: Path) -> None:
    class Breaking(KnowingJudge):
        def __call__(self, candidate: Candidate, *rest: object) -> Verdict:
            if candidate.routine == "numpy.exp":
                raise ValueError("no such luck")
            return super().__call__(candidate, *rest)  # type: ignore[arg-type]

    done, corpus, _ = run_in(tmp_path, spec_of(), judge=Breaking())
    assert [item.status for item in done.items] == ["repaired", "failed", "repaired", "passed"]
    assert done.items[1].why == "internal error: ValueError: no such luck"
    assert len(corpus.records) == 3


def test_a_corpus_that_cannot_be_written_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    class Full(MemoryCorpus):
        def append(self, record: Record) -> bool:
            raise OSError("no space left")

    with Store(tmp_path / "jobs.sqlite") as store:
        job, corpus = store.submit(spec_of()), MemoryCorpus()
        with pytest.raises(OSError, match="no space left"):
            run(store, job, Full(), judge=KnowingJudge())
        assert store.job(job).states == {"pending": 4}
        judge = KnowingJudge()
        assert run(store, job, corpus, judge=judge).pending == 0
        assert len(corpus.records) == 4


def test_cancelled_jobs_do_not_run_until_reopened(tmp_path: Path) -> None:
    with Store(tmp_path / "jobs.sqlite") as store:
        job = store.submit(spec_of(ADD))
        store.cancel(job)
        with pytest.raises(JobError, match="was cancelled"):
            run(store, job, MemoryCorpus(), judge=KnowingJudge())
        store.reopen(job)
        assert run(store, job, MemoryCorpus(), judge=KnowingJudge()).pending == 0


def test_an_interrupted_run_goes_on_to_the_same_records(tmp_path: Path) -> None:
    _, calm, _ = run_in(tmp_path / "calm", spec_of())
    for stage in ("asking", "judging", "verdict", "done"):
        corpus = Corpus(tmp_path / stage / "records.jsonl")
        with Store(tmp_path / stage / "jobs.sqlite") as store:
            job = store.submit(spec_of())
            with pytest.raises(KeyboardInterrupt):
                run(store, job, corpus, _interrupt_at(stage), judge=KnowingJudge())
            assert run(store, job, corpus, judge=KnowingJudge()).pending == 0
            assert Ledger(store).recover() == 0
        records, problems = corpus.read()
        assert ({r.hash for r in records}, problems) == (calm.hashes, ())


def test_events_come_one_at_a_time(tmp_path: Path) -> None:
    inside = threading.Lock()
    overlaps = []

    def on_event(event: Event) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(event)
            return
        time.sleep(0.001)
        inside.release()

    with Store(tmp_path / "jobs.sqlite") as store:
        run(store, store.submit(spec_of(workers=4)), MemoryCorpus(), on_event, judge=KnowingJudge())
    assert not overlaps


def test_better_kernels_are_filed_beside_the_first_and_paid_for_once(tmp_path: Path) -> None:
    """Everything passes: the first draft is the kernel, the second one is better, and nothing else is new."""
    weights: list[str] = []

    def weigh(text: str) -> Lighter:
        if text not in weights:
            weights.append(text)
        return Lighter(-weights.index(text))

    with Endpoint() as endpoint, Store(tmp_path / "jobs.sqlite") as store:
        spec = spec_of(ADD, optimize=3, **away(endpoint))
        job, corpus = store.submit(spec), MemoryCorpus()
        done = run(store, job, corpus, judge=Lenient(), weigh=weigh)
        assert (done.items[0].status, done.items[0].better, done.items[0].rounds) == ("passed", 1, 1)
        assert [record.attempts[0].prompt.template for record in corpus.records] == ["task", "improve"]
        assert all(record.passed for record in corpus.records)
        asked = len(endpoint.requests)
        run(store, store.submit(spec), MemoryCorpus(), judge=Lenient(), weigh=weigh)
        assert len(endpoint.requests) == asked == 4


class Lenient(KnowingJudge):
    """Passes whatever it is shown."""

    def __call__(self, candidate: Candidate, *rest: object) -> Verdict:
        return replace(super().__call__(candidate, *rest), passed=True, findings=())  # type: ignore[arg-type]


@dataclass(frozen=True)
class Lighter:
    """The later, the lighter."""

    grams: int

    def better_than(self, other: Lighter) -> bool:
        return self.grams < other.grams
