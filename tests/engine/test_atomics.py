"""Atomics of half precision, vectors and 128 bits, and the election of a lane, at both widths."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from llmptx.run.cpu import run_job
from llmptx.run.job import Array, Buffer, Job, Launch, Outcome

HEAD = """.version 8.6
.target sm_90
.address_size 64
.visible .entry k(.param .u64 in0, .param .u64 out)
{
    .reg .b64 %rd<9>; .reg .b32 %r<9>; .reg .b16 %h<9>; .reg .f32 %f<9>; .reg .b128 %q<5>; .reg .pred %p<4>;
    ld.param.u64 %rd1, [in0]; ld.param.u64 %rd2, [out];
    mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 2; mul.wide.u32 %rd4, %r1, 16;
"""
WIDTHS = pytest.mark.parametrize(("width", "check"), [(32, False), (32, True), (1, False)])
Width = Literal[1, 32]


def launch(body: str, data: Array, size: int, threads: int, width: Width, check: bool) -> Outcome:
    """The outcome of one block; `out` starts as zeros."""
    buffers = (
        Buffer("in0", str(data.dtype), data.size, "input", data),
        Buffer("zeros", str(data.dtype), size, "input", np.zeros(size, data.dtype)),
        Buffer("out", str(data.dtype), size, "output", alias="zeros"),
    )
    one = Launch("k", (1, 1, 1), (threads, 1, 1), ("in0", "out"))
    return run_job(Job(f"{HEAD}{body} ret; }}", (one,), buffers, width=width, check=check))


def run(body: str, data: Array, size: int, threads: int, width: Width, check: bool) -> Array:
    outcome = launch(body, data, size, threads, width, check)
    assert outcome.status == "ok", outcome.findings
    return outcome.buffers["out"]


@WIDTHS
def test_halves_are_summed_lane_after_lane(width: Width, check: bool) -> None:
    data = np.linspace(-3, 90, 64).astype(np.float16)
    body = "add.u64 %rd5, %rd1, %rd3; ld.global.b16 %h1, [%rd5]; red.global.add.noftz.f16 [%rd2], %h1;"
    got = run(body, data, 2, 64, width, check)
    total = np.float16(0)
    for value in data:
        total = total + value
    assert got.tolist() == [total, 0]


@WIDTHS
def test_vectors_of_bf16_take_their_extremes_by_element(width: Width, check: bool) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((64, 8)).astype(np.float32)
    data = (values.view(np.uint32) >> 16).astype(np.uint16)
    exact = (data.astype(np.uint32) << 16).view(np.float32)
    body = (
        "add.u64 %rd5, %rd1, %rd4; ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%rd5];"
        "red.global.max.noftz.v4.bf16x2 [%rd2], {%r2, %r3, %r4, %r5};"
    )
    got = run(body, data.ravel(), 8, 64, width, check)
    largest = (got.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(largest, np.maximum(exact.max(0), 0))


@WIDTHS
def test_128_bits_move_as_one(width: Width, check: bool) -> None:
    data = np.arange(128, dtype=np.uint64)
    body = (
        "add.u64 %rd5, %rd1, %rd4; ld.global.b128 %q1, [%rd5]; mov.b128 {%rd6, %rd7}, %q1;"
        "mov.b128 %q2, {%rd7, %rd6}; add.u64 %rd8, %rd2, %rd4; st.global.b128 [%rd8], %q2;"
    )
    got = run(body, data, 128, 64, width, check).reshape(64, 2)
    np.testing.assert_array_equal(got, data.reshape(64, 2)[:, ::-1])


@WIDTHS
def test_one_of_many_exchanges_of_128_bits_succeeds(width: Width, check: bool) -> None:
    body = (
        "mov.u64 %rd5, 0; cvt.u64.u32 %rd6, %r1; add.u64 %rd6, %rd6, 1;"
        "mov.b128 %q1, {%rd5, %rd5}; mov.b128 %q2, {%rd6, %rd6};"
        "atom.global.cas.b128 %q3, [%rd2], %q1, %q2;"
    )
    first, second = run(body, np.zeros(1, np.uint64), 2, 64, width, check).tolist()
    assert first == second
    assert 1 <= first <= 64


@WIDTHS
def test_each_warp_elects_its_lowest_lane(width: Width, check: bool) -> None:
    body = (
        "elect.sync %r2|%p1, 0xffffffff; add.u64 %rd5, %rd2, %rd3; selp.u32 %r3, 100, 0, %p1;"
        "add.u32 %r3, %r3, %r2; cvt.u16.u32 %h1, %r3; st.global.u16 [%rd5], %h1;"
    )
    got = run(body, np.zeros(1, np.uint16), 64, 64, width, check)
    assert got.tolist() == [100 if i % 32 == 0 else 0 for i in range(64)]


def test_a_misaligned_vector_is_found() -> None:
    body = "mov.f32 %f1, 0f3f800000; red.global.add.v4.f32 [%rd2+4], {%f1, %f1, %f1, %f1};"
    outcome = launch(body, np.zeros(8, np.float32), 8, 1, 32, True)
    assert outcome.findings[0].kind == "misaligned"
