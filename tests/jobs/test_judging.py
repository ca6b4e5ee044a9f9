"""Judges in their own processes: real verdicts, and what happens when a process goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmptx.corpus import Corpus
from llmptx.jobs import Event, Store, run
from llmptx.jobs.judging import JudgeError, Judges, judge_identity, verdict_key
from llmptx.llm.library import drafts
from llmptx.record import Candidate
from llmptx.search.loop import hash_of
from tests.jobs.fakes import spec_of


def candidate(text: str) -> Candidate:
    return Candidate("numpy.add", "float32", text, hash_of(text))


BROKEN = candidate(drafts("numpy.add", "float32")[-1].replace("ret;", "ret ret"))


def silent(text: str) -> None:
    return


def test_a_verdict_comes_back_from_another_process() -> None:
    with Judges() as judges:
        verdict = judges.judge(BROKEN, "quick", "cpu", silent)
        again = judges.judge(BROKEN, "quick", "cpu", silent)
    assert not verdict.passed
    assert (verdict.findings[0].kind, verdict.candidate) == ("parse", BROKEN.hash)
    assert verdict.findings == again.findings


def test_a_judge_that_fails_says_why_and_judges_on() -> None:
    with Judges() as judges:
        with pytest.raises(JudgeError, match=r"no routine is named 'numpy\.nothing'"):
            judges.judge(Candidate("numpy.nothing", "float32", "", "h"), "quick", "cpu", silent)
        assert not judges.judge(BROKEN, "quick", "cpu", silent).passed


def test_a_judge_that_was_killed_is_replaced() -> None:
    with Judges() as judges:
        judges.judge(BROKEN, "quick", "cpu", silent)
        (process,) = judges._all
        os.kill(process._child.pid, signal.SIGKILL)
        with pytest.raises(JudgeError, match="ended before its verdict"):
            judges.judge(BROKEN, "quick", "cpu", silent)
        assert not judges.judge(BROKEN, "quick", "cpu", silent).passed


def test_a_judge_does_not_outlive_its_coordinator() -> None:
    code = (
        "import sys\nfrom tests.jobs.test_judging import BROKEN, Judges, silent\n"
        "judges = Judges()\njudges.judge(BROKEN, 'quick', 'cpu', silent)\n"
        "print(*(p._child.pid for p in judges._all), flush=True)\nsys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    judge = int(child.stdout.readline())
    child.kill()
    child.communicate()
    until = time.monotonic() + 10
    while _runs(judge) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(judge)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_kept_verdicts_are_bound_to_text_spec_level_and_judge() -> None:
    commented = candidate(f"// other lines\n{BROKEN.text}")
    keys = {
        verdict_key(BROKEN, "spec", "full", "cpu"),
        verdict_key(commented, "spec", "full", "cpu"),
        verdict_key(BROKEN, "other", "full", "cpu"),
        verdict_key(BROKEN, "spec", "quick", "cpu"),
        verdict_key(BROKEN, "spec", "full", "cuda"),
    }
    assert len(keys) == 5
    assert verdict_key(BROKEN, "spec", "full", "cpu") in keys
    assert judge_identity().startswith("judge ")


def test_a_real_job_rejects_the_first_draft_and_passes_the_repair(tmp_path: Path) -> None:
    corpus, events = Corpus(tmp_path / "records.jsonl"), list[Event]()
    spec = spec_of(("numpy.add", "float32"), ("numpy.subtract", "float32"), level="quick")
    with Store(tmp_path / "jobs.sqlite") as store:
        done = run(store, store.submit(spec), corpus, events.append)
    assert [(item.status, item.why) for item in done.items] == [("repaired", ""), ("passed", "")]
    records, problems = corpus.read()
    assert problems == ()
    first, last = next(r for r in records if r.routine == "numpy.add").attempts
    assert first.verdict is not None
    assert first.verdict.findings[0].message in last.prompt.messages[-1].content
    assert {"read", "quick"} <= {e.text.split(":")[0] for e in events if e.stage == "judging"}
