"""What an NVIDIA GPU says of the engine, as one JSON file: `make gpu-evidence`.

Every `gpu` test is run; every integration kernel and every kernel of the offline library runs on the CPU
engine and on the GPU, and their bits are compared; catalogue kernels are timed beside CuPy's own functions.
What the deadline leaves no time for is listed as not run. Exits 5, and writes nothing, where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import llmptx
from llmptx.llm.library import drafts
from llmptx.record import Routine, Signature
from llmptx.routines import catalog, find
from llmptx.run import cuda
from llmptx.run.cpu import run_job
from llmptx.run.job import Job, Outcome
from llmptx.run.worker import CUDA_RUNNER, Pool
from llmptx.verify.inputs import cases, plain
from llmptx.verify.plan_run import PlanError
from llmptx.verify.plan_run import job as job_of
from llmptx.verify.read import read

SCHEMA = "llmptx/gpu-evidence/1"
NO_GPU = 5
ROOT = Path(__file__).parents[1]
DEADLINE = 540.0  # seconds for all of it
TEST_SHARE = 0.4
JOB_SECONDS = 30.0
TIMED = ("add", "exp", "sqrt", "sum", "max", "cumsum", "sort", "matmul")
_FREE = re.compile(r"\.approx|\b(?:atom|red)\.[^;]*\badd\.[^;]*\bb?f(?:16|32|64)")
Run = Callable[[Job], Outcome]


@dataclass(frozen=True)
class Difference:
    """The first word that is not the same on both, and how many are not."""

    buffer: str
    element: int
    cpu: str
    gpu: str
    words: int


@dataclass(frozen=True)
class Row:
    """A kernel on both. outcome: equal; different; bounded, where they differ and the manual leaves room (an
    .approx result, float atomics in any order); cpu or gpu, where that one ended with `what`; not run."""

    kernel: str
    case: str
    outcome: str
    what: str = ""
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class Timing:
    """Milliseconds, the median of launches; compiling, loading and copies are not counted."""

    routine: str
    extents: Mapping[str, int]
    ours: float
    cupy: float


@dataclass
class Evidence:
    """All that is written. `complete`: nothing was left out for want of time."""

    machine: Mapping[str, Any]
    tests: Mapping[str, Any]
    kernels: list[Row] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        counts: dict[str, int] = {}
        for row in self.kernels:
            counts[row.outcome] = counts.get(row.outcome, 0) + 1
        complete = not counts.get("not run") and not self.tests.get("unfinished")
        return {"schema": SCHEMA, "complete": complete, "counts": counts, **asdict(self)}


def first_differences(near: Outcome, far: Outcome) -> tuple[Difference, ...]:
    """One a buffer whose bytes are not the same; any NaN is as good as another."""
    found = []
    for name, ours in near.buffers.items():
        theirs = far.buffers[name]
        word = f"u{ours.itemsize}"
        same = ours.view(word) == theirs.view(word)
        if ours.dtype.kind == "f":
            same |= np.isnan(ours) & np.isnan(theirs)
        at = np.flatnonzero(~same)
        if at.size:
            first = int(at[0])
            found.append(Difference(name, first, str(ours[first]), str(theirs[first]), int(at.size)))
    return tuple(found)


def compared(kernel: str, case: str, job: Job, near: Run, far: Run) -> Row:
    """`job` on both."""
    outcomes = {"cpu": near(job)}
    outcomes["gpu"] = far(job) if outcomes["cpu"].status == "ok" else outcomes["cpu"]
    for device, outcome in outcomes.items():
        if outcome.status != "ok":
            what = "; ".join(f"{f.kind}: {f.message}" for f in outcome.findings) or outcome.status
            return Row(kernel, case, device, what)
    found = first_differences(outcomes["cpu"], outcomes["gpu"])
    how = "equal" if not found else "bounded" if _FREE.search(job.ptx) else "different"
    return Row(kernel, case, how, differences=found)


Work = tuple[str, str, Callable[[], Job]]


def compare_all(work: Iterable[Work], near: Run, far: Run, until: float) -> Iterator[Row]:
    """A row for every piece of work, run or not."""
    for kernel, case, job in work:
        if time.monotonic() > until:
            yield Row(kernel, case, "not run", "the deadline had passed")
            continue
        yield compared(kernel, case, job(), near, far)


def integration_kernels() -> Iterator[Work]:
    """CUDA C++, Triton and Numba of the tests, in every shape that is quick."""
    sys.path.insert(0, str(ROOT))
    from tests.integration import test_kernels  # noqa: F401  registers them
    from tests.integration.compiler import compiled
    from tests.integration.launches import KERNELS, job

    for kernel in KERNELS:
        for shape in kernel.shapes:
            run = kernel(*shape)
            if any(isinstance(a, bytes) and len(a) > 8 for a in run.args):
                continue  # a Launch passes eight bytes a parameter at most
            case = "x".join(map(str, shape))
            yield kernel.name, case, lambda file=kernel.file, run=run: job(compiled(file), run)  # type: ignore[misc]


def offline_kernels() -> Iterator[Work]:
    """The last draft of every routine and dtype, on the quick level's cases."""
    for routine in catalog().values():
        for signature in routine.signatures:
            for text in drafts(routine.name, signature.dtype)[-1:]:
                yield from _cases(routine, signature, text)


def _cases(routine: Routine, signature: Signature, text: str) -> Iterator[Work]:
    plan = read(text, routine, signature).plan
    if plan is None:
        return
    for case in cases(routine, signature, "quick", 0):
        try:
            job = job_of(text, plan, routine, signature, case)
        except PlanError:
            continue
        yield f"{routine.name} {signature.dtype}", case.label, lambda job=job: job  # type: ignore[misc]


def gpu_tests(seconds: float) -> dict[str, Any]:
    """Outcomes of the tests marked `gpu`, by name; `unfinished` where time ran out."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"--junitxml={report}"]
        try:
            subprocess.run(command, cwd=ROOT, timeout=seconds, check=False, capture_output=True)
        except subprocess.TimeoutExpired:
            return {"unfinished": True, "outcomes": {}}
        return {"unfinished": False, "outcomes": test_outcomes(report.read_text())}


def test_outcomes(report: str) -> dict[str, str]:
    """passed, skipped, or how it failed, of every test in a JUnit report."""
    outcomes = {}
    for case in ET.fromstring(report).iter("testcase"):
        child = next(iter(case), None)
        told = "passed" if child is None else f"{child.tag}: {child.get('message', '')}"
        outcomes[f"{case.get('classname')}.{case.get('name')}"] = told
    return outcomes


def timings(until: float) -> Iterator[Timing]:
    """Kernels of the offline library beside CuPy's functions of the same name, float32."""
    import cupy

    rng = np.random.default_rng(0)
    for name in TIMED:
        routine = find(f"numpy.{name}")
        signature = routine.signature("float32")
        text = drafts(routine.name, "float32")[-1]
        plan = read(text, routine, signature).plan
        extents = _extents(routine)
        if plan is None or time.monotonic() > until:
            continue
        case = plain(routine, signature, extents, rng)
        ours = cuda.timed(job_of(text, plan, routine, signature, case))
        theirs = _cupy_time(cupy, name, routine, case.inputs, extents)
        yield Timing(routine.name, extents, ours, theirs)


def _extents(routine: Routine) -> dict[str, int]:
    sizes = {"n": 1 << 22, "outer": 1, "inner": 1, "batch": 1, "m": 512, "k": 512}
    if routine.kind == "matmul":
        sizes["n"] = 512
    return {name: sizes[name] for name in routine.extents}


def _cupy_time(
    cupy: Any, name: str, routine: Routine, inputs: tuple[Any, ...], extents: Mapping[str, int]
) -> float:
    shapes = [(512, 512)] * 2 if routine.kind == "matmul" else [(-1,)] * len(inputs)
    arrays = [cupy.asarray(a).reshape(shape) for a, shape in zip(inputs, shapes, strict=True)]
    return cuda.median_ms(lambda: getattr(cupy, name)(*arrays))


def machine() -> dict[str, Any]:
    """The device and what drives it."""
    import cupy

    number = cupy.cuda.Device().id
    device = cupy.cuda.runtime.getDeviceProperties(number)
    name = device["name"]
    return {
        "device": name.decode() if isinstance(name, bytes) else name,
        "compute_capability": cupy.cuda.Device().compute_capability,
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        "numpy": np.__version__,
        "llmptx": llmptx.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def gather(seconds: float) -> Evidence:
    """Everything, within the time."""
    begun = time.monotonic()
    until = begun + seconds
    evidence = Evidence(machine(), gpu_tests(TEST_SHARE * seconds))
    pool = Pool(1, CUDA_RUNNER, confined=False)
    try:
        for work in (integration_kernels(), offline_kernels()):
            evidence.kernels += compare_all(
                work, run_job, lambda job: pool.run(job, JOB_SECONDS), until - 0.1 * seconds
            )
    finally:
        pool.close()
    evidence.timings += timings(until)
    evidence.seconds = round(time.monotonic() - begun, 1)
    return evidence


def main() -> int:
    arguments = argparse.ArgumentParser(description="Evidence of a GPU, as JSON.")
    arguments.add_argument("--out", type=Path, help="the file; docs/evidence/<device>.json by default")
    arguments.add_argument("--seconds", type=float, default=DEADLINE, help="time for all of it")
    given = arguments.parse_args()
    if not cuda.available():
        print("There is no NVIDIA GPU that CuPy sees here: no evidence was gathered.", file=sys.stderr)
        print("On a machine with one: pip install -e '.[dev,gpu]', then make gpu-evidence.", file=sys.stderr)
        return NO_GPU
    evidence = gather(given.seconds)
    name = str(evidence.machine["device"]).lower().replace(" ", "-")
    out = given.out or ROOT / "docs" / "evidence" / f"{name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(evidence.to_json(), indent=1) + "\n")
    told = evidence.to_json()
    print(f"{out}: {told['counts']}, complete: {told['complete']}")
    return 0 if set(told["counts"]) <= {"equal", "bounded"} and told["complete"] else 1


if __name__ == "__main__":
    sys.exit(main())
