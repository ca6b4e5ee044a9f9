"""`llmptx.Module`: PTX called with numpy arrays, and what it says to arguments and texts that are wrong."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from llmptx import Module, PtxError, SanitizerError
from llmptx.engine.launch import PARALLEL_THREADS

HEADER = ".version 8.0\n.target sm_80\n.address_size 64\n"

SCALE = (
    HEADER
    + """
.visible .entry scale(.param .u64 x, .param .f32 a, .param .u32 n)
{
    .reg .u64 %x, %at; .reg .f32 %a, %v; .reg .u32 %n, %i, %t; .reg .pred %p;
    ld.param.u64 %x, [x];
    ld.param.f32 %a, [a];
    ld.param.u32 %n, [n];
    mov.u32 %t, %ctaid.x;
    mov.u32 %i, %ntid.x;
    mul.lo.u32 %t, %t, %i;
    mov.u32 %i, %tid.x;
    add.u32 %i, %i, %t;
    setp.ge.u32 %p, %i, %n;
    @%p ret;
    mad.wide.u32 %at, %i, 4, %x;
    ld.global.f32 %v, [%at];
    mul.rn.f32 %v, %v, %a;
    st.global.f32 [%at], %v;
    ret;
}
.visible .entry other() { ret; }
"""
)


def line_in(text: str, piece: str) -> int:
    return next(i for i, line in enumerate(text.split("\n"), 1) if piece in line)


def test_a_kernel_changes_arrays_in_place_and_skips_the_rest() -> None:
    module = Module(SCALE)
    assert module.entries == ("scale", "other")
    x = np.arange(1000, dtype=np.float32)
    scale = module.get_function("scale")
    scale((4,), (256,), (x, 2.5, 990))
    want = np.arange(1000, dtype=np.float32)
    want[:990] *= np.float32(2.5)
    np.testing.assert_array_equal(x, want)
    scale(grid=(4,), block=(256,), args=(x, np.float32(2), np.uint32(1000)), check=True)
    np.testing.assert_array_equal(x, want * 2)
    module.get_function("other")((1,), (32,), ())
    scale((0,), (256,), (x, 2.5, 1000))
    np.testing.assert_array_equal(x, want * 2)


KINDS = [
    ("u8", "u16", [0, 255], np.uint8),
    ("s8", "s16", [-128, 127], np.int8),
    ("u16", "u16", [0, 65535], np.uint16),
    ("s16", "s16", [-32768, 32767], np.int16),
    ("u32", "u32", [0, 2**32 - 1], np.uint32),
    ("s32", "s32", [-(2**31), 2**31 - 1], np.int32),
    ("u64", "u64", [0, 2**64 - 1], np.uint64),
    ("s64", "s64", [-(2**63), 2**63 - 1], np.int64),
    ("b32", "b32", [0, 2**32 - 1], np.uint32),
    ("f32", "f32", [0.1, -np.inf], np.float32),
    ("f64", "f64", [0.1, -1e300], np.float64),
    ("b16", "b16", [0, 65535], np.uint16),
]


@pytest.mark.parametrize(("type", "register", "values", "dtype"), KINDS, ids=[k[0] for k in KINDS])
@pytest.mark.parametrize("check", [False, True])
def test_scalars_of_every_parameter_type(
    type: str, register: str, values: list[Any], dtype: Any, check: bool
) -> None:
    text = f"""{HEADER}
.visible .entry k(.param .u64 out, .param .u8 before, .param .{type} value, .param .u8 after)
{{
    .reg .u64 %out; .reg .{register} %v; .reg .u16 %a;
    ld.param.u64 %out, [out];
    ld.param.{type} %v, [value];
    ld.param.u8 %a, [after];
    st.global.{type} [%out], %v;
    st.global.u8 [%out+8], %a;
    ret;
}}
"""
    kernel = Module(text).get_function("k")
    for value in values:
        for given in (value, dtype(value)):
            out = np.zeros(16, np.uint8)
            kernel((1,), (1,), (out, 1, given, 77), check=check)
            size = np.dtype(dtype).itemsize
            assert out[:size].view(dtype)[0] == dtype(value)
            assert out[8] == 77


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((1.5, 10), TypeError, "scale takes 3 arguments, 2 were given"),
        (("x", 1.5, 10.5), TypeError, "parameter n is .u32: 10.5 is no integer"),
        (("x", 1.5, -(2**31) - 1), OverflowError, "parameter n is .u32: -2147483649 does not fit"),
        (("x", 1.5, 2**32), OverflowError, "parameter n is .u32: 4294967296 does not fit"),
        (("x", 1.5, "x"), TypeError, "parameter n is .u32: an array needs a 64-bit pointer"),
        (("x", "x", 10), TypeError, "parameter a is .f32: an array needs a 64-bit pointer"),
        (("strided", 1.5, 10), ValueError, "the array for x is not contiguous"),
        (("x", "text", 10), TypeError, "text"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_arguments_that_do_not_fit(args: Any, error: type[Exception], text: str, check: bool) -> None:
    x = np.ones(64, np.float32)
    arrays = {"x": x, "strided": x[::2]}
    given = [arrays.get(a, a) if isinstance(a, str) else a for a in args]
    with pytest.raises(error, match=re.escape(text)):
        Module(SCALE).get_function("scale")((1,), (32,), given, check=check)
    np.testing.assert_array_equal(x, np.ones(64))


@pytest.mark.parametrize(
    ("grid", "block", "text"),
    [
        ((1,), (0,), "block is one to three whole numbers"),
        ((1,), (1.5,), "block is one to three whole numbers"),
        ((1, 1, 1, 1), (1,), "grid is one to three whole numbers"),
        ((), (1,), "grid is one to three whole numbers"),
        ((-1,), (1,), "grid is one to three whole numbers"),
        ((1,), (1025,), "at most 1024 threads"),
        ((1,), (32, 33), "at most 1024 threads, (32, 33) has 1056"),
        ((1,), (1, 1, 65), "at most (1024, 1024, 64) along its axes"),
        ((1, 65536), (1,), "at most (2147483647, 65535, 65535) along its axes"),
        ((2**31,), (1,), "along its axes, not (2147483648,)"),
    ],
)
def test_shapes_no_device_has(grid: Any, block: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        Module(SCALE).get_function("other")(grid, block, ())


def broken(line: str) -> str:
    registers = ".reg .u32 %r<4>; .reg .u64 %d<2>; .reg .f32 %f;"
    return f"{HEADER}.visible .entry k()\n{{\n    {registers}\n    {line}\n    ret;\n}}\n"


@pytest.mark.parametrize(
    ("line", "text", "caret"),
    [
        ("add.u32 %r1, %r2, %q;", "k.ptx:7:23: register %q is never declared", "%q"),
        ("mov.u32 %r1, %nosuch.x;", "k.ptx:7:18: register %nosuch.x is", "%nosuch.x"),
        ("add.u64 %d1, %r1, 1;", "k.ptx:7:", None),
        ("frobnicate.u32 %r1, %r2;", "k.ptx:7:5: ", None),
        ("add.u33 %r1, %r2, 1;", "k.ptx:7:5: ", None),
        ("bra NOWHERE;", "k.ptx:7:", "NOWHERE"),
        ("tex.2d.v4.f32.f32 {%f, %f, %f, %f}, [%d0, {%f, %f}];", "k.ptx:7:45: ", None),
    ],
)
def test_a_text_that_cannot_run_is_shown_with_its_line(line: str, text: str, caret: str | None) -> None:
    with pytest.raises(PtxError) as caught:
        Module(broken(line), "k.ptx").get_function("k")((1,), (32,), ())
    shown = str(caught.value).split("\n")
    assert shown[0].startswith(text), shown[0]
    assert shown[1].strip() == line
    under = shown[1][shown[2].index("^") : shown[2].rindex("^") + 1]
    assert set(shown[2].strip()) == {"^"}
    if caret is not None:
        assert caret in under


def test_an_entry_that_is_not_there() -> None:
    with pytest.raises(PtxError, match="no entry is named 'skale'; entries: scale, other"):
        Module(SCALE).get_function("skale")


REVERSE = (
    HEADER
    + """
.extern .shared .align 4 .b8 space[];
.visible .entry reverse(.param .u64 x)
{
    .reg .u64 %x; .reg .u32 %i, %n, %s, %v;
    ld.param.u64 %x, [x];
    mov.u32 %i, %tid.x;
    mov.u32 %n, %ntid.x;
    mad.wide.u32 %x, %i, 4, %x;
    ld.global.u32 %v, [%x];
    mov.u32 %s, space;
    mad.lo.u32 %s, %i, 4, %s;
    st.shared.u32 [%s], %v;
    bar.sync 0;
    sub.u32 %n, %n, %i;
    sub.u32 %n, %n, 1;
    mov.u32 %s, space;
    mad.lo.u32 %s, %n, 4, %s;
    ld.shared.u32 %v, [%s];
    st.global.u32 [%x], %v;
    ret;
}
"""
)


def test_dynamic_shared_memory_is_as_large_as_asked() -> None:
    reverse = Module(REVERSE).get_function("reverse")
    for check in (False, True):
        for threads in (32, 100, 1024):
            x = np.arange(threads, dtype=np.uint32)
            reverse((1,), (threads,), (x,), shared_mem=4 * threads, check=check)
            np.testing.assert_array_equal(x, np.arange(threads)[::-1])
    x = np.arange(64, dtype=np.uint32)
    line = line_in(REVERSE, "st.shared")
    with pytest.raises(SanitizerError, match=f"out-of-bounds at line {line}: 4 bytes at byte 252"):
        reverse((1,), (64,), (x,), shared_mem=252, check=True)


def test_more_shared_memory_than_a_block_has() -> None:
    reverse = Module(REVERSE).get_function("reverse")
    with pytest.raises(
        PtxError, match=f"uses {227 * 1024 + 1} bytes of shared memory; a block has {227 * 1024}"
    ):
        reverse((1,), (32,), (np.zeros(32, np.uint32),), shared_mem=227 * 1024 + 1)


def test_a_checked_call_raises_what_it_found_and_gives_the_arrays_back() -> None:
    scale = Module(SCALE).get_function("scale")
    x = np.ones(100, np.float32)
    with pytest.raises(SanitizerError) as caught:
        scale((1,), (128,), (x, 3.0, 101), check=True)
    lines = [line_in(SCALE, "ld.global"), line_in(SCALE, "st.global")]
    assert [f.line for f in caught.value.findings] == lines
    for found in caught.value.findings:
        assert (found.kind, found.thread, found.buffer, found.address) == (
            "out-of-bounds",
            (100, 0, 0),
            "x",
            400,
        )
    where = f"out-of-bounds at line {lines[0]}: 4 bytes at byte 400 of x (400 bytes)"
    assert str(caught.value) == f"{where} are outside every buffer (and 1 more)"
    np.testing.assert_array_equal(x, np.full(100, 3))


def test_a_read_only_array_may_be_read_and_not_written() -> None:
    scale = Module(SCALE).get_function("scale")
    x = np.ones(32, np.float32)
    x.flags.writeable = False
    line = line_in(SCALE, "st.global")
    with pytest.raises(SanitizerError, match=f"input-modified at line {line}: 4 bytes at byte 0 of x"):
        scale((1,), (32,), (x, 3.0, 32), check=True)
    np.testing.assert_array_equal(x, np.ones(32))
    scale((1,), (32,), (x, 3.0, 0), check=True)


SHIFT = (
    HEADER
    + """
.visible .entry shift(.param .u64 x, .param .u64 out)
{
    .reg .u64 %x, %out; .reg .u32 %i, %v;
    ld.param.u64 %x, [x];
    ld.param.u64 %out, [out];
    mov.u32 %i, %tid.x;
    mad.wide.u32 %x, %i, 4, %x;
    mad.wide.u32 %out, %i, 4, %out;
    ld.global.u32 %v, [%x];
    add.u32 %v, %v, 1;
    st.global.u32 [%out], %v;
    ld.global.u32 %v, [%x];
    add.u32 %v, %v, 1;
    st.global.u32 [%out], %v;
    ret;
}
"""
)


@pytest.mark.parametrize("check", [False, True])
def test_an_array_given_twice_is_one_memory(check: bool) -> None:
    shift = Module(SHIFT).get_function("shift")
    x, out = np.zeros(32, np.uint32), np.zeros(32, np.uint32)
    shift((1,), (32,), (x, out), check=check)
    assert (x.sum(), out.sum()) == (0, 32)
    shift((1,), (32,), (x, x), check=check)
    np.testing.assert_array_equal(x, np.full(32, 2))


TRAP = HEADER + ".visible .entry k()\n{\n    trap;\n}\n"


def test_a_trap_raises_in_fast_mode_too() -> None:
    with pytest.raises(SanitizerError, match="crash at line 6: trap was executed"):
        Module(TRAP).get_function("k")((1,), (32,), ())


def test_calls_from_many_threads_do_not_meet() -> None:
    module = Module(REVERSE)
    reverse = module.get_function("reverse")

    def call(number: int) -> bool:
        x = np.arange(256, dtype=np.uint32) * number
        for _ in range(5):
            reverse((1,), (256,), (x,), shared_mem=1024)
        return bool(np.array_equal(x, (np.arange(256) * number)[::-1]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(1, 80)))


def test_a_large_grid_on_many_cores_does_what_one_core_does(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3 * PARALLEL_THREADS + 77
    grid = (-(-count // 128),)
    results = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        x = np.arange(count, dtype=np.float32)
        for seed in (None, 3):
            Module(SCALE).get_function("scale")(grid, (128,), (x, 1.5, count - 1), seed=seed)
        results.append(x)
    want = np.arange(count, dtype=np.float32)
    want[:-1] *= np.float32(1.5)
    want[:-1] *= np.float32(1.5)
    for x in results:
        np.testing.assert_array_equal(x, want)


def test_a_failure_in_a_large_grid_is_found_whichever_core_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    text = SCALE.replace("@%p ret;", "@%p trap;")
    count = 2 * PARALLEL_THREADS
    for last in (5, count // 2, count - 2):
        x = np.zeros(count, np.float32)
        with pytest.raises(SanitizerError, match="trap was executed"):
            Module(text).get_function("scale")((count // 128,), (128,), (x, 1.0, last))
