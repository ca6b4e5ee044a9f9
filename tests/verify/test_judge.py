"""The judge's reactions, stage by stage, to outcomes that a runner of our own plays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

import llmptx
from llmptx.record import TARGETS, Stage, Verdict
from llmptx.routines import UnknownRoutine
from llmptx.run import cuda
from llmptx.run.worker import Pool
from llmptx.toolchain.ptxas import find_ptxas
from llmptx.verify import judge, trial
from llmptx.verify.certificate import CertificateError, certificate, check
from llmptx.verify.judge import LevelError, verify
from tests.verify.kernels import ADD, NEGATIVE, changed, line_of

pytestmark = pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")

STAGES = ["read", "assemble", "quick", "full", "sanitizers", "memory", "schedules", "approx", "widths"]
STAGES += ["huge", "proof"]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, "tests.verify.acted:run_job") as pool:
        yield pool


def acting(act: str, text: str = ADD) -> str:
    return f"// act: {act}\n{text}"


def judged(pool: Pool, act: str, text: str = ADD) -> Verdict:
    return verify(acting(act, text), "numpy.add", "float32", pool=pool)


def test_a_right_answer_passes_every_stage(pool: Pool) -> None:
    verdict = judged(pool, "right")
    assert verdict.passed, verdict.findings
    assert [s.name for s in verdict.stages] == STAGES
    assert all(s.passed for s in verdict.stages)
    assert {r.target for r in verdict.resources} == set(TARGETS)
    assert verdict.accuracy is not None
    assert verdict.accuracy.max_ulp == 0
    assert verdict.accuracy.checked > 10_000
    assert Verdict.from_dict(json.loads(verdict.to_json())) == verdict


def test_the_same_text_gets_the_same_verdict_and_another_text_other_inputs(pool: Pool) -> None:
    first, again = (judged(pool, "last-off") for _ in range(2))
    assert first.findings == again.findings
    other = judged(pool, "last-off", changed(ADD, ("add.rn.f32", "add.f32")))
    assert other.findings[0].message != first.findings[0].message


FAULTS = [
    ("last-off", "quick", "mismatch"),
    ("unwritten", "quick", "unwritten-output"),
    ("crash", "quick", "out-of-bounds"),
    ("silent-crash", "quick", "crash"),
    ("writes-input", "quick", "input-modified"),
    ("only-large", "full", "mismatch"),
    ("sanitizer", "sanitizers", "data-race"),
    ("mask", "sanitizers", "unwritten-output"),
    ("reads-poison", "memory", "nondeterminism"),
    ("minds-alignment", "memory", "mismatch"),
    ("minds-aliasing", "memory", "mismatch"),
    ("minds-order", "schedules", "nondeterminism"),
    ("minds-width", "widths", "nondeterminism"),
]


@pytest.mark.parametrize(("act", "stage", "kind"), FAULTS, ids=[act for act, _, _ in FAULTS])
def test_a_fault_ends_the_stage_that_sees_it(pool: Pool, act: str, stage: str, kind: str) -> None:
    verdict = judged(pool, act)
    assert not verdict.passed
    assert [s.name for s in verdict.stages] == STAGES[: STAGES.index(stage) + 1]
    assert [s.passed for s in verdict.stages] == [True] * (len(verdict.stages) - 1) + [False]
    first = verdict.findings[0]
    assert first.kind == kind
    assert first.case
    assert first.reproduce == "llmptx verify FILE.ptx --routine numpy.add --dtype float32 --level full"


def test_a_crash_named_by_the_sanitizers_is_not_told_twice(pool: Pool) -> None:
    assert [f.kind for f in judged(pool, "crash").findings] == ["out-of-bounds"]


def test_a_hang_is_a_timeout(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 0.3)
    assert {f.kind for f in judged(pool, "hang").findings} == {"timeout"}


def test_either_end_of_an_approximation_is_tried_where_there_is_one(pool: Pool) -> None:
    assert judged(pool, "minds-bound").passed
    text = changed(ADD, ("    add.rn.f32", "    ex2.approx.f32 %f2, %f0;\n    add.rn.f32"))
    verdict = judged(pool, "minds-bound", text)
    assert verdict.stages[-1].name == "approx"
    assert "high end" in verdict.findings[0].message


def test_aliasing_is_tried_unless_the_text_excludes_it(pool: Pool) -> None:
    assert judged(pool, "works-in-place").passed
    assert judged(pool, "minds-aliasing", "//@ noalias\n" + ADD).passed


def test_alignment_is_tried_down_to_what_the_text_asks_for(pool: Pool) -> None:
    assert judged(pool, "minds-alignment", "//@ align 16\n" + ADD).passed


def test_ptxas_has_its_say_with_the_line(pool: Pool) -> None:
    text = changed(ADD, (".version 8.0", ".version 6.0"))
    verdict = judged(pool, "right", text)
    assert [s.name for s in verdict.stages] == ["read", "assemble"]
    assert {f.kind for f in verdict.findings} == {"assemble"}
    assert verdict.findings[0].line == line_of(acting("right", text), ".target")


def test_quick_stops_after_the_small_shapes(pool: Pool) -> None:
    seen: list[Stage] = []
    verdict = verify(acting("only-large"), "add", "float32", level="quick", pool=pool, on_stage=seen.append)
    assert verdict.passed
    assert verdict.routine == "numpy.add"
    assert tuple(seen) == verdict.stages
    assert [s.name for s in seen] == STAGES[:3]


def test_progress_is_told(pool: Pool) -> None:
    told: list[tuple[str, int, int]] = []
    verify(acting("right"), "numpy.add", "float32", pool=pool, on_progress=lambda *t: told.append(t))
    assert ("quick", 0, 0) in told
    assert ("quick", 1, 0) in told
    assert list(dict.fromkeys(name for name, _, _ in told)) == STAGES


def test_a_seed_changes_the_inputs(pool: Pool) -> None:
    messages = {
        verify(acting("last-off"), "numpy.add", "float32", seed=seed, pool=pool).findings[0].message
        for seed in (1, 2)
    }
    assert len(messages) == 2


def test_exhaustive_finds_the_one_value_that_is_wrong(pool: Pool) -> None:
    told: list[tuple[str, int, int]] = []
    verdict = verify(
        acting("one-value", NEGATIVE),
        "numpy.negative",
        "float32",
        level="exhaustive",
        pool=pool,
        on_progress=lambda *t: told.append(t),
    )
    assert [s.name for s in verdict.stages] == [*STAGES, "exhaustive"]
    assert [f.kind for f in verdict.findings] == ["mismatch"]
    assert verdict.findings[0].element == 0x0B01
    assert verdict.findings[0].case == "every float32 from 0x002a0000"
    assert told[-1] == ("exhaustive", 2, 4096)


def test_wrong_use_is_an_error_of_the_caller() -> None:
    with pytest.raises(UnknownRoutine, match=r"numpy\.add"):
        verify(ADD, "numpy.adds", "float32")
    with pytest.raises(KeyError, match="float32"):
        verify(ADD, "numpy.add", "float31")
    with pytest.raises(LevelError, match="quick, full"):
        verify(ADD, "numpy.add", "float32", level="thorough")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no device 'gpu'"):
        verify(ADD, "numpy.add", "float32", device="gpu")  # type: ignore[arg-type]
    with pytest.raises(LevelError, match="one 32-bit input"):
        verify(ADD, "numpy.add", "float32", level="exhaustive")


def test_a_missing_gpu_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "available", lambda: False)
    with pytest.raises(cuda.NoGpuError, match="NVIDIA GPU"):
        verify(ADD, "numpy.add", "float32", device="cuda")


def test_the_gpu_must_give_the_engine_s_bits(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "available", lambda: True)
    with Pool(1, "tests.verify.acted:run_job_a_bit_off") as other:
        monkeypatch.setattr(judge, "_shared", lambda device: other)
        verdict = verify(acting("right"), "numpy.add", "float32", device="cuda", pool=pool)
    assert [s.name for s in verdict.stages] == [*STAGES, "gpu"]
    assert verdict.findings[0].kind == "nondeterminism"
    assert "on the GPU" in verdict.findings[0].message
    assert verdict.findings[0].reproduce.endswith("--device cuda")


def test_no_worker_starts_for_a_text_that_is_not_read() -> None:
    class Nobody:
        def run(self, *_: object) -> None:
            pytest.fail("a candidate ran that could not be read")

    verdict = verify("nonsense", "numpy.add", "float32", pool=Nobody())  # type: ignore[arg-type]
    assert [f.kind for f in verdict.findings] == ["parse"]


def test_the_package_and_the_function_share_a_name() -> None:
    code = (
        "import llmptx.verify.judge, llmptx; v = llmptx.verify('x', 'numpy.add', 'float32'); print(v.passed)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert "verify" in dir(llmptx)
    with pytest.raises(AttributeError, match="no attribute 'vrfy'"):
        _ = llmptx.vrfy  # type: ignore[attr-defined]


def test_a_certificate_binds_the_text(pool: Pool) -> None:
    text = acting("right")
    given = certificate(verify(text, "numpy.add", "float32", pool=pool))
    assert given == certificate(verify(text, "numpy.add", "float32", pool=pool))
    check(json.loads(json.dumps(given)), text)
    check(
        given,
        changed(
            text, ("%rd6", "%offset"), ("    .reg .pred %p;", "    .reg .pred %p;\n    .reg .b64 %offset;")
        ),
    )
    with pytest.raises(CertificateError, match="the text is"):
        check(given, changed(text, ("add.rn.f32", "sub.rn.f32")))
    with pytest.raises(CertificateError, match="changed after"):
        check({**given, "accuracy": None}, text)
    with pytest.raises(CertificateError, match="schema"):
        check({**given, "schema": "llmptx/certificate/2"}, text)
    with pytest.raises(CertificateError, match="did not pass"):
        certificate(verify(acting("last-off"), "numpy.add", "float32", pool=pool))
