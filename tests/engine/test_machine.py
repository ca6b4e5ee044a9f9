"""LLVM text to machine code: bad text is refused; code made briefly and code made well give the same bits."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import llmptx
from llmptx.engine import machine, warps
from llmptx.ptx.plan import parse_plan
from llmptx.run import cpu
from llmptx.run.job import Buffer, Job, Launch

KERNELS = Path(llmptx.__file__).parent / "llm" / "offline" / "numpy"
UNARY = ("exp", "sin", "tanh", "log2", "sqrt", "rint", "reciprocal")
N = 1 << 13


def test_text_that_breaks_the_rules_of_llvm_is_refused() -> None:
    text = """
    define i32 @run(i1 %c) {
      br i1 %c, label %one, label %other
    one:
      %x = add i32 1, 2
      br label %other
    other:
      ret i32 %x
    }"""
    with pytest.raises(RuntimeError, match="dominate"):
        machine.object_code(text, {}, machine.BRIEF)


def test_equal_code_is_loaded_once() -> None:
    code = machine.object_code("define i32 @run() { ret i32 7 }", {}, machine.FULL)
    assert machine.load(code) is machine.load(bytes(bytearray(code)))
    assert machine.load(code).get_function_address("run")


def bits(seed: int) -> np.ndarray:
    """Every kind of float32, NaNs with their payloads too."""
    return np.random.default_rng(seed).integers(0, 1 << 32, N, np.uint32).view(np.float32)


@pytest.mark.parametrize("routine", UNARY)
def test_code_made_briefly_gives_the_same_bits(routine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = sorted((KERNELS / routine).glob("float32.*.ptx"))[-1].read_text()
    plan = parse_plan(text).launches[0]
    grid = tuple(each.evaluate({"n": N}) for each in plan.grid)
    launch = Launch(plan.entry, grid, plan.block, ("in0", "out", N))
    buffers = (Buffer("in0", "float32", N, "input", bits(3)), Buffer("out", "float32", N, "output"))
    job = Job(text, (launch,), buffers)
    levels = []
    emit = machine.object_code
    monkeypatch.setattr(machine, "object_code", lambda *args: levels.append(args[2]) or emit(*args))
    briefly = cpu.run_job(job)
    monkeypatch.setattr(cpu, "BRIEF_WORK", 0)
    well = cpu.run_job(job)
    assert levels == [machine.BRIEF, machine.FULL]
    assert briefly.status == well.status == "ok"
    assert np.array_equal(*(run.buffers["out"].view(np.uint32) for run in (briefly, well)))


def test_a_warm_process_makes_the_checks_of_whole_warps_one_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = cpu.warm_up()
    made: list[str] = []
    monkeypatch.setattr(machine, "provide", lambda helpers, check: made.extend(helpers))
    next(steps)
    assert len(made) == 1
    assert sum(1 for _ in steps) == len(made) - 1
    forms = itertools.product(("one", "row", "any"), (False, True), warps.TOTALS)
    assert set(made) == {warps.check_name(*form) for form in forms}
