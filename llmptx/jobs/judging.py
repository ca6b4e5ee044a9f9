"""Judges in processes of their own, one candidate at a time each: the oracles and comparisons use every CPU.

`serve` is such a process: it reads requests from stdin and ends when stdin does, so that no judge outlives a
coordinator that was killed. Knows how to carry a candidate there and a verdict back, not what the judge does.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Literal, Self

from llmptx.record import ENGINE_VERSION, JUDGE_VERSION, Candidate, Level, Stage, Verdict, canonical, digest

Device = Literal["cpu", "cuda"]
OnStage = Callable[[str], None]

# A verdict depends on the code under these names.
_SOURCES = ("record.py", "ptx", "isa", "engine", "toolchain", "run", "verify", "routines")


class JudgeError(RuntimeError):
    """The judge itself failed: no verdict, and not the candidate's fault."""


class Judges:
    """Judge processes, each started when first needed. Threads call `judge`; `close` ends them all.

    most  processes at work at once; whoever comes beyond that waits
    """

    def __init__(self, most: int = 0) -> None:
        self._room = threading.Semaphore(most or os.cpu_count() or 1)
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._mutex = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def judge(self, candidate: Candidate, level: Level, device: Device, on_stage: OnStage) -> Verdict:
        """The verdict on a candidate; `on_stage` is told of each stage in a line. Raises JudgeError."""
        with self._room:
            return self._judge(candidate, level, device, on_stage)

    def _judge(self, candidate: Candidate, level: Level, device: Device, on_stage: OnStage) -> Verdict:
        process = self._take()
        request = {
            "text": candidate.text, "routine": candidate.routine, "dtype": candidate.dtype,
            "level": level, "device": device,
        }  # fmt: skip
        try:
            reply = process.ask(request, on_stage)
        except (OSError, ValueError) as error:
            self._drop(process)
            raise JudgeError(
                f"the judge's process ended before its verdict (exit code {process.code()})"
            ) from error
        with self._mutex:
            self._idle.append(process)
        if "error" in reply:
            raise JudgeError(f"the judge failed: {reply['error']}")
        return Verdict.from_dict(reply["verdict"])

    def close(self) -> None:
        with self._mutex:
            self._closed = True
            processes, self._all, self._idle = self._all, set(), []
        for process in processes:
            process.end()

    def _take(self) -> _Process:
        with self._mutex:
            if self._closed:
                raise JudgeError("the judges have gone home")
            if self._idle:
                return self._idle.pop()
            process = _Process()
            self._all.add(process)
            return process

    def _drop(self, process: _Process) -> None:
        process.end()
        with self._mutex:
            self._all.discard(process)


class _Process:
    """One child that answers a JSON line with a JSON line."""

    def __init__(self) -> None:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", "from llmptx.jobs.judging import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )

    def ask(self, request: dict[str, Any], on_stage: OnStage) -> dict[str, Any]:
        """The reply that ends a request. Raises OSError or ValueError where the child is gone."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(canonical(request).encode() + b"\n")
        self._child.stdin.flush()
        while True:
            reply: dict[str, Any] = json.loads(self._child.stdout.readline())
            if "stage" not in reply:
                return reply
            on_stage(reply["stage"])

    def code(self) -> int | None:
        return self._child.returncode

    def end(self) -> None:
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue
        try:
            self._child.wait(1.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


@functools.cache
def judge_identity() -> str:
    """Names the judge in the key of a kept verdict: its version, and the very code that would run."""
    package = Path(__file__).parents[1]
    total = hashlib.sha256()
    for name in _SOURCES:
        place = package / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            total.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes())
    return f"judge {JUDGE_VERSION}, engine {ENGINE_VERSION}, {total.hexdigest()}"


def verdict_key(candidate: Candidate, spec: str, level: str, device: str) -> str:
    """What a verdict is kept under. The text counts, not only its normal form: findings name its lines."""
    return digest([candidate.hash, candidate.text, spec, judge_identity(), level, device])


def serve() -> None:
    """Judge what comes on stdin until it ends. For a process of its own: it takes over stdout and SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not pass for a reply
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(sys.stdin, requests), daemon=True).start()

    def say(reply: dict[str, Any]) -> None:
        replies.write(canonical(reply) + "\n")
        replies.flush()

    while True:
        try:
            verdict = _judge(json.loads(requests.get()), lambda text: say({"stage": text}))
            say({"verdict": dataclasses.asdict(verdict)})
        except Exception as error:
            traceback.print_exc()
            say({"error": "".join(traceback.format_exception_only(error)).strip()})


def _read(stdin: IO[str], requests: queue.Queue[str]) -> None:
    for line in stdin:
        requests.put(line)
    os._exit(0)  # the coordinator is gone; a verdict under way has nobody to go to


def _judge(request: Mapping[str, Any], say: OnStage) -> Verdict:
    """The judge draws its seed from the candidate, and keeps its worker warm for the next one."""
    from llmptx.verify.judge import verify

    def on_stage(stage: Stage) -> None:
        say(f"{stage.name}: {stage.cases:,} cases" if stage.cases else stage.name)

    return verify(
        request["text"],
        request["routine"],
        request["dtype"],
        request["level"],
        request["device"],
        on_stage=on_stage,
        shrink=True,
    )
