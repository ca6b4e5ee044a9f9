"""The launch plan of a text's header: every rule kept, every rule broken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx.ptx import PtxError
from llmptx.ptx.plan import ONE, Expr, Plan, PlanBuffer, PlanLaunch, parse_header, parse_plan, render
from llmptx.ptx.types import Type

CODE = ".version 8.0\n.target sm_80\n"
LAUNCH = "//@ launch entry=k grid=1 block=256\n"
N = Expr("name", name="n")


def _int(value: int) -> Expr:
    return Expr("int", value)


def _grid(text: str) -> Expr:
    return parse_plan(f"//@ launch entry=k grid={text} block=1\n").launches[0].grid[0]


def test_a_header_is_read_with_all_it_may_say() -> None:
    plan = parse_plan(
        "// a kernel\n"
        "//@ launch entry=reduce grid=ceil_div(n,2048),outer block=256,2 shared=1024\n"
        "\n"
        "  //@ launch block=256 grid=1 entry=finish args=partial,out,ceil_div(n,2048),n*2  \r\n"
        "//@ buffer partial f32 ceil_div(n,2048)*outer\n"
        "//@\talign 16\n"
        "/*\n//@ inside a comment\n*/\n"
        "//@ noalias\n" + CODE
    )
    blocks = Expr("ceil_div", operands=(N, _int(2048)))
    outer = Expr("name", name="outer")
    assert plan == Plan(
        (
            PlanLaunch("reduce", (blocks, outer, ONE), (256, 2, 1), 1024),
            PlanLaunch(
                "finish",
                (ONE, ONE, ONE),
                (256, 1, 1),
                0,
                ("partial", "out", blocks, Expr("*", operands=(N, _int(2)))),
            ),
        ),
        (PlanBuffer("partial", Type.parse("f32"), Expr("*", operands=(blocks, outer))),),
        16,
        True,
    )
    assert [launch.line for launch in plan.launches] == [2, 4]
    assert plan.buffers[0].line == 5


def test_a_plan_of_one_line_leaves_the_rest_unsaid() -> None:
    assert parse_plan(LAUNCH + CODE) == Plan((PlanLaunch("k", (ONE, ONE, ONE), (256, 1, 1)),))


def test_a_text_without_header_lines_has_no_header() -> None:
    assert parse_header(f"// @ launch\n{CODE}// the end\n") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ceil_div(n,32)", 4),
        ("ceil_div(96,32)", 3),
        ("n-2*k+1", 95),
        ("n-(k-1)", 98),
        ("(n+1)*k", 303),
        ("min(n,max(k,7))", 7),
        ("k-n", -97),
        ("ceil_div(0,32)", 0),
        ("max(1,ceil_div(n*k,256))", 2),
    ],
)
def test_an_expression_has_the_value_of_its_arithmetic(text: str, value: int) -> None:
    assert _grid(text).evaluate({"n": 100, "k": 3}) == value


def test_an_expression_knows_its_names() -> None:
    assert _grid("min(n*2,ceil_div(outer,inner))+n").names == {"n", "outer", "inner"}


@pytest.mark.parametrize(
    ("text", "message"), [("m", "'m' is no extent"), ("ceil_div(n,n-n)", "divides by 0")]
)
def test_an_expression_without_a_value_says_why(text: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        _grid(text).evaluate({"n": 100})


@pytest.mark.parametrize(
    ("header", "line", "column", "message"),
    [
        ("//@ launch entry=k grid=1 block=256 grid=2", 1, 37, "grid is given twice"),
        ("//@ launch entry=k grid=1 block=256 speed=9", 1, 37, "no key 'speed'"),
        ("//@ launch entry=k grid=1 block=256 fast", 1, 37, "expected key=value"),
        (
            "//@ launch entry=k grid=ceil_div(n, 2) block=256",
            1,
            37,
            "expected key=value with no blank inside",
        ),
        ("//@ launch grid=1 block=256", 1, 1, "no entry="),
        ("//@ launch entry=k block=256", 1, 1, "no grid="),
        ("//@ launch entry=k grid=1", 1, 1, "no block="),
        ("//@ launch entry=k+1 grid=1 block=1", 1, 18, "no name of an entry"),
        ("//@ launch entry= grid=1 block=1", 1, 18, "no name of an entry"),
        ("//@ launch entry=k grid=1,1,1,1 block=1", 1, 25, "one to three values"),
        ("//@ launch entry=k grid= block=1", 1, 25, "found nothing more"),
        ("//@ launch entry=k grid=1, block=1", 1, 27, "found nothing more"),
        ("//@ launch entry=k grid=1 block=1025", 1, 33, "1 to 1024 threads"),
        ("//@ launch entry=k grid=1 block=32,33", 1, 33, "1 to 1024 threads"),
        ("//@ launch entry=k grid=1 block=0", 1, 33, "1 to 1024 threads"),
        ("//@ launch entry=k grid=1 block=1,1,65", 1, 33, "64 along z"),
        ("//@ launch entry=k grid=1 block=n", 1, 33, "plain decimal integer"),
        ("//@ launch entry=k grid=1 block=-1", 1, 33, "plain decimal integer"),
        ("//@ launch entry=k grid=1 block=1 shared=0x10", 1, 42, "plain decimal integer"),
        ("//@ launch entry=k grid=n/2 block=1", 1, 26, "'/' cannot stand"),
        ("//@ launch entry=k grid=-n block=1", 1, 25, "found '-'"),
        ("//@ launch entry=k grid=010 block=1", 1, 25, "plain decimal integer"),
        ("//@ launch entry=k grid=9999999999999999999 block=1", 1, 25, "plain decimal integer"),
        ("//@ launch entry=k grid=pow(n,2) block=1", 1, 25, "no function 'pow'"),
        ("//@ launch entry=k grid=min(n) block=1", 1, 30, "expected ',', found"),
        ("//@ launch entry=k grid=min block=1", 1, 28, r"expected '\(' after min"),
        ("//@ launch entry=k grid=(n block=1", 1, 27, r"expected '\)'"),
        ("//@ launch entry=k grid=n) block=1", 1, 26, "expected the end of the expression"),
        ("//@ launch entry=k grid=n.x block=1", 1, 26, "'.' cannot stand"),
        (f"//@ launch entry=k grid={'(' * 99}n block=1", 1, 58, "nested more than"),
        (f"//@ launch entry=k grid={'n+' * 999}n block=1", 1, 25, "too long"),
        ("//@ launch entry=k grid=1 block=1 args=", 1, 40, "found nothing more"),
        ("//@ launch entry=k grid=1 block=1 args=in0,,out", 1, 44, "found nothing more"),
        ("//@ buffer partial f32", 1, 1, "a name, a type and a number"),
        ("//@ buffer partial f32 n 4", 1, 1, "a name, a type and a number"),
        ("//@ buffer out f32 n", 1, 12, "'out' cannot name a buffer"),
        ("//@ buffer in0 f32 n", 1, 12, "'in0' cannot name a buffer"),
        ("//@ buffer min f32 n", 1, 12, "'min' cannot name a buffer"),
        ("//@ buffer a pred n", 1, 14, "'pred' is no type of a buffer"),
        ("//@ buffer a f32 n\n//@ buffer a f32 n", 2, 12, "'a' is given twice"),
        ("//@ align 3", 1, 11, "a power of two from 1 to 256"),
        ("//@ align 512", 1, 11, "a power of two from 1 to 256"),
        ("//@ align", 1, 1, "align takes one number"),
        ("//@ align 16\n//@ align 16", 2, 5, "align is given twice"),
        ("//@ noalias\n//@ noalias", 2, 5, "noalias is given twice"),
        ("//@ noalias in0", 1, 13, "nothing stands after noalias"),
        ("//@ import os", 1, 5, "'import' is no header line"),
        ("//@", 1, 1, "write a blank and launch"),
        ("//@launch entry=k grid=1 block=1", 1, 1, "write a blank and launch"),
        ("//@ align 16\x0b", 1, 1, "printable characters only"),
        ("//@ align 16\r//@ noalias", 1, 1, "printable characters only"),
        ("/* x */ //@ align 16", 1, 9, "stands alone on its line"),
    ],
)
def test_a_broken_rule_is_refused_where_it_is_broken(
    header: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(PtxError, match=message) as caught:
        parse_plan(f"{header}\n{LAUNCH}{CODE}", "k.ptx")
    assert (caught.value.span.line, caught.value.span.column) == (line, column)
    assert str(caught.value).startswith(f"k.ptx:{line}:{column}: ")


@pytest.mark.parametrize("late", [".version 8.0\n//@ noalias\n", ".version 8.0 //@ noalias\n"])
def test_a_header_line_below_the_first_line_of_code_is_refused(late: str) -> None:
    with pytest.raises(PtxError, match="above the first line of code"):
        parse_plan(LAUNCH + late)


def test_a_text_without_a_launch_has_no_plan() -> None:
    with pytest.raises(PtxError, match="no launch line"):
        parse_plan(f"//@ noalias\n{CODE}")


expressions = st.recursive(
    st.one_of(
        st.integers(0, 10**18 - 1).map(_int),
        st.sampled_from(["n", "outer", "k_1"]).map(lambda n: Expr("name", name=n)),
    ),
    lambda inner: st.builds(
        lambda operator, a, b: Expr(operator, operands=(a, b)),
        st.sampled_from(["+", "-", "*", "ceil_div", "min", "max"]),
        inner,
        inner,
    ),
    max_leaves=8,
)
arguments = st.one_of(
    st.sampled_from(["in0", "out", "n"]), expressions.filter(lambda expression: expression.operator != "name")
)
launches = st.builds(
    PlanLaunch,
    st.sampled_from(["k", "_f", "$g1"]),
    st.tuples(expressions, expressions, expressions),
    st.tuples(st.integers(1, 32), st.integers(1, 8), st.integers(1, 4)),
    st.integers(0, 2**20),
    st.none() | st.lists(arguments, min_size=1, max_size=4).map(tuple),
)
buffers = st.builds(
    PlanBuffer,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["f32", "bf16", "u8", "s64"]).map(Type.parse),
    expressions,
)
plans = st.builds(
    Plan,
    st.lists(launches, min_size=1, max_size=3).map(tuple),
    st.lists(buffers, max_size=3, unique_by=lambda buffer: buffer.name).map(tuple),
    st.sampled_from([None, 1, 16, 256]),
    st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(plans)
def test_a_rendered_plan_parses_to_itself(plan: Plan) -> None:
    assert parse_plan(render(plan) + CODE) == plan


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("lnchbufralgi=(),*+-0123 \t\r\n/@_"), max_size=60))
def test_random_header_lines_give_ptx_errors_alone(text: str) -> None:
    try:
        plan = parse_header(f"//@ {text}\n{CODE}")
    except PtxError:
        return
    assert plan is not None
