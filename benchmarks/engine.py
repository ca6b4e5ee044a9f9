"""The CPU engine beside numpy, in one process: `python benchmarks/engine.py [--json]`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from llmptx import Module

N = 1 << 20
SIDE = 128

SAXPY = """\
.version 8.0
.target sm_80
.address_size 64
.visible .entry saxpy(.param .u64 n, .param .f32 a, .param .u64 x, .param .u64 y, .param .u64 out)
{
    .reg .pred %p;
    .reg .f32 %f<4>;
    .reg .b32 %r<4>;
    .reg .u64 %n, %i, %at, %x, %y, %out;
    ld.param.u64 %n, [n];
    ld.param.f32 %f0, [a];
    ld.param.u64 %x, [x];
    ld.param.u64 %y, [y];
    ld.param.u64 %out, [out];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %tid.x;
    mad.lo.u32 %r3, %r1, 256, %r2;
    cvt.u64.u32 %i, %r3;
    setp.ge.u64 %p, %i, %n;
    @%p ret;
    shl.b64 %i, %i, 2;
    add.u64 %at, %x, %i;
    ld.global.f32 %f1, [%at];
    add.u64 %at, %y, %i;
    ld.global.f32 %f2, [%at];
    fma.rn.f32 %f3, %f0, %f1, %f2;
    add.u64 %at, %out, %i;
    st.global.f32 [%at], %f3;
    ret;
}
"""

# One partial sum a block of 256, by halving in shared memory.
BLOCK_SUM = """\
.version 8.0
.target sm_80
.address_size 64
.visible .entry block_sum(.param .u64 x, .param .u64 out)
{
    .reg .pred %p;
    .reg .f32 %f<4>;
    .reg .b32 %r<6>;
    .reg .u64 %x, %out, %at;
    .shared .align 4 .b8 partial[1024];
    ld.param.u64 %x, [x];
    ld.param.u64 %out, [out];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, %ctaid.x;
    mad.lo.u32 %r2, %r1, 256, %r0;
    mad.wide.u32 %at, %r2, 4, %x;
    ld.global.f32 %f0, [%at];
    mov.u32 %r3, partial;
    mad.lo.u32 %r3, %r0, 4, %r3;
    st.shared.f32 [%r3], %f0;
    mov.u32 %r4, 128;
HALVE:
    bar.sync 0;
    setp.ge.u32 %p, %r0, %r4;
    @%p bra NEXT;
    mad.lo.u32 %r5, %r4, 4, %r3;
    ld.shared.f32 %f1, [%r5];
    ld.shared.f32 %f2, [%r3];
    add.rn.f32 %f2, %f2, %f1;
    st.shared.f32 [%r3], %f2;
NEXT:
    shr.u32 %r4, %r4, 1;
    setp.ne.u32 %p, %r4, 0;
    @%p bra HALVE;
    setp.ne.u32 %p, %r0, 0;
    @%p ret;
    ld.shared.f32 %f3, [partial];
    mad.wide.u32 %at, %r1, 4, %out;
    st.global.f32 [%at], %f3;
    ret;
}
"""

# One thread an element of C = A B, row-major, SIDE x SIDE; block (32, 8).
MATMUL = f"""\
.version 8.0
.target sm_80
.address_size 64
.visible .entry matmul(.param .u64 a, .param .u64 b, .param .u64 c)
{{
    .reg .pred %p;
    .reg .f32 %f<4>;
    .reg .b32 %col, %row, %k, %t;
    .reg .u64 %a, %b, %c;
    ld.param.u64 %a, [a];
    ld.param.u64 %b, [b];
    ld.param.u64 %c, [c];
    mov.u32 %t, %ctaid.x;
    mov.u32 %col, %tid.x;
    mad.lo.u32 %col, %t, 32, %col;
    mov.u32 %t, %ctaid.y;
    mov.u32 %row, %tid.y;
    mad.lo.u32 %row, %t, 8, %row;
    mad.wide.u32 %a, %row, {4 * SIDE}, %a;
    mad.wide.u32 %b, %col, 4, %b;
    mad.lo.u32 %t, %row, {SIDE}, %col;
    mad.wide.u32 %c, %t, 4, %c;
    mov.f32 %f0, 0f00000000;
    mov.u32 %k, {SIDE};
NEXT:
    ld.global.f32 %f1, [%a];
    ld.global.f32 %f2, [%b];
    fma.rn.f32 %f0, %f1, %f2, %f0;
    add.u64 %a, %a, 4;
    add.u64 %b, %b, {4 * SIDE};
    sub.u32 %k, %k, 1;
    setp.ne.u32 %p, %k, 0;
    @%p bra NEXT;
    st.global.f32 [%c], %f0;
    ret;
}}
"""


@dataclass(frozen=True)
class Row:
    """Best times in milliseconds; `target` is the ratio to reach, where there is one."""

    name: str
    engine_ms: float
    numpy_ms: float
    ratio: float
    target: float | None
    compile_ms: float


def best(engine: Callable[[], Any], reference: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Least seconds of each, taken in turns so that both see the same machine."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for run, kept in zip((engine, reference), times, strict=True):
            start = time.perf_counter()
            run()
            kept.append(time.perf_counter() - start)
    return min(times[0]), min(times[1])


def measure(
    name: str,
    text: str,
    entry: str,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    args: tuple[Any, ...],
    reference: Callable[[], Any],
    check: Callable[[], None],
    target: float | None,
    repeats: int,
) -> Row:
    """Runs once to compile and to check the answer, then times."""
    function = Module(text).get_function(entry)
    start = time.perf_counter()
    function(grid, block, args)
    compiling = time.perf_counter() - start
    reference()
    check()
    engine, other = best(lambda: function(grid, block, args), reference, repeats)
    return Row(name, engine * 1e3, other * 1e3, engine / other, target, compiling * 1e3)


def rows(repeats: int) -> list[Row]:
    rng = np.random.default_rng(7)
    x, y = (rng.standard_normal(N, np.float32) for _ in range(2))
    out, want = np.empty_like(x), np.empty_like(x)
    a = np.float32(1.25)

    def saxpy() -> None:
        np.multiply(x, a, out=want)
        np.add(want, y, out=want)

    def near(got: Any, wanted: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
        np.testing.assert_allclose(got, wanted, rtol, atol)

    exp = (files("llmptx") / "llm/offline/numpy/exp/float32.2.ptx").read_text()
    partial = np.empty(N // 256, np.float32)
    left, right = (rng.standard_normal((SIDE, SIDE), np.float32) for _ in range(2))
    product, wanted = np.empty_like(left), np.empty_like(left)
    blocks = (N // 256,)
    return [
        measure(
            "saxpy",
            SAXPY,
            "saxpy",
            blocks,
            (256,),
            (N, a, x, y, out),
            saxpy,
            lambda: near(out, want),
            1.0,
            repeats,
        ),
        measure(
            "exp",
            exp,
            "numpy_exp_float32",
            blocks,
            (256,),
            (x, out, N),
            lambda: np.exp(x, out=want),
            lambda: near(out, want),
            1.0,
            repeats,
        ),
        measure(
            "block sum",
            BLOCK_SUM,
            "block_sum",
            blocks,
            (256,),
            (x, partial),
            lambda: x.reshape(-1, 256).sum(1, out=want[: N // 256]),
            lambda: near(partial, x.reshape(-1, 256).sum(1, dtype=np.float64), 1e-4, 1e-4),
            None,
            repeats,
        ),
        measure(
            "matmul 128^3",
            MATMUL,
            "matmul",
            (SIDE // 32, SIDE // 8),
            (32, 8),
            (left, right, product),
            lambda: np.matmul(left, right, out=wanted),
            lambda: near(product, left.astype(np.float64) @ right, 1e-4, 1e-4),
            None,
            repeats,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    found = rows(options.repeats)
    if options.json:
        print(json.dumps({"schema": "llmptx/engine-benchmark/1", "rows": [asdict(r) for r in found]}))
        return
    print(f"{'kernel':14} {'engine ms':>10} {'numpy ms':>10} {'ratio':>7} {'target':>7} {'compile ms':>11}")
    for row in found:
        target = "-" if row.target is None else f"<= {row.target:g}"
        print(
            f"{row.name:14} {row.engine_ms:10.3f} {row.numpy_ms:10.3f} {row.ratio:7.2f} {target:>7} "
            f"{row.compile_ms:11.0f}"
        )


if __name__ == "__main__":
    main()
