"""kill -9 and Ctrl-C at any moment: the same records in the end, no reply asked for twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmptx.corpus import Corpus
from llmptx.jobs import Store
from tests.jobs.fakes import run_in, spec_of
from tests.llm.server import Endpoint


def start(
    folder: Path, url: str = "", *, workers: int = 1, events: int = 0, number: int = signal.SIGKILL
) -> subprocess.Popen[str]:
    numbers = [str(int(n)) for n in (workers, events, number)]
    command = [sys.executable, "-m", "tests.jobs.killed", str(folder), url, *numbers]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ends(child: subprocess.Popen[str]) -> tuple[int, str]:
    out, errors = child.communicate(timeout=60)
    return child.returncode, out or errors


def hashes(folder: Path) -> set[str]:
    records, problems = Corpus(folder / "records.jsonl").read()
    assert problems == ()
    assert len(records) == len({r.hash for r in records})
    return {r.hash for r in records}


@pytest.mark.parametrize("events", [2, 9, 23])
def test_killed_between_steps_it_asks_for_nothing_twice(tmp_path: Path, events: int) -> None:
    with Endpoint() as endpoint:
        _, calm, _ = run_in(tmp_path / "calm", spec_of(base_url=endpoint.url))
        endpoint.requests.clear()
        kills = 0
        while (end := ends(start(tmp_path, endpoint.url, events=events)))[0] == -signal.SIGKILL:
            events += 9
            kills += 1
        assert end == (0, "0\n")
        assert kills > 0
        sent = [json.dumps(r, sort_keys=True) for r in endpoint.requests]
        assert len(sent) == len(set(sent)) == 7
        assert hashes(tmp_path) == calm.hashes


def test_killed_at_random_moments_the_offline_model_gives_the_same_records(tmp_path: Path) -> None:
    _, calm, _ = run_in(tmp_path / "calm", spec_of())
    dice = random.Random(20)
    for _ in range(5):
        child = start(tmp_path, workers=2)
        time.sleep(0.4 + 0.5 * dice.random())
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    assert ends(start(tmp_path, workers=2)) == (0, "0\n")
    assert hashes(tmp_path) == calm.hashes


@pytest.mark.parametrize("events", [1, 5, 12])
def test_ctrl_c_lets_requests_come_back_before_it_ends(tmp_path: Path, events: int) -> None:
    with Endpoint() as endpoint:
        _, calm, _ = run_in(tmp_path / "calm", spec_of(base_url=endpoint.url))
        endpoint.requests.clear()
        code, said = ends(start(tmp_path, endpoint.url, workers=2, events=events, number=signal.SIGINT))
        assert code == -signal.SIGINT
        assert said.rstrip().endswith("KeyboardInterrupt")
        with Store(tmp_path / "jobs.sqlite", readonly=True) as store:
            assert {row["state"] for row in store.rows("SELECT state FROM calls")} <= {"settled", "planned"}
        assert ends(start(tmp_path, endpoint.url)) == (0, "0\n")
        assert len(endpoint.requests) == 7
        assert hashes(tmp_path) == calm.hashes
