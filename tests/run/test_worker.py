"""Workers live through whatever a candidate does, and believe nothing it says."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmptx.record import Finding
from llmptx.run import confine
from llmptx.run.job import Buffer, Job, Outcome
from llmptx.run.wire import LENGTH, WireError, decode, encode
from llmptx.run.worker import Pool, Worker, WorkerError

RUNNER = "tests.run.runners:act"
MEASURES = confine.measures()


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(RUNNER) as worker:
        yield worker


def job(what: str) -> Job:
    data = np.array([3, 4], np.int64)
    buffers = (Buffer("in0", "int64", 2, "input", data), Buffer("out", "int64", 2, "output"))
    return Job(what, (), buffers)


def test_an_answer_comes_back_whole(worker: Worker) -> None:
    outcome = worker.run(job("double"), 10)
    assert outcome.status == "ok"
    assert outcome.buffers["out"].tolist() == [6, 8]
    assert outcome.changed == ("in0",)
    assert outcome.seconds == 0.5


def test_findings_come_back_with_every_field(worker: Worker) -> None:
    outcome = worker.run(job("findings"), 10)
    (finding,) = outcome.findings
    assert outcome.status == "findings"
    assert finding == Finding(
        "out-of-bounds", "thread stores past the end", 12, 5, (1, 0, 0), (31, 0, 0), 31, "out", 4096, 1024
    )
    assert outcome.unwritten["out"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("what", "name"), [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("exit", "exit code 3")]
)
def test_a_death_is_a_crash_that_names_its_cause(worker: Worker, what: str, name: str) -> None:
    outcome = worker.run(job(what), 10)
    assert outcome.status == "crash"
    assert [f.kind for f in outcome.findings] == ["crash"]
    assert name in outcome.findings[0].message
    assert worker.run(job("double"), 10).status == "ok"


@pytest.mark.parametrize("what", ["hang", "spin"])
def test_a_hang_is_killed_in_time(worker: Worker, what: str) -> None:
    began = time.monotonic()
    outcome = worker.run(job(what), 0.3)
    assert outcome.status == "timeout"
    assert outcome.findings[0].kind == "timeout"
    assert time.monotonic() - began < 3
    assert worker.run(job("double"), 10).status == "ok"


def test_what_the_engine_raises_is_an_answer(worker: Worker) -> None:
    raised = worker.run(job("raise"), 10)
    assert raised.status == "error"
    assert "RuntimeError: no such luck" in raised.findings[0].message
    assert worker.run(job("memory"), 10).findings[0].kind == "resource-limit"
    parse = worker.run(job("ptxerror"), 10).findings[0]
    assert (parse.kind, parse.message, parse.line, parse.column) == ("parse", "bad thing", 7, 3)


def test_one_candidate_keeps_its_process_and_the_next_gets_a_fresh_one(worker: Worker) -> None:
    first = worker.run(job("pid one"), 10).buffers["out"]
    again = worker.run(job("pid one"), 10).buffers["out"]
    other = worker.run(job("pid two"), 10).buffers["out"]
    assert first[0] == again[0] != other[0]
    assert (first[1], again[1], other[1]) == (1, 2, 1)


def test_the_child_sees_no_secrets(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with Worker(RUNNER) as fresh:
        names = fresh.run(job("environment"), 10).findings[0].message.split()
    assert "PYTHONPATH" in names
    assert "OPENAI_API_KEY" not in names


def test_the_child_is_limited(worker: Worker) -> None:
    pid = int(worker.run(job("pid"), 10).buffers["out"][0])
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    soft = {line[:26].strip(): line[26:].split()[0] for line in lines}
    assert soft["Max core file size"] == soft["Max processes"] == "0"
    assert soft["Max open files"] == str(confine.OPEN_FILES)
    assert soft["Max address space"] == str(confine.ADDRESS_SPACE)
    assert soft["Max cpu time"] == str(confine.CPU_SECONDS)
    assert soft["Max file size"] == str(confine.FILE_BYTES)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"


def test_the_child_reaches_no_network_where_the_system_can_forbid_it(worker: Worker) -> None:
    worker.run(job("double"), 10)
    assert worker._process is not None
    own = os.stat("/proc/self/ns/net").st_ino
    if not MEASURES["no network"]:
        pytest.skip("this system lets us have no network namespace")
    assert os.stat(f"/proc/{worker._process.pid}/ns/net").st_ino != own
    assert os.stat(f"/proc/{worker.pid}/ns/net").st_ino != own


def test_a_connection_is_refused_or_ends_the_process(worker: Worker) -> None:
    if not any(MEASURES[name] for name in ("no network", "system calls filtered")):
        pytest.skip("this system can forbid neither network nor system calls")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        outcome = worker.run(job(f"connect {port}"), 10)
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            pass
    assert outcome.status == "crash" or outcome.buffers["out"][0] == 0


def test_an_array_nobody_asked_for_is_refused(worker: Worker) -> None:
    outcome = worker.run(job("widen"), 10)
    assert outcome.status == "crash"
    assert "1000000" in outcome.findings[0].message


@pytest.mark.parametrize(
    "raw",
    [
        LENGTH.pack(1 << 60),
        LENGTH.pack(4) + b"nope",
        LENGTH.pack(2) + b"{}",
        LENGTH.pack(len(pickle.dumps(print))) + pickle.dumps(print),
    ],
)
def test_forged_frames_are_crashes(worker: Worker, raw: bytes) -> None:
    outcome = worker.run(job(f"forge {raw.hex()}"), 5)
    assert outcome.status == "crash"
    assert "spoilt" in outcome.findings[0].message
    assert worker.run(job("double"), 10).status == "ok"


def test_a_worker_whose_warm_process_died_starts_another(worker: Worker) -> None:
    assert worker._process is not None
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait()
    assert worker.run(job("double"), 10).status in ("ok", "crash")
    assert worker.run(job("double"), 10).status == "ok"


def test_a_runner_that_is_not_there_is_our_error_and_says_so() -> None:
    with pytest.raises(WorkerError, match="no_such_module"):
        Worker("no_such_module:run").run(job("double"), 10)


def test_an_interrupt_leaves_the_worker_usable(worker: Worker) -> None:
    worker.run(job("double"), 10)
    interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        worker.run(job("hang"), 10)
    assert worker.run(job("double"), 10).buffers["out"].tolist() == [6, 8]


def test_closing_ends_the_processes() -> None:
    worker = Worker(RUNNER)
    pid = int(worker.run(job("pid"), 10).buffers["out"][0])
    worker.close()
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_pool_serves_many_threads() -> None:
    with Pool(2, RUNNER) as pool, ThreadPoolExecutor(6) as threads:
        kinds = ["double", "segfault", "pid a", "double", "pid b", "raise"] * 3
        outcomes = list(threads.map(lambda k: pool.run(job(k), 20).status, kinds))
    assert outcomes == ["ok", "crash", "ok", "ok", "ok", "error"] * 3
    with pytest.raises(WorkerError, match="closed"):
        pool.run(job("double"), 1)


def test_decoding_is_the_inverse_of_encoding() -> None:
    buffers = (
        Buffer("in0", "float32", 3, "input", np.zeros(3, np.float32)),
        Buffer("out", "float32", 3, "output", alias="in0"),
        Buffer("tmp", "uint8", 0, "scratch"),
    )
    sent = Outcome(
        "ok",
        buffers={"out": np.array([1, np.nan, -0.0], np.float32), "tmp": np.zeros(0, np.uint8)},
        findings=(Finding("data-race", "x", lane=3),),
        unwritten={"out": np.array([True, False, True]), "tmp": np.zeros(0, np.bool_)},
        seconds=1.5,
        printed="thread 0: ü\n",
        notes=(Finding("timeout", "y", line=2),),
    )
    got = decode(Job("", (), buffers), _reader(b"".join(encode(sent))))
    assert got.buffers["out"].tobytes() == sent.buffers["out"].tobytes()
    assert got.buffers["tmp"].size == 0
    assert (got.findings, got.notes, got.printed) == (sent.findings, sent.notes, sent.printed)
    assert got.unwritten["out"].tolist() == [True, False, True]


@given(st.binary(max_size=200))
def test_random_headers_give_wire_errors_only(raw: bytes) -> None:
    with contextlib.suppress(WireError):
        decode(job(""), _reader(LENGTH.pack(len(raw)) + raw))


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["out", "ok"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries({"status": st.just("ok") | _JSON}),
    st.dictionaries(st.sampled_from(["buffers", "unwritten", "findings", "changed", "seconds"]), _JSON),
)
def test_random_json_gives_wire_errors_only(status: dict[str, object], rest: dict[str, object]) -> None:
    raw = json.dumps(status | rest).encode()
    with contextlib.suppress(WireError):
        decode(job(""), _reader(LENGTH.pack(len(raw)) + raw + bytes(64)))


def _reader(data: bytes):  # type: ignore[no-untyped-def]
    at = 0

    def read(size: int) -> bytearray:
        nonlocal at
        if at + size > len(data):
            raise WireError("cut off")
        at += size
        return bytearray(data[at - size : at])

    return read
