"""From plan and case to job, and which cases a stage picks."""

from __future__ import annotations

import numpy as np
import pytest

from llmptx.ptx.plan import parse_plan
from llmptx.record import Routine
from llmptx.routines import find
from llmptx.verify.inputs import Case
from llmptx.verify.plan_run import PlanError, Setup, blocks_of, element_alignment, job, sizes
from llmptx.verify.stages import varied
from llmptx.verify.trial import Kept, same

ADD = find("numpy.add")
SUM = find("numpy.sum")
EQUAL = find("numpy.equal")
DTYPE = "float32"

BODY = ".version 8.0\n.target sm_80\n.address_size 64\n"


def add_case(n: int) -> Case:
    return Case(f"n={n}", {"n": n}, (np.ones(n, np.float32), np.ones(n, np.float32)))


def job_of(header: str, case: Case, routine: Routine = ADD, setup: Setup | None = None):  # type: ignore[no-untyped-def]
    plan = parse_plan(header + BODY)
    return job("text", plan, routine, routine.signature(DTYPE), case, setup or Setup())


def test_a_job_has_the_launches_of_the_plan_in_numbers() -> None:
    made = job_of("//@ launch entry=k grid=ceil_div(n,256),2 block=32,8 shared=64\n", add_case(1000))
    (launch,) = made.launches
    assert (launch.entry, launch.grid, launch.block, launch.shared) == ("k", (4, 2, 1), (32, 8, 1), 64)
    assert launch.args == ("in0", "in1", "out", 1000)


def test_a_job_holds_inputs_and_sizes_and_nothing_that_tells_the_answer() -> None:
    made = job_of("//@ launch entry=k grid=1 block=1\n", add_case(5))
    assert [(b.name, b.role, b.size, b.data is None) for b in made.buffers] == [
        ("in0", "input", 5, False),
        ("in1", "input", 5, False),
        ("out", "output", 5, True),
    ]


def test_scratch_is_sized_by_the_plan_and_passed_by_name() -> None:
    header = (
        "//@ launch entry=a grid=1 block=1 args=in,part,n*outer\n"
        "//@ launch entry=b grid=1 block=1 args=part,out,inner\n"
        "//@ buffer part f64 ceil_div(n,4)\n"
    )
    case = Case("", {"outer": 2, "n": 9, "inner": 3}, (np.zeros(54, np.float32),))
    made = job_of(header, case, SUM)
    assert [launch.args for launch in made.launches] == [("in0", "part", 18), ("part", "out", 3)]
    part = made.buffers[-1]
    assert (part.name, part.dtype, part.size, part.role) == ("part", "float64", 3, "scratch")
    assert [b.size for b in made.buffers] == [54, 6, 3]


def test_a_launch_with_a_zero_in_its_grid_is_skipped() -> None:
    assert job_of("//@ launch entry=k grid=ceil_div(n,256) block=256\n", add_case(0)).launches == ()


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("//@ launch entry=k grid=n-5 block=1\n", "abi"),
        ("//@ launch entry=k grid=ceil_div(n,n-1) block=1\n", "abi"),
        ("//@ launch entry=k grid=1,n*70000 block=1\n", "abi"),
        ("//@ launch entry=k grid=n*2000000000 block=1024\n", "resource-limit"),
        ("//@ launch entry=k grid=1 block=1\n//@ buffer big f64 n*1000000000\n", "resource-limit"),
    ],
)
def test_a_plan_that_cannot_run_for_the_extents_is_a_finding_with_its_line(header: str, kind: str) -> None:
    with pytest.raises(PlanError) as caught:
        job_of(header, add_case(1))
    assert caught.value.finding.kind == kind
    assert caught.value.finding.line == header.count("\n")
    assert "n=1" in caught.value.finding.message


def test_a_setup_reaches_the_job() -> None:
    setup = Setup(
        check=True, seed=3, width=1, approx="low", guard="before", poison=1, offsets={"in1": 4}, alias="in0"
    )
    made = job_of("//@ launch entry=k grid=1 block=1\n", add_case(2), setup=setup)
    assert (made.check, made.seed, made.width, made.approx, made.guard) == (True, 3, 1, "low", "before")
    assert [(b.offset, b.alias) for b in made.buffers] == [(0, ""), (4, ""), (0, "in0")]
    assert made.buffers[2].poison == 1


def test_a_bool_is_a_byte_in_a_job() -> None:
    made = job_of("//@ launch entry=k grid=1 block=1\n", add_case(2), EQUAL)
    assert made.buffers[2].dtype == "uint8"


def test_edges_are_the_plan_s_own_numbers() -> None:
    plan = parse_plan(
        "//@ launch entry=k grid=ceil_div(n,96),min(n,7) block=32,8\n//@ buffer b f32 n*5\n" + BODY
    )
    assert blocks_of(plan) == (5, 7, 8, 32, 96, 256)


def test_alignment_is_the_plan_s_or_the_element_s() -> None:
    launch = "//@ launch entry=k grid=1 block=1\n"
    signature = EQUAL.signature("float64")
    assert element_alignment(signature, parse_plan(launch + BODY)) == {"in0": 8, "in1": 8, "out": 1}
    aligned = parse_plan("//@ align 16\n" + launch + BODY)
    assert element_alignment(signature, aligned) == {"in0": 16, "in1": 16, "out": 16}


def test_sizes_are_the_catalogue_s() -> None:
    assert sizes(SUM, {"outer": 2, "n": 3, "inner": 5}) == (30, 10)
    assert sizes(find("numpy.dot"), {"n": 7}) == (7, 7, 1)


def test_varied_cases_differ_in_shape_and_take_in_both_ends() -> None:
    kept = [Kept(add_case(n), (np.zeros(n, np.float32),)) for n in (*range(60), 5000, 5000, 7)]
    chosen = [k.case.extents["n"] for k in varied(kept, 10)]
    assert len(chosen) == len(set(chosen)) == 10
    assert chosen[:5] == [0, 1, 2, 3, 4]
    assert chosen[-1] == 5000
    assert [k.case.extents["n"] for k in varied(kept, 2, largest=True)] == [5000, 59]
    assert len(varied(kept[:3], 10)) == 3


def test_same_is_bit_for_bit_but_for_nan() -> None:
    nan = np.array([0x7FC00000, 0xFFC00001], np.uint32).view(np.float32)
    assert same(nan[:1], nan[1:])
    assert not same(np.array([0.0]), np.array([-0.0]))
    assert not same(np.array([1, 2]), np.array([1, 3]))
    assert same(np.array([], np.float32), np.array([], np.float32))
