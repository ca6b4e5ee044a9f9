"""Whose turn it is, and that a search that was interrupted makes the decisions it would have made."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from llmptx.jobs import Event, ItemRow, Store, run, summary
from llmptx.jobs.schedule import Arm, Schedule, Task
from llmptx.jobs.spec import Item
from llmptx.jobs.store import MIGRATIONS
from llmptx.record import Finding, Stage, Verdict
from llmptx.search import Bandit
from tests.jobs.fakes import KnowingJudge, MemoryCorpus, run_in, spec_of
from tests.llm.server import Endpoint

MANY = (
    ("numpy.add", "float32"),
    ("numpy.add", "int32"),
    ("numpy.exp", "float32"),
    ("numpy.exp", "float64"),
    ("numpy.sqrt", "float64"),
)


def task(position: int, routine: str, model: str = "m") -> Task:
    return Task(ItemRow(position, Item(routine, "float32", 0, model), "pending", None))


def taken(schedule: Schedule) -> list[int]:
    """Positions in the order they are handed out, each to its end."""
    positions = []
    while (found := schedule.take()) is not None:
        positions.append(found.row.position)
        schedule.back(found, over=True)
    return positions


def test_without_a_bandit_items_go_in_order() -> None:
    schedule = Schedule(["repair"])
    schedule.add([task(i, f"r{i % 3}") for i in range(9)])
    assert taken(schedule) == list(range(9))


def test_turns_go_to_the_routine_that_pays() -> None:
    bandit: Bandit[Arm] = Bandit(1)
    bandit.learn(Arm("good", "repair", "m"), 40, 20, 4.0)
    bandit.learn(Arm("bad", "repair", "m"), 40, 1, 4.0)
    schedule = Schedule(["repair"], bandit)
    schedule.add([task(i, "bad" if i < 10 else "good") for i in range(20)])
    assert set(taken(schedule)[:8]) == set(range(10, 18))


def test_a_task_given_back_is_gone_on_with_before_another_of_its_arm_is_begun() -> None:
    schedule = Schedule(["best-first"], Bandit(0))
    schedule.add([task(0, "r"), task(1, "r")])
    first = schedule.take()
    assert first is not None
    schedule.back(first, over=False)
    assert schedule.take() is first


def test_whoever_finds_nothing_waits_while_something_may_come_back() -> None:
    schedule = Schedule(["best-first"], Bandit(0))
    schedule.add([task(0, "r")])
    only = schedule.take()
    assert only is not None
    found: list[Task | None] = []
    other = threading.Thread(target=lambda: found.append(schedule.take()))
    other.start()
    other.join(0.05)
    assert other.is_alive()
    schedule.back(only, over=False)
    other.join(5)
    assert found == [only]


def test_a_dropped_model_leaves_the_others_their_turn() -> None:
    schedule = Schedule(["repair"])
    schedule.add([task(0, "r", "dead"), task(1, "r", "alive"), task(2, "q", "dead")])
    schedule.drop("dead")
    assert taken(schedule) == [1]


@pytest.mark.parametrize("strategy", ["repair", "best-of-n", "best-first", "auto"])
def test_a_job_is_done_by_any_strategy(tmp_path: Path, strategy: str) -> None:
    """The library's first drafts are faulty, and every draw of them is the same: only repairs help."""
    done, corpus, _ = run_in(tmp_path, spec_of(*MANY, strategy=strategy, samples=2, rounds=3))
    faulty = {("numpy.add", "float32"), ("numpy.exp", "float32"), ("numpy.exp", "float64")}
    for item in done.items:
        if (item.routine, item.dtype) not in faulty:
            assert item.status == "passed"
        elif item.strategy == "best-of-n":
            assert (item.status, item.rounds) == ("rejected", 6)
        else:
            assert item.status == "repaired"
    assert {record.hash for record in corpus.records} == {item.record_hash for item in done.items}


@pytest.mark.parametrize("strategy", ["repair", "best-first", "auto"])
def test_an_interrupted_search_makes_the_same_calls_in_the_same_order(tmp_path: Path, strategy: str) -> None:
    with Endpoint() as endpoint:
        settings = {"base_url": endpoint.url, "budget": 100.0, "price": [1.0, 10.0], "workers": 1, "seed": 3}
        spec = spec_of(*MANY, strategy=strategy, rounds=3, **settings)
        _, calm, _ = run_in(tmp_path / "calm", spec)
        undisturbed = list(endpoint.requests)
        endpoint.requests.clear()
        corpus = MemoryCorpus()
        for stop_at in (2, 5, 9, 6, 4):
            with Store(tmp_path / "jobs.sqlite") as store:
                job = store.jobs()[0].id if store.jobs() else store.submit(spec)
                with pytest.raises(KeyboardInterrupt):
                    run(store, job, corpus, interrupted_at(stop_at), judge=KnowingJudge())
        with Store(tmp_path / "jobs.sqlite") as store:
            done = run(store, 1, corpus, judge=KnowingJudge())
        assert endpoint.requests == undisturbed
        assert (done.pending, corpus.hashes) == (0, calm.hashes)


def interrupted_at(event: int):
    left = event

    def on_event(_: Event) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    return on_event


def test_a_budget_goes_where_kernels_come_from(tmp_path: Path) -> None:
    """One routine never passes, whatever it is given: most of the money is spent on the others."""

    class Hopeless(KnowingJudge):
        def __call__(self, candidate, *rest) -> Verdict:
            verdict = super().__call__(candidate, *rest)
            return verdict if candidate.routine != "numpy.exp" else _rejected(verdict)

    with Endpoint() as endpoint:
        settings = {"base_url": endpoint.url, "price": [0.0, 1.0], "workers": 1, "tokens": 1024}
        items = [("numpy.exp", d) for d in ("float32", "float64")] + [
            (f"numpy.{name}", dtype)
            for name in ("add", "subtract", "multiply")
            for dtype in ("int32", "int64", "float32", "float64")
        ]
        spec = spec_of(*items, samples=25, rounds=4, strategy="best-first", budget=0.03, **settings)
        done, _, _ = run_in(tmp_path, spec, judge=Hopeless())
    assert len([item for item in done.items if item.status in ("passed", "repaired")]) == 12
    assert (done.budget_spent, done.pending) == (True, 2)


def _rejected(verdict: Verdict) -> Verdict:
    stages = (Stage("quick", False, 1, 0.0),)
    return replace(verdict, passed=False, findings=(Finding("mismatch", "x"),), stages=stages)


def test_two_models_do_the_same_items_and_a_dead_one_stops_only_itself(tmp_path: Path) -> None:
    with Endpoint(["status 404"]) as dead, Store(tmp_path / "jobs.sqlite") as store:
        models = [{"name": "offline"}, {"name": "gone", "base_url": dead.url}]
        job, corpus = store.submit(spec_of(*MANY, models=models, workers=1)), MemoryCorpus()
        with pytest.raises(Exception, match="answered 404"):
            run(store, job, corpus, judge=KnowingJudge())
        standing = summary(store, job)
    assert {item.model for item in standing.items} == {"offline"}
    assert (len(standing.items), standing.pending) == (5, 5)
    assert {record.model for record in corpus.records} == {"offline"}


def test_a_store_of_the_first_version_keeps_its_items(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    db = sqlite3.connect(path)
    db.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
    spec = spec_of(("numpy.add", "float32")).model_dump_json(by_alias=True)
    db.execute("INSERT INTO jobs (spec, created) VALUES (?, 0)", (spec,))
    db.execute(
        "INSERT INTO items (job, position, routine, dtype, sample) VALUES (1, 0, 'numpy.add', 'float32', 4)"
    )
    db.commit()
    db.close()
    with Store(path) as store:
        assert [row.item for row in store.items(1)] == [Item("numpy.add", "float32", 4, "offline")]
        assert run(store, 1, MemoryCorpus(), judge=KnowingJudge()).count("repaired") == 1
