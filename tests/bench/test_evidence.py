"""The evidence of a GPU compares, counts and stops as it says; the CPU engine stands on both sides here."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks import evidence
from llmptx.run import cuda
from llmptx.run.cpu import run_job
from llmptx.run.job import Job, Outcome
from tests.engine import fuzz, programs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def job() -> Job:
    case = fuzz.case(1, 0)
    return programs.job(case.text, case.blocks, case.threads, case.data)


def by_threads(job: Job) -> Outcome:
    return run_job(replace(job, width=1))


def one_bit_off(job: Job) -> Outcome:
    outcome = run_job(job)
    outcome.buffers["out"][5] ^= 8
    return outcome


def test_both_widths_of_the_engine_are_equal(job: Job) -> None:
    row = evidence.compared("k", "case", job, run_job, by_threads)
    assert (row.outcome, row.differences) == ("equal", ())


def test_the_first_word_that_differs_is_told(job: Job) -> None:
    row = evidence.compared("k", "case", job, run_job, one_bit_off)
    (found,) = row.differences
    assert (row.outcome, found.buffer, found.element, found.words) == ("different", "out", 5, 1)
    assert int(found.cpu) ^ int(found.gpu) == 8


def test_where_the_manual_leaves_room_a_difference_is_bounded(job: Job) -> None:
    free = replace(job, ptx=job.ptx + "// ex2.approx.f32")
    assert evidence.compared("k", "case", free, run_job, one_bit_off).outcome == "bounded"
    for text in ("atom.global.add.f32", "red.relaxed.gpu.global.add.noftz.f16x2"):
        added = replace(job, ptx=f"{job.ptx}// {text}")
        assert evidence.compared("k", "case", added, run_job, one_bit_off).outcome == "bounded"


def test_any_nan_is_as_good_as_another_but_no_zero() -> None:
    near = Outcome("ok", {"out": np.array([0x7FC00000, 0], np.uint32).view(np.float32)})
    far = Outcome("ok", {"out": np.array([0xFFC00001, 1 << 31], np.uint32).view(np.float32)})
    (found,) = evidence.first_differences(near, far)
    assert (found.element, found.words) == (1, 1)


def test_a_device_that_fails_is_named(job: Job) -> None:
    broken = replace(job, ptx=job.ptx.replace("ret;", "trap; ret;"))
    row = evidence.compared("k", "case", job, run_job, lambda _: run_job(broken))
    assert row.outcome == "gpu"
    assert "trap" in row.what
    assert evidence.compared("k", "case", broken, run_job, run_job).outcome == "cpu"


def test_what_the_deadline_leaves_out_is_listed(job: Job) -> None:
    work = [("k", str(i), lambda: job) for i in range(2)]
    rows = list(evidence.compare_all(work, run_job, run_job, time.monotonic() - 1))
    assert [r.outcome for r in rows] == ["not run"] * 2
    told = evidence.Evidence({}, {"unfinished": False}, rows).to_json()
    assert (told["complete"], told["counts"]) == (False, {"not run": 2})


def test_kernels_of_the_library_and_of_the_tests_are_among_the_work() -> None:
    for work in (evidence.offline_kernels(), evidence.integration_kernels()):
        rows = evidence.compare_all(islice(work, 2), run_job, by_threads, time.monotonic() + 60)
        assert [r.outcome for r in rows] == ["equal"] * 2


def test_outcomes_of_tests_are_read_from_their_report(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        "def test_well(): pass\n"
        "def test_ill(): assert 1 == 2\n"
        "def test_not(): pytest.skip('no GPU')\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--junitxml=r.xml",
        "test_x.py",
    ]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    outcomes = evidence.test_outcomes((tmp_path / "r.xml").read_text())
    assert outcomes["test_x.test_well"] == "passed"
    assert outcomes["test_x.test_ill"].startswith("failure")
    assert outcomes["test_x.test_not"] == "skipped: no GPU"


@pytest.mark.skipif(cuda.available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "evidence.json"
    command = [sys.executable, "benchmarks/evidence.py", "--out", str(out)]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == evidence.NO_GPU
    assert "no NVIDIA GPU" in ended.stderr
    assert not out.exists()
