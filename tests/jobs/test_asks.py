"""Jobs paused, cancelled, tried again and ordered by priority, while they run and while they do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmptx.cli import main
from llmptx.jobs import Event, Store, run
from llmptx.jobs.asks import Ask, leave, take
from llmptx.jobs.judging import Judges
from tests.jobs.fakes import ITEMS, KnowingJudge, MemoryCorpus, spec_of


def cli(root: Path, *args: str):
    return CliRunner().invoke(main, ["--workspace", str(root), *args])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Judges, "judge", lambda self, *args: KnowingJudge()(*args))
    return tmp_path


def submitted(root: Path, **settings: object) -> int:
    with Store(root / ".llmptx/jobs.sqlite") as store:
        return store.submit(spec_of(workers=1, **settings))


def test_the_last_of_what_is_asked_counts_and_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    leave(path, 3, "pause")
    leave(path, 3, "cancel")
    assert [take(path, 3), take(path, 3), take(path, 4)] == ["cancel", None, None]


@pytest.mark.parametrize("ask", ["pause", "cancel"])
def test_a_running_job_finishes_what_is_under_way_and_begins_nothing(tmp_path: Path, ask: Ask) -> None:
    path, corpus = tmp_path / "jobs.sqlite", MemoryCorpus()

    def asked(event: Event) -> None:
        if event.stage == "judging" and not corpus.records:
            leave(path, 1, ask)

    with Store(path) as store:
        job = store.submit(spec_of(workers=1))
        done = run(store, job, corpus, asked, judge=KnowingJudge())
        row = store.job(job)
        assert (len(done.items), done.pending) == (1, 3)
        assert (row.paused, row.cancelled) == (ask == "pause", ask == "cancel")
        store.reopen(job)
        assert run(store, job, corpus, judge=KnowingJudge()).pending == 0


def test_another_process_leaves_its_wish_for_the_one_that_runs_the_job(root: Path) -> None:
    job = submitted(root)
    code = "import sys; from llmptx.cli import main; main(sys.argv[1:])"
    with Store(root / ".llmptx/jobs.sqlite"):
        command = [sys.executable, "-c", code, "--workspace", str(root), "jobs", "pause", str(job)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "to be paused by the process that runs it" in done.stdout
    assert take(root / ".llmptx/jobs.sqlite", job) == "pause"


def test_paused_jobs_are_left_out_and_the_highest_priority_goes_first(root: Path) -> None:
    low, high, paused = (submitted(root, priority=p) for p in (0, 5, 9))
    assert cli(root, "jobs", "pause", str(paused)).exit_code == 0
    result = cli(root, "jobs", "work")
    assert result.exit_code == 0, result.output
    order = [line for line in result.stdout.splitlines() if line.startswith("report")]
    assert len(order) == 2
    rows = {row["job"]: row for row in json.loads(cli(root, "jobs", "list", "--json").stdout)}
    assert rows[low]["states"] == rows[high]["states"] == {"done": 4}
    assert (rows[paused]["states"], rows[paused]["paused"]) == ({"pending": 4}, True)
    assert cli(root, "jobs", "resume", str(paused)).exit_code == 0


def test_what_was_rejected_is_drawn_anew(root: Path) -> None:
    job = submitted(root, rounds=1)
    assert cli(root, "jobs", "resume", str(job)).exit_code == 1
    assert cli(root, "jobs", "retry", str(job), "--rejected").exit_code == 1
    with Store(root / ".llmptx/jobs.sqlite") as store:
        items = [(row.item.routine, row.item.sample) for row in store.items(job)]
        assert items[4:] == [(routine, 1) for routine, _ in ITEMS[:3]]
        assert store.job(job).states == {"done": 7}
