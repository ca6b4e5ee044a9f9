"""Processes killed from outside, again and again, change no outcome and no verdict."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import llmptx
from llmptx.record import Verdict
from llmptx.run.worker import Pool, Worker
from llmptx.toolchain.ptxas import find_ptxas
from llmptx.verify.certificate import verdict_hash
from llmptx.verify.judge import verify
from tests.run.test_memory import job

OFFLINE = Path(llmptx.__file__).parent / "llm" / "offline" / "numpy"


class Killer:
    """Kills one of a pool's processes at random moments, about one a verdict, until it has killed so many."""

    def __init__(self, pool: Pool, kills: int) -> None:
        self.left = kills
        self._pool = pool
        self._stop = threading.Event()
        self._rng = random.Random(7)
        self._workers = list(pool._free)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while self.left and not self._stop.wait(self._rng.uniform(0.2, 1.0)):
            worker = self._rng.choice(self._workers)
            warm = worker._process
            # The warm process holds the fork's identity until it is reaped, so the number is nobody else's.
            victim = worker._pid if self._rng.random() < 0.9 or warm is None else warm.pid
            if worker._data is None or victim <= 0:
                continue
            try:
                os.kill(victim, signal.SIGKILL)
                self.left -= 1
            except ProcessLookupError:
                continue

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def _verdict(name: str, pool: Pool) -> Verdict:
    routine, dtype = name.split("/")
    return verify((OFFLINE / f"{name}.ptx").read_text(), f"numpy.{routine}", dtype.split(".")[0], pool=pool)


def _plain(verdict: Verdict) -> tuple[object, ...]:
    """The verdict's hash, after what helps to see why two differ."""
    stages = tuple((s.name, s.cases, s.passed) for s in verdict.stages)
    return stages, verdict.findings, verdict.accuracy, verdict_hash(verdict)


@pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")
@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_kills_change_no_verdict(kills: int) -> None:
    names = ("add/float32.2", "add/float32.1", "sum/int32.1", "exp/float32.1")
    with Pool(1) as pool:
        quiet = {name: _plain(_verdict(name, pool)) for name in names}
        killer = Killer(pool, kills)
        with killer.at_work():
            for turn in range(1000):
                name = names[turn % len(names)]
                assert _plain(_verdict(name, pool)) == quiet[name]
                if not killer.left:
                    break
        assert killer.left == 0


def test_a_process_killed_between_jobs_is_replaced() -> None:
    with Worker() as worker:
        want = worker.run(job(0, 100, keep=False), 20).buffers["out"]
        for victim in ("_pid", "_process"):
            target = getattr(worker, victim)
            os.kill(target if isinstance(target, int) else target.pid, signal.SIGKILL)
            outcome = worker.run(job(0, 100, keep=False), 20)
            assert outcome.status == "ok"
            assert np.array_equal(outcome.buffers["out"], want)


def test_one_that_is_killed_every_time_has_crashed() -> None:
    with Worker("tests.run.runners:act") as worker:
        from tests.run.test_worker import job as asking

        outcome = worker.run(asking("killed"), 10)
        assert outcome.status == "crash"
        assert "SIGKILL" in outcome.findings[0].message
