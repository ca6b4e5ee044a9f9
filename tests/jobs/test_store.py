"""The store: one writer, any reader, every version told apart."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from llmptx.jobs import ItemResult, JobError, Store, StoreError
from llmptx.jobs.store import MIGRATIONS
from llmptx.record import Finding, Stage, Verdict
from tests.jobs.fakes import ITEMS, spec_of

RESULT = ItemResult("numpy.add", "float32", 0, "rejected", "why", 2, 3, 0.5, 1.5, "abc", None)


def test_a_job_is_filed_with_its_items_in_order(tmp_path: Path) -> None:
    with Store(tmp_path / "a" / "jobs.sqlite") as store:
        job = store.submit(spec_of(samples=2))
        rows = store.items(job)
        assert [(r.item.routine, r.item.dtype, r.item.sample) for r in rows] == [
            (routine, dtype, sample) for routine, dtype in ITEMS for sample in (0, 1)
        ]
        assert store.job(job).spec == spec_of(samples=2)
        store.finish(job, 3, "failed", RESULT)
        assert store.items(job)[3].result == RESULT
        assert store.job(job).states == {"pending": 7, "failed": 1}
        store.reopen(job)
        assert store.job(job).states == {"pending": 8}
        store.cancel(job)
        assert [row.cancelled for row in store.jobs()] == [True]


def test_an_unknown_job_names_the_latest(tmp_path: Path) -> None:
    with Store(tmp_path / "jobs.sqlite") as store:
        with pytest.raises(JobError, match="no job 7; there are none yet"):
            store.job(7)
        store.submit(spec_of())
        with pytest.raises(JobError, match="no job 7; the latest are 1"):
            store.cancel(7)


def test_what_was_committed_is_there_after_reopening(tmp_path: Path) -> None:
    verdict = Verdict(
        "r", "d", "full", "c", "s", False, (Finding("abi", "x"),), (Stage("read", False, 0, 0.1),)
    )
    with Store(tmp_path / "jobs.sqlite") as store:
        job = store.submit(spec_of())
        store.finish(job, 0, "done", RESULT)
        store.keep_verdict("k", verdict)
    with Store(tmp_path / "jobs.sqlite") as store:
        assert store.items(job)[0].result == RESULT
        assert store.verdict("k") == verdict
        assert store.verdict("other") is None


def test_a_second_writing_process_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    code = (
        "import sys; from pathlib import Path; from llmptx.jobs import Store, StoreError\n"
        "path = Path(sys.argv[1])\n"
        "print(len(Store(path, readonly=True).jobs()))\n"
        "try: Store(path)\n"
        "except StoreError as error: print(error)\n"
    )
    with Store(path) as store:
        store.submit(spec_of())
        with Store(path):
            pass  # a second one in this process may come and go
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
    assert done.stdout.splitlines() == [
        "1",
        f"{path}: another process is at work on it; wait for it, or end it",
    ]
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1"]


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "jobs.sqlite") as store:
        job = store.submit(spec_of())
        with pytest.raises(sqlite3.IntegrityError), store.transaction() as db:
            db.execute("UPDATE items SET state = 'done'").execute("UPDATE items SET state = 'lost'")
        assert store.job(job).states == {"pending": 4}


def test_files_it_cannot_read_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no jobs here yet"):
        Store(tmp_path / "none.sqlite", readonly=True)
    (tmp_path / "text.sqlite").write_text("this is not a database, it is a letter\n" * 100)
    with pytest.raises(StoreError, match="not a store of ours"):
        Store(tmp_path / "text.sqlite")
    later = sqlite3.connect(tmp_path / "later.sqlite")
    later.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    later.close()
    with pytest.raises(StoreError, match="written by a later version"):
        Store(tmp_path / "later.sqlite")


def test_the_budget_can_be_raised(tmp_path: Path) -> None:
    with Store(tmp_path / "jobs.sqlite") as store:
        job = store.submit(spec_of(budget=1))
        store.set_budget(job, 2.5)
        assert store.job(job).spec.budget == 2.5
        with pytest.raises(JobError, match="budget"):
            store.set_budget(job, -1)
