"""`llmptx run`: kernels on .npy files, by hand and by their launch plan."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from llmptx.cli import main
from llmptx.run.job import MAX_PRINTED

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"
SAXPY = (
    HEAD
    + """\
.visible .entry saxpy(.param .u32 n, .param .f32 a, .param .u64 x, .param .u64 y, .param .u64 out)
{
    .reg .b32 %n, %i, %t;
    .reg .f32 %a, %x, %y;
    .reg .b64 %at, %p;
    .reg .pred %end;
    ld.param.u32 %n, [n];
    ld.param.f32 %a, [a];
    mov.u32 %i, %ctaid.x;
    mov.u32 %t, %ntid.x;
    mul.lo.u32 %i, %i, %t;
    mov.u32 %t, %tid.x;
    add.u32 %i, %i, %t;
    setp.ge.u32 %end, %i, %n;
    @%end bra DONE;
    mul.wide.u32 %at, %i, 4;
    ld.param.u64 %p, [x];
    add.u64 %p, %p, %at;
    ld.global.f32 %x, [%p];
    ld.param.u64 %p, [y];
    add.u64 %p, %p, %at;
    ld.global.f32 %y, [%p];
    fma.rn.f32 %y, %a, %x, %y;
    st.global.f32 [%p], %y;
    ld.param.u64 %p, [out];
    add.u64 %p, %p, %at;
    st.global.f32 [%p], %y;
DONE:
    ret;
}
"""
)
PLAN = "//@ launch entry=saxpy grid=ceil_div(n,256) block=256 args=n,a,x,y,out\n" + SAXPY
N = 1000


@pytest.fixture
def files(tmp_path):
    """x and y of N floats in a folder, and a function that runs `llmptx run` there."""
    x = np.linspace(-1, 1, N, dtype=np.float32)
    y = np.linspace(3, 4, N, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)

    def run(text, *args):
        (tmp_path / "k.ptx").write_text(text)
        named = [a.replace("@", f"{tmp_path}/") for a in args]
        return CliRunner().invoke(main, ["run", str(tmp_path / "k.ptx"), *named])

    run.folder, run.x, run.y = tmp_path, x, y
    # the product of two floats is exact in double, and the sum rounds twice at most in the last bit
    run.expected = (2.0 * x.astype(np.float64) + y).astype(np.float32)
    return run


def _by_hand(n=N, block="256", **changed):
    given = {"n": f"u32:{n}", "a": "f32:2.0", "x": "@x.npy", "y": "@y.npy", "out": f"@out.npy:f32[{N}]"}
    given |= changed
    args = [word for value in given.values() for word in ("--arg", value)]
    return ["--grid", "4", "--block", block, *args]


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_an_output_is_written_where_its_argument_says_and_inputs_stay(files, check):
    result = files(SAXPY, *_by_hand(), *check)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load(files.folder / "out.npy"), files.expected)
    np.testing.assert_array_equal(np.load(files.folder / "y.npy"), files.y)


def test_save_takes_outputs_and_changed_inputs_and_nothing_else(files):
    result = files(SAXPY, *_by_hand(), "--save", "@saved", "--json")
    assert json.loads(result.stdout)["status"] == "ok"
    assert sorted(p.name for p in (files.folder / "saved").iterdir()) == ["out.npy", "y.npy"]
    np.testing.assert_array_equal(np.load(files.folder / "saved/y.npy"), files.expected)
    assert not (files.folder / "out.npy").exists()


def test_an_output_keeps_the_shape_it_was_asked_with(files):
    assert files(SAXPY, *_by_hand(out="@out.npy:f32[10,100]")).exit_code == 0
    np.testing.assert_array_equal(np.load(files.folder / "out.npy"), files.expected.reshape(10, 100))


def test_grid_block_and_extents_come_from_the_plan(files):
    args = ["--arg", "f32:2", "--arg", "@x.npy", "--arg", "@y.npy", "--arg", f"out=@out.npy:f32[{N}]"]
    result = files(PLAN, "--extent", f"n={N}", *args)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load(files.folder / "out.npy"), files.expected)


def test_a_checked_run_shows_the_line_of_an_access_outside_its_buffer(files):
    result = files(SAXPY, *_by_hand(n=N + 1), "--check")
    assert result.exit_code == 1
    line = SAXPY.split("\n").index("    ld.global.f32 %x, [%p];") + 1
    assert f"k.ptx:{line}:5: out-of-bounds" in result.stdout
    assert "ld.global.f32 %x, [%p];\n        ^" in result.stdout
    assert not (files.folder / "out.npy").exists()


def test_an_access_outside_every_buffer_ends_in_a_finding_without_the_sanitizers_too(files):
    wild = SAXPY.replace("mul.wide.u32 %at, %i, 4;", "mov.u64 %at, 0x7000000000000;")
    result = files(wild, *_by_hand(), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "crash"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (_by_hand()[:-2], "5 arguments are wanted"),
        (_by_hand(n=-1), "u32 goes from 0 to 4294967295"),
        (_by_hand(n="1,"), "is no u32"),
        (_by_hand(a="f64:2"), "parameter a is .f32: f64:2 does not fit"),
        (_by_hand(a="@x.npy"), "an array needs a 64-bit pointer"),
        (_by_hand(x="@none.npy"), "No such file"),
        (_by_hand(x="@k.ptx"), "write a number with its type"),
        (_by_hand(out="@out.npy:f24[3]"), "no array is of type f24"),
        (_by_hand(block="2048"), "at most 1024 threads"),
        (_by_hand()[2:], "--grid and --block are needed"),
        ([*_by_hand(), "--entry", "saxby"], "no entry is named 'saxby'"),
        ([*_by_hand(), "--extent", "n"], "is not NAME=COUNT"),
        ([*_by_hand(), "--arg", "z=u32:1"], "nothing is named z"),
    ],
)
def test_bad_input_is_told_and_ends_with_2(files, args, says):
    result = files(SAXPY, *args)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_text_that_is_no_ptx_ends_with_2_and_its_line(files):
    result = files(SAXPY.replace("fma.rn.f32", "fma.rn.f31"), *_by_hand())
    assert result.exit_code == 2
    assert "k.ptx:26:5: parse: fma.rn.f31" in result.stdout


def test_a_profile_of_what_the_engine_does_not_run_ends_with_2_and_its_line(files):
    result = files(SAXPY.replace("fma.rn.f32", "fma.rn.f31"), *_by_hand(), "--profile")
    assert result.exit_code == 2
    assert "k.ptx:26:5: fma.rn.f31" in result.stderr


def test_a_gpu_that_is_not_there_ends_with_5(files, monkeypatch):
    monkeypatch.setattr("llmptx.run.cuda.available", lambda: False)
    assert files(SAXPY, *_by_hand(), "--device", "cuda").exit_code == 5


def test_a_profile_names_every_line_that_ran_and_what_it_moved(files):
    profile = json.loads(files(SAXPY, *_by_hand(), "--profile", "--json").stdout)["profiles"][0]
    line = SAXPY.split("\n").index("    ld.global.f32 %x, [%p];") + 1
    (row,) = (row for row in profile["lines"] if row["line"] == line)
    assert profile["width"] == 32
    # 1000 threads are 31 whole warps and one of 8, whose 32 bytes are one sector
    assert (row["threads"], row["warps"], row["requests"], row["sectors"]) == (1000, 32, 32, 31 * 4 + 1)
    shown = files(SAXPY, *_by_hand(), "--profile").stdout
    assert "warps as vectors of 32" in shown
    assert any("3.91" in text and "ld.global.f32 %x, [%p];" in text for text in shown.split("\n"))


def test_a_checked_run_counts_what_was_never_written(files):
    result = files(SAXPY, *_by_hand(n=N - 10), "--check", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["unwritten"] == {"out": 10}


SPEAKER = (
    HEAD
    + """\
.global .align 1 .b8 said[10] = {104, 105, 32, 37, 117, 27, 91, 109, 10, 0};
.extern .func (.param .b32 r) vprintf (.param .b64 f, .param .b64 a);
.visible .entry speak()
{
    .local .align 8 .b8 room[8];
    .reg .b64 %f, %a;
    .reg .b32 %t;
    mov.u32 %t, %tid.x;
    st.local.u32 [room], %t;
    mov.u64 %f, said;
    cvta.global.u64 %f, %f;
    mov.u64 %a, room;
    cvta.local.u64 %a, %a;
    { .param .b64 p; .param .b64 q; .param .b32 r;
      st.param.b64 [p], %f; st.param.b64 [q], %a;
      call.uni (r), vprintf, (p, q);
    }
    ret;
}
"""
)


@pytest.mark.parametrize("check", [[], ["--check"], ["--profile"]], ids=["fast", "checked", "profiled"])
def test_what_printf_writes_is_shown_without_what_moves_the_cursor(files, check):
    result = files(SPEAKER, "--grid", "1", "--block", "2", *check)
    assert result.exit_code == 0, result.output
    assert "hi 0\\x1b[m\nhi 1\\x1b[m\n" in result.stdout
    data = json.loads(files(SPEAKER, "--grid", "1", "--block", "2", *check, "--json").stdout)
    assert data["printed"] == "hi 0\x1b[m\nhi 1\x1b[m\n"


def test_a_flood_of_printf_is_cut_off_and_said_to_be(files):
    result = files(SPEAKER, "--grid", "20", "--block", "1024", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)["printed"]
    assert len(printed) == MAX_PRINTED
    assert printed.endswith("[printf: the rest is not kept]\n")


def test_a_trace_shows_every_step_with_values_and_elements(files):
    result = files(SAXPY, *_by_hand(), "--trace", "2:10")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.split("\n") if "st.global.f32" in line]
    # y[522] and then out[522], both of what the fused product is
    value = f"%y={files.expected[522]!s}"
    assert [row[-1] for row in rows] == ["y[522]", "out[522]"]
    assert all(value in row for row in rows)
    assert "@%end bra DONE;" in result.stdout
    assert "not taken" in result.stdout
    assert result.stdout.index("the thread ends") < result.stdout.index("ran in")


def test_a_trace_as_json_is_a_line_a_step_and_says_where_it_stopped(files):
    lines = files(SAXPY, *_by_hand(), "--trace", "522", "--trace-limit", "8", "--json").stdout.splitlines()
    *steps, end = map(json.loads, lines)
    assert [s["step"] for s in steps] == list(range(1, 9))
    assert (steps[0]["block"], steps[0]["thread"]) == ([2, 0, 0], [10, 0, 0])
    assert (steps[5]["text"], steps[5]["writes"]["%t"]["value"]) == ("mov.u32 %t, %tid.x;", 10)
    assert (end["status"], end["stopped"]) == ("ok", True)


@pytest.mark.parametrize("lane", ["1024", "4:0", "0:256", "0,1:0", "x", "1,2,3,4:0", "-1", ""])
def test_a_lane_that_is_not_there_ends_with_2(files, lane):
    result = files(SAXPY, *_by_hand(), f"--trace={lane}")
    assert result.exit_code == 2
    assert "--trace" in result.stderr


def test_a_division_by_zero_is_told_and_is_nothing_wrong(files):
    body = SAXPY.replace("mul.wide.u32", "div.u32 %t, %n, %i;\n    mul.wide.u32")
    result = files(body, *_by_hand(), "--check")
    assert result.exit_code == 0, result.output
    line = body.split("\n").index("    div.u32 %t, %n, %i;") + 1
    assert f"k.ptx:{line}:5: note: division-by-zero" in result.stdout
    assert [
        n["thread"] for n in json.loads(files(body, *_by_hand(), "--check", "--json").stdout)["notes"]
    ] == [[0, 0, 0]]
