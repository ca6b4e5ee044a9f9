"""The judge: text and routine in, verdict out. Stages in order of cost, each able to end it, each timed.

    read  assemble  quick | full sanitizers memory schedules approx widths huge proof | exhaustive | gpu

The same candidate is judged on the same inputs every time, and no candidate can know them: the seed is drawn
from the hash of its own text.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.metadata
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np

from llmptx.record import TARGETS, Accuracy, Finding, Level, Resources, Routine, Signature, Stage, Verdict
from llmptx.routines import find
from llmptx.run import cuda
from llmptx.run.job import Job, Outcome
from llmptx.run.worker import CPU_RUNNER, CUDA_RUNNER, Pool
from llmptx.toolchain.ptxas import assemble_all
from llmptx.toolchain.ptxas import version as ptxas_version
from llmptx.verify import every_input, exhaustive, huge, proof, stages
from llmptx.verify.read import Reading, read
from llmptx.verify.shrink import describe
from llmptx.verify.stages import Result, Tick
from llmptx.verify.trial import SECONDS, Trial, smallest

Device = Literal["cpu", "cuda"]
REGISTER_FILE = 65536
MAX_WORKERS = 8

OnStage = Callable[[Stage], None]
OnProgress = Callable[[str, int, int], None]


class Runs(Protocol):
    """A Worker, or a Pool, which has a `size` and lets that many threads run at once."""

    def run(self, job: Job, timeout: float) -> Outcome: ...


class LevelError(ValueError):
    """A level that this routine and dtype have not."""


def verify(
    ptx_text: str,
    routine_name: str,
    dtype: str,
    level: Level = "full",
    device: Device = "cpu",
    seed: int | None = None,
    pool: Runs | None = None,
    *,
    on_stage: OnStage | None = None,
    on_progress: OnProgress | None = None,
    file: str = "FILE.ptx",
    shrink: bool = False,
    brief: bool = False,
    seconds: float = SECONDS,
    targets: Sequence[str] = TARGETS,
) -> Verdict:
    """Judges a candidate; whatever is wrong with it is in the verdict, never raised.

    seed         of the inputs; None draws it from the candidate itself, so that a verdict can be had again
    pool         workers to run in; None for one that this process keeps
    on_stage     called after each stage
    on_progress  called with (stage, cases done, cases in all or 0) while one runs
    file         how the reproducing command names the text
    shrink       whether to spend a second more on a failing case to find a small one like it
    brief        to say no more of a failure than that it is one: half the time
    seconds      one run may take before it counts as one that hangs
    targets      to assemble for

    Raises UnknownRoutine, KeyError for a dtype the routine has not, LevelError, ToolchainMissing, NoGpuError.
    """
    routine = find(routine_name)
    signature = routine.signature(dtype)
    _check_level(level, routine, signature)
    _check_device(device)
    command = f"llmptx verify {file} --routine {routine.name} --dtype {dtype} --level {level}"
    if device != "cpu":
        command += f" --device {device}"
    judged = _Verdict(routine, signature, command, on_stage, on_progress or (lambda *_: None))

    reading = judged.read(ptx_text)
    if judged.passed:
        judged.stage("assemble", lambda tick: judged.assemble(ptx_text, reading, targets))
    trial: Trial | None = None
    if judged.passed and reading.plan is not None:
        runs = pool or _shared("cpu")
        secret = seed if seed is not None else _seed(reading.hash, routine.spec_hash(dtype))
        trial = Trial(ptx_text, routine, signature, reading, reading.plan, runs.run, secret)
        trial.lanes, trial.seconds, trial.brief = getattr(runs, "size", 1), seconds, brief
        for name, stage in _stages(level):
            judged.stage(name, lambda tick, stage=stage, trial=trial: stage(trial, tick))  # type: ignore[misc]
            if not judged.passed:
                break
        if judged.passed and device == "cuda":
            on_gpu = replace(trial, run=_shared("cuda").run)
            judged.stage("gpu", lambda tick: stages.hardware(on_gpu, tick))
    accuracy = trial.accuracy() if trial else None
    if shrink and trial and not judged.passed:
        judged.shrink(trial)
    verdict = judged.verdict(level, reading.hash, device, accuracy)
    return replace(verdict, seed=trial.seed if trial else None, tools=tools())


def _check_level(level: Level, routine: Routine, signature: Signature) -> None:
    if level not in ("quick", "full", "exhaustive"):
        raise LevelError(f"there is no level {level!r}; there are quick, full and exhaustive")
    unary = routine.kind == "elementwise" and signature.inputs in [(dtype,) for dtype in exhaustive.DTYPES]
    if level == "exhaustive" and not unary:
        takes = ", ".join(signature.inputs)
        raise LevelError(
            f"exhaustive is for routines of one 32-bit input; {routine.name} {signature.dtype} takes {takes}"
        )


def _check_device(device: Device) -> None:
    if device not in ("cpu", "cuda"):
        raise ValueError(f"there is no device {device!r}; there are cpu and cuda")
    if device == "cuda" and not cuda.available():
        raise cuda.NoGpuError("device 'cuda' needs an NVIDIA GPU with its driver, and CuPy; use device='cpu'")


def _stages(level: Level) -> Iterator[tuple[str, Callable[[Trial, Tick], Result]]]:
    yield "quick", stages.quick
    if level == "quick":
        return
    yield "full", stages.full
    yield "sanitizers", stages.sanitizers
    yield "memory", stages.memory
    yield "schedules", stages.schedules
    yield "approx", stages.approximations
    yield "widths", stages.widths
    yield "huge", huge.huge
    yield "proof", proof.proof
    if level == "exhaustive":
        yield "exhaustive", every_input.exhaustive


def _seed(candidate: str, spec: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{candidate} {spec}".encode()).digest()[:6], "little")


class _Verdict:
    """The verdict as it grows, stage by stage."""

    def __init__(
        self,
        routine: Routine,
        signature: Signature,
        command: str,
        on_stage: OnStage | None,
        on_progress: OnProgress,
    ) -> None:
        self._routine = routine
        self._signature = signature
        self._command = command
        self._on_stage = on_stage
        self._on_progress = on_progress
        self._findings: list[Finding] = []
        self._stages: list[Stage] = []
        self._resources: tuple[Resources, ...] = ()

    @property
    def passed(self) -> bool:
        return not self._findings

    def stage(self, name: str, work: Callable[[Tick], Result]) -> None:
        began = time.perf_counter()
        self._on_progress(name, 0, 0)
        result = work(lambda done, total: self._on_progress(name, done, total))
        seconds = round(time.perf_counter() - began, 6)
        self._findings += [f if f.reproduce else replace(f, reproduce=self._command) for f in result.findings]
        stage = Stage(name, not result.findings, result.cases, seconds, result.note)
        self._stages.append(stage)
        if self._on_stage:
            self._on_stage(stage)

    def shrink(self, trial: Trial) -> None:
        """Adds a small counterexample to the first finding; its time counts as the last stage's."""
        began = time.perf_counter()
        shrunk = smallest(trial, self._findings)
        if shrunk is not None:
            words = describe(self._routine, shrunk)
            self._findings[0] = replace(self._findings[0], counterexample=words)
        last = self._stages[-1]
        self._stages[-1] = replace(last, seconds=round(last.seconds + time.perf_counter() - began, 6))

    def read(self, text: str) -> Reading:
        """The first stage."""
        taken: list[Reading] = []

        def work(tick: Tick) -> Result:
            taken.append(read(text, self._routine, self._signature))
            return Result(taken[0].findings, 0)

        self.stage("read", work)
        return taken[0]

    def assemble(self, text: str, reading: Reading, targets: Sequence[str]) -> Result:
        """ptxas for every target; its report goes into the verdict."""
        assemblies = assemble_all(text, targets)
        self._resources = tuple(r for a in assemblies for r in a.resources)
        found = []
        for target, assembly in zip(targets, assemblies, strict=True):
            for line, message in assembly.errors:
                place = (line, 1) if line else (0, 0)
                found.append(
                    Finding("assemble", f"ptxas for {target}: {message}", line=place[0], column=place[1])
                )
            if assembly.errors:
                break  # the other targets mostly repeat it
        if not found:
            found = list(_too_many_registers(reading, self._resources))
        return Result(tuple(found[:20]), len(targets))

    def verdict(self, level: Level, candidate: str, device: str, accuracy: Accuracy | None) -> Verdict:
        return Verdict(
            routine=self._routine.name,
            dtype=self._signature.dtype,
            level=level,
            candidate=candidate,
            spec=self._routine.spec_hash(self._signature.dtype),
            passed=self.passed,
            findings=tuple(self._findings),
            stages=tuple(self._stages),
            resources=self._resources,
            accuracy=_finite(accuracy),
            device=device,
        )


@lru_cache(maxsize=1)
def tools() -> str:
    """Versions of what has a part in a verdict: where they differ, so may registers, or a last bit."""
    packages = ("numpy", "scipy", "gmpy2", "llvmlite")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return ", ".join([f"python {platform.python_version()}", *versions, f"ptxas {ptxas_version()}"])


def _finite(accuracy: Accuracy | None) -> Accuracy | None:
    """JSON has no infinity: an error past all measure is the largest number there is."""
    if accuracy is None or np.isfinite(accuracy.max_ulp):
        return accuracy
    return replace(accuracy, max_ulp=float(np.finfo(np.float64).max))


def _too_many_registers(reading: Reading, resources: tuple[Resources, ...]) -> Iterator[Finding]:
    """A block whose threads together need more registers than a multiprocessor has cannot be launched.

    Registers are given to warps in units of 256 (CUDA C++ Programming Guide, compute capabilities).
    """
    for launch in reading.plan.launches if reading.plan else ():
        warps = -(-launch.block[0] * launch.block[1] * launch.block[2] // 32)
        for used in resources:
            if used.entry == launch.entry and warps * (-(-used.registers * 32 // 256) * 256) > REGISTER_FILE:
                message = (
                    f"{used.registers} registers each on {used.target}: too many for {warps * 32} threads: "
                    f"use a smaller block or `.maxntid {warps * 32}, 1, 1`"
                )
                yield Finding("resource-limit", message, line=launch.line, column=1)
                return


_lock = threading.Lock()
_pools: dict[str, Pool] = {}


def _shared(device: Device) -> Pool:
    """The pool this process keeps for callers who bring none; closed at exit. Workers start when needed."""
    with _lock:
        if device not in _pools:
            runner = CPU_RUNNER if device == "cpu" else CUDA_RUNNER
            workers = min(MAX_WORKERS, os.cpu_count() or 1) if device == "cpu" else 1
            _pools[device] = Pool(workers, runner, confined=device == "cpu")
            atexit.register(_pools[device].close)
        return _pools[device]
