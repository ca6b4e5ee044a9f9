"""Tensor-core instructions: layouts by the manual's figures, values by numpy and by exact fractions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import gmpy2
import numpy as np
import pytest
from numpy.typing import NDArray

from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch
from tests.engine import fragments
from tests.engine.fragments import packed, sizes, unpacked
from tests.isa.mpfr import nearest

HEADER = ".version 8.4\n.target sm_90\n.address_size 64\n"
WIDTHS = (32, 1)
REGISTER = {"f32": ("f32", "f"), "f64": ("f64", "fd")}


def outcome(job: Job) -> dict[str, NDArray[Any]]:
    done = run_job(job)
    assert done.status == "ok", done.findings
    return dict(done.buffers)


def vector(prefix: str, count: int) -> str:
    return "{" + ", ".join(f"%{prefix}{i}" for i in range(count)) + "}"


def product_kernel(head: str, elements: dict[str, str], counts: dict[str, int]) -> str:
    """Every lane's registers of a, b and c from its place in the buffers, those of d to its place."""
    lines = []
    for part in "abcd":
        type, _ = REGISTER.get(elements[part], ("b32", "r"))
        size = 8 if type == "f64" else 4
        lines.append(f".reg .{type} %{part}<{counts[part]}>; .reg .u64 %p{part};")
        lines.append(f"ld.param.u64 %p{part}, [{part}];")
        lines.append(f"mad.wide.u32 %p{part}, %t, {size * counts[part]}, %p{part};")
        for i in range(counts[part] if part != "d" else 0):
            lines.append(f"ld.global.{type} %{part}{i}, [%p{part}+{size * i}];")
    lines.append(f"{head} " + ", ".join(vector(part, counts[part]) for part in "dabc") + ";")
    type, _ = REGISTER.get(elements["d"], ("b32", "r"))
    size = 8 if type == "f64" else 4
    for i in range(counts["d"]):
        lines.append(f"st.global.{type} [%pd+{size * i}], %d{i};")
    body = "\n".join(lines)
    params = ", ".join(f".param .u64 {part}" for part in "abcd")
    return f"{HEADER}.visible .entry k({params}) {{\n.reg .u32 %t;\nmov.u32 %t, %tid.x;\n{body}\nret;\n}}\n"


def multiplied(
    head: str, elements: dict[str, str], given: dict[str, NDArray[Any]], held: int, check: bool = False
) -> NDArray[Any]:
    """d's registers, the same at both widths, from (32, registers) of a, b and c; held: elements of d."""
    double = elements["d"] == "f64"
    count = held // (2 if elements["d"] == "f16" else 1)
    counts = {part: values.shape[1] for part, values in given.items()} | {"d": count}
    text = product_kernel(head, elements, counts)
    buffers = [
        Buffer(part, str(values.dtype), values.size, "input", np.ascontiguousarray(values).ravel())
        for part, values in given.items()
    ]
    buffers.append(Buffer("d", "float64" if double else "uint32", 32 * count, "output"))
    launch = Launch("k", (1, 1, 1), (32, 1, 1), tuple("abcd"))
    found = [outcome(Job(text, (launch,), tuple(buffers), width=w, check=check))["d"] for w in WIDTHS]  # type: ignore[arg-type]
    assert found[0].tobytes() == found[1].tobytes()
    return found[0].reshape(32, count)


def integers(element: str, shape: tuple[int, ...], draw: np.random.Generator) -> NDArray[np.float64]:
    """Whole numbers that the element holds, small enough that no sum is rounded anywhere."""
    low, high = {
        "u8": (0, 255), "s8": (-128, 127), "u4": (0, 15), "s4": (-8, 7), "b1": (0, 1),
        "s32": (-(2**20), 2**20),
    }.get(element, (-4, 4))  # fmt: skip
    return draw.integers(low, high + 1, shape).astype(np.float64)


FORMS = [
    *((s, d, "f16", "f16", d, "") for s in ("m16n8k8", "m16n8k16") for d in ("f16", "f32")),
    *((s, "f32", e, e, "f32", "") for s, e in (("m16n8k8", "bf16"), ("m16n8k16", "bf16"))),
    *((s, "f32", "tf32", "tf32", "f32", "") for s in ("m16n8k4", "m16n8k8")),
    *((s, "f64", "f64", "f64", "f64", "") for s in ("m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16")),
    *((s, "s32", "u8", "s8", "s32", "") for s in ("m8n8k16", "m16n8k16", "m16n8k32")),
    *((s, "s32", "s4", "u4", "s32", "") for s in ("m8n8k32", "m16n8k32", "m16n8k64")),
    *((s, "s32", "b1", "b1", "s32", o) for s, o in (
        ("m8n8k128", ".xor.popc"), ("m16n8k128", ".and.popc"), ("m16n8k256", ".xor.popc"))),
    ("m16n8k32", "f32", "e4m3", "e5m2", "f32", ""), ("m16n8k16", "f16", "e5m2", "e4m3", "f16", ""),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "d", "a", "b", "c", "op"), FORMS)
def test_mma_multiplies_the_matrices_of_the_manuals_figures(
    shape: str, d: str, a: str, b: str, c: str, op: str
) -> None:
    draw = np.random.default_rng(0)
    m, n, k = sizes(shape)
    left, right, sums = (
        integers(element, size, draw) for element, size in ((a, (m, k)), (b, (k, n)), (c, (m, n)))
    )
    given = {
        "a": packed(fragments.a_of(shape, a, left), a),
        "b": packed(fragments.b_of(shape, b, right), b),
        "c": packed(fragments.spread(sums, fragments.c_place, m * n // 32), c),
    }
    head = f"mma.sync.aligned.{shape}.row.col.{d}.{a}.{b}.{c}{op}"
    found = unpacked(multiplied(head, {"d": d, "a": a, "b": b, "c": c}, given, m * n // 32), d)
    x, y = left.astype(int), right.astype(int)
    if op == ".xor.popc":
        expected = (x[:, :, None] ^ y[None]).sum(axis=1) + sums
    else:
        expected = left @ right + sums
    assert np.array_equal(found, fragments.spread(expected, fragments.c_place, m * n // 32))


@pytest.mark.parametrize(("al", "bl"), [("row", "col"), ("col", "row"), ("row", "row"), ("col", "col")])
@pytest.mark.parametrize(("d", "c"), [("f32", "f16"), ("f16", "f16"), ("f32", "f32")])
def test_voltas_mma_multiplies_four_pairs_of_matrices(al: str, bl: str, d: str, c: str) -> None:
    draw = np.random.default_rng(1)
    left, right, sums = (draw.integers(-4, 5, (4, *s)).astype(float) for s in ((8, 4), (4, 8), (8, 8)))
    expected = left @ right + sums

    def spread(matrices: NDArray[Any], part: str, layout: str, held: int) -> NDArray[Any]:
        return np.array(
            [
                [matrices[lane % 16 // 4][fragments.volta_place(part, layout, lane, i)] for i in range(held)]
                for lane in range(32)
            ]
        )

    given = {
        "a": packed(spread(left, "a", al, 4), "f16"),
        "b": packed(spread(right, "b", bl, 4), "f16"),
        "c": packed(spread(sums, "c", c, 8), c),
    }
    head = f"mma.sync.aligned.m8n8k4.{al}.{bl}.{d}.f16.f16.{c}"
    found = multiplied(head, {"d": d, "a": "f16", "b": "f16", "c": c}, given, 8)
    assert np.array_equal(unpacked(found, d), spread(expected, "c", d, 8))


# rounding


def exact(left: NDArray[Any], right: NDArray[Any], sums: NDArray[Any]) -> list[list[Fraction]]:
    rows, columns = ([[Fraction(float(v)) for v in line] for line in m] for m in (left, right.T))
    return [
        [sum((x * y for x, y in zip(row, column, strict=True)), Fraction(float(sums[i, j])))
         for j, column in enumerate(columns)]
        for i, row in enumerate(rows)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "a", "d"),
    [
        ("m16n8k16", "f16", "f32"),
        ("m16n8k8", "f16", "f16"),
        ("m16n8k16", "bf16", "f32"),
        ("m16n8k8", "tf32", "f32"),
    ],
)
@pytest.mark.parametrize("spread", [2, 12, 60])
def test_an_element_is_its_exact_sum_rounded_once(shape: str, a: str, d: str, spread: int) -> None:
    """spread: how far exponents differ; far apart, f64 does not hold the sums."""
    draw = np.random.default_rng(spread)
    m, n, k = sizes(shape)
    spread = min(spread, 7) if a == "f16" else spread

    def numbers(size: tuple[int, int], element: str) -> NDArray[np.float64]:
        values = draw.standard_normal(size) * 2.0 ** draw.integers(-spread, spread + 1, size)
        registers = packed(values.reshape(32, -1), element)
        if element == "tf32":
            registers = registers & np.uint32(0xFFFFE000)
        if element in ("bf16", "tf32"):
            wide = registers.view(np.uint16).astype(np.uint32) << 16 if element == "bf16" else registers
            return np.ascontiguousarray(wide).view(np.float32).astype(float).reshape(size)
        return unpacked(registers, element).astype(float).reshape(size)

    left, right, sums = numbers((m, k), a), numbers((k, n), a), numbers((m, n), d)
    sums[::2] = -(left @ right)[::2].astype(np.float16 if d == "f16" else np.float32)
    given = {
        "a": packed(fragments.a_of(shape, a, left), a),
        "b": packed(fragments.b_of(shape, a, right), a),
        "c": packed(fragments.spread(sums, fragments.c_place, 4), d),
    }
    head = f"mma.sync.aligned.{shape}.row.col.{d}.{a}.{a}.{d}"
    found = unpacked(multiplied(head, {"d": d, "a": a, "b": a, "c": d}, given, 4), d).astype(float)
    rounded = np.array([[nearest(v, d) for v in row] for row in exact(left, right, sums)])
    assert np.array_equal(found, fragments.spread(rounded, fragments.c_place, 4))


@pytest.mark.parametrize("rnd", ["rn", "rz", "rm", "rp"])
def test_doubles_are_fused_and_added_in_order(rnd: str) -> None:
    draw = np.random.default_rng(3)
    shape = "m8n8k4"
    left, right, sums = (draw.standard_normal(s) for s in ((8, 4), (4, 8), (8, 8)))
    mode = {"rn": gmpy2.RoundToNearest, "rz": gmpy2.RoundToZero, "rm": gmpy2.RoundDown, "rp": gmpy2.RoundUp}
    expected = sums.copy()
    with gmpy2.context(precision=53, round=mode[rnd]):
        for i, j, k in itertools.product(range(8), range(8), range(4)):
            x, y, z = (gmpy2.mpfr(float(v), 53) for v in (left[i, k], right[k, j], expected[i, j]))
            expected[i, j] = float(gmpy2.fma(x, y, z))
    given = {
        "a": fragments.a_of(shape, "f64", left),
        "b": fragments.b_of(shape, "f64", right),
        "c": fragments.spread(sums, fragments.c_place, 2),
    }
    elements = dict.fromkeys("abcd", "f64")
    found = multiplied(f"mma.sync.aligned.{shape}.row.col.f64.f64.f64.f64.{rnd}", elements, given, 2)
    assert np.array_equal(found, fragments.spread(expected, fragments.c_place, 2))


@pytest.mark.parametrize("saturate", [False, True])
def test_integers_wrap_or_are_clamped_at_the_end(saturate: bool) -> None:
    left, right = np.full((8, 16), 127.0), np.full((16, 8), 127.0)
    sums = np.where(np.arange(64).reshape(8, 8) % 2, 2.0**31 - 1, -(2.0**31))
    left[4:] = -128.0
    given = {
        "a": packed(fragments.a_of("m8n8k16", "s8", left), "s8"),
        "b": packed(fragments.b_of("m8n8k16", "s8", right), "s8"),
        "c": packed(fragments.spread(sums, fragments.c_place, 2), "s32"),
    }
    suffix = ".satfinite" if saturate else ""
    head = f"mma.sync.aligned.m8n8k16.row.col{suffix}.s32.s8.s8.s32"
    found = multiplied(head, {"d": "s32", "a": "s8", "b": "s8", "c": "s32"}, given, 2, check=True)
    total = (left @ right + sums).astype(np.int64)
    kept = np.clip(total, -(2**31), 2**31 - 1) if saturate else (total + 2**31) % 2**32 - 2**31
    assert np.array_equal(unpacked(found, "s32"), fragments.spread(kept, fragments.c_place, 2))


def test_infinities_and_nans_spread_as_in_a_sum() -> None:
    left, right, sums = np.zeros((16, 8)), np.ones((8, 8)), np.zeros((16, 8))
    left[0, 0], left[1, 3], left[2, 0], sums[3] = np.inf, np.nan, np.inf, -np.inf
    right[0, 1], sums[2] = 0.0, -np.inf
    sums[4] = -0.0
    given = {
        "a": packed(fragments.a_of("m16n8k8", "f16", left), "f16"),
        "b": packed(fragments.b_of("m16n8k8", "f16", right), "f16"),
        "c": packed(fragments.spread(sums, fragments.c_place, 4), "f32"),
    }
    head = "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32"
    bits = multiplied(head, {"d": "f32", "a": "f16", "b": "f16", "c": "f32"}, given, 4)
    with np.errstate(invalid="ignore"):
        expected = fragments.spread(left @ right + sums, fragments.c_place, 4).astype(np.float32)
    found = unpacked(bits, "f32")
    assert np.array_equal(found, expected, equal_nan=True)
    assert set(bits[np.isnan(found)].tolist()) == {0x7FFFFFFF}


# wmma


WMMA = [
    *((s, "f16", d, c) for s, d, c in zip(
        ("m16n16k16", "m8n32k16", "m32n8k16"), ("f32", "f16", "f32"), ("f32", "f32", "f16"), strict=True)),
    *((s, e, "f32", "f32") for s, e in (("m16n16k16", "bf16"), ("m8n32k16", "bf16"), ("m16n16k8", "tf32"))),
    ("m8n8k4", "f64", "f64", "f64"),
    *((s, e, "s32", "s32") for s, e in (
        ("m16n16k16", "s8"), ("m32n8k16", "u8"), ("m8n8k32", "s4"), ("m8n8k128", "b1"))),
]  # fmt: skip
REGISTERS = {"f16": 2, "bf16": 2, "tf32": 1, "f64": 1, "s8": 4, "u8": 4, "s4": 8, "b1": 32}


def memory(matrix: NDArray[Any], layout: str, pad: int, element: str) -> tuple[NDArray[Any], int]:
    """A matrix as it lies in memory, as 32-bit or f64 words, and its stride in elements."""
    lines = matrix if layout == "row" else matrix.T
    wide = np.pad(lines, ((0, 0), (0, pad)))
    return packed(np.ascontiguousarray(wide), element), wide.shape[1]


def wmma_kernel(
    shape: str, element: str, d: str, c: str, al: str, bl: str, cl: str, strides: Sequence[int]
) -> str:
    m, n, k = sizes(shape)
    counts = {
        "a": 8 if element == "f16" else max(1, m * k // 32 // REGISTERS[element]),
        "b": 8 if element == "f16" else max(1, k * n // 32 // REGISTERS[element]),
        "c": m * n // 32 // (2 if c == "f16" else 1),
        "d": m * n // 32 // (2 if d == "f16" else 1),
    }
    types = {"a": "f64" if element == "f64" else "b32", "c": REGISTER.get(c, ("b32", ""))[0]}
    types |= {"b": types["a"], "d": REGISTER.get(d, ("b32", ""))[0]}
    registers = "".join(
        f".reg .{types[p]} %{p}<{counts[p]}>; .reg .u64 %p{p};\nld.param.u64 %p{p}, [{p}];\n" for p in "abcd"
    )
    a, b, c_, d_ = (vector(p, counts[p]) for p in "abcd")
    types_text = f"{d}.{c}" if element == "f16" else f"{d}.{element}.{element}.{c}"
    op = "xor.popc." if element == "b1" else ""
    return f"""{HEADER}.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d) {{
{registers}.reg .u32 %s;
mov.u32 %s, {strides[0]};
wmma.load.a.sync.aligned.{al}.{shape}.global.{element} {a}, [%pa], %s;
wmma.load.b.sync.aligned.{bl}.{shape}.{element} {b}, [%pb], {strides[1]};
wmma.load.c.sync.aligned.{cl}.{shape}.global.{c} {c_}, [%pc], {strides[2]};
wmma.mma.{op}sync.aligned.{al}.{bl}.{shape}.{types_text} {d_}, {a}, {b}, {c_};
wmma.store.d.sync.aligned.{cl}.{shape}.{d} [%pd], {d_}, {strides[3]};
ret;
}}
"""


LAYOUTS = [("row", "col", "row"), ("col", "row", "col")]
# sub-byte matrices lie one way only
CASES = [(*w, *x) for w in WMMA for x in (LAYOUTS if w[1] not in ("s4", "b1") else LAYOUTS[:1])]


@pytest.mark.parametrize(("shape", "element", "d", "c", "al", "bl", "cl"), CASES)
def test_wmma_multiplies_matrices_in_memory(
    shape: str, element: str, d: str, c: str, al: str, bl: str, cl: str
) -> None:
    draw = np.random.default_rng(4)
    m, n, k = sizes(shape)
    left, right, sums = (integers(e, s, draw) for e, s in ((element, (m, k)), (element, (k, n)), (c, (m, n))))
    pad = {"s4": 32, "b1": 128, "s8": 16, "u8": 16}.get(element, 8)
    a, sa = memory(left, al, pad, element)
    b, sb = memory(right, bl, pad, element)
    held, sc = memory(sums, cl, 8, c)
    lines, length = (m, n) if cl == "row" else (n, m)
    size = lines * (length + 8) // (2 if d == "f16" else 1)
    text = wmma_kernel(shape, element, d, c, al, bl, cl, (sa, sb, sc, length + 8))
    buffers = [
        Buffer(p, str(v.dtype), v.size, "input", v.ravel()) for p, v in (("a", a), ("b", b), ("c", held))
    ]
    buffers.append(Buffer("d", "float64" if d == "f64" else "uint32", size, "scratch"))
    launch = Launch("k", (1, 1, 1), (32, 1, 1), tuple("abcd"))
    expected = left @ right + sums
    if element == "b1":
        expected = (left.astype(int)[:, :, None] ^ right.astype(int)[None]).sum(axis=1) + sums
    for width, check in ((32, False), (1, True)):
        found = outcome(Job(text, (launch,), tuple(buffers), width=width, check=check))["d"]  # type: ignore[arg-type]
        stored = unpacked(found, d).reshape(lines, length + 8)[:, :length]
        assert np.array_equal(stored if cl == "row" else stored.T, expected)


def test_a_matrix_loaded_by_rows_and_multiplied_by_columns_is_another() -> None:
    draw = np.random.default_rng(5)
    left, right, sums = (draw.integers(-4, 5, (16, 16)).astype(float) for _ in range(3))
    given = [packed(x, "f16") for x in (left, right)] + [packed(sums, "f32")]
    text = wmma_kernel("m16n16k16", "f16", "f32", "f32", "row", "row", "row", (16, 16, 16, 16))
    text = text.replace("wmma.mma.sync.aligned.row", "wmma.mma.sync.aligned.col")
    buffers = [Buffer(p, "uint32", v.size, "input", v.ravel()) for p, v in zip("abc", given, strict=True)]
    buffers.append(Buffer("d", "float32", 256, "output"))
    found = outcome(Job(text, (Launch("k", (1, 1, 1), (32, 1, 1), tuple("abcd")),), tuple(buffers)))["d"]
    assert not np.array_equal(found.reshape(16, 16), left @ right + sums)


# 8 x 8 matrices of 16 bits


def moving_kernel(body: str, registers: int) -> str:
    """in (256 words) to shared memory, the body on %s (a lane's own 16 bytes), shared memory to out."""
    return f"""{HEADER}.visible .entry k(.param .u64 in, .param .u64 out) {{
.shared .align 16 .b8 words[1024];
.reg .u32 %t, %s, %base, %x; .reg .u64 %i, %o, %g; .reg .b32 %r<{registers}>; .reg .b32 %v<8>;
ld.param.u64 %i, [in]; ld.param.u64 %o, [out];
mov.u32 %t, %tid.x; mov.u32 %base, words;
mad.lo.u32 %s, %t, 16, %base;
mad.wide.u32 %i, %t, 32, %i; mad.wide.u32 %o, %t, 32, %o; mad.lo.u32 %x, %t, 32, %base;
ld.global.v4.b32 {{%v0, %v1, %v2, %v3}}, [%i]; ld.global.v4.b32 {{%v4, %v5, %v6, %v7}}, [%i+16];
st.shared.v4.b32 [%x], {{%v0, %v1, %v2, %v3}}; st.shared.v4.b32 [%x+16], {{%v4, %v5, %v6, %v7}};
bar.sync 0;
{body}
bar.sync 0;
ld.shared.v4.b32 {{%v0, %v1, %v2, %v3}}, [%x]; ld.shared.v4.b32 {{%v4, %v5, %v6, %v7}}, [%x+16];
st.global.v4.b32 [%o], {{%v0, %v1, %v2, %v3}}; st.global.v4.b32 [%o+16], {{%v4, %v5, %v6, %v7}};
ret;
}}
"""


def moved(text: str, halves: NDArray[np.uint16], width: int, check: bool) -> NDArray[np.uint16]:
    buffers = (Buffer("in", "uint16", 512, "input", halves), Buffer("out", "uint16", 512, "output"))
    launch = Launch("k", (1, 1, 1), (32, 1, 1), ("in", "out"))
    return outcome(Job(text, (launch,), buffers, width=width, check=check))["out"]  # type: ignore[arg-type]


MODES = [(32, False), (32, True), (1, False), (1, True)]


@pytest.mark.parametrize(("width", "check"), MODES)
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("trans", ["", ".trans"])
def test_ldmatrix_gives_lane_l_two_elements_of_row_l_over_4(
    count: int, trans: str, width: int, check: bool
) -> None:
    stores = "".join(f"st.shared.b32 [%x+{4 * i}], %r{i};\n" for i in range(count))
    load = f"ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {vector('r', count)}, [%s];\n"
    body = f"{load}bar.sync 0;\n{stores}"
    halves = np.arange(512, dtype=np.uint16)
    found = moved(moving_kernel(body, count), halves, width, check).reshape(32, 16)
    matrices = halves[:256].reshape(4, 8, 8)[:count]
    if trans:
        matrices = matrices.swapaxes(1, 2)
    expected = halves.reshape(32, 16).copy()
    for lane in range(32):
        for i in range(count):
            expected[lane, 2 * i : 2 * i + 2] = matrices[i, lane // 4, lane % 4 * 2 : lane % 4 * 2 + 2]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("width", "check"), MODES)
@pytest.mark.parametrize(("count", "trans"), [(1, ""), (2, ".trans"), (4, "")])
def test_stmatrix_puts_back_what_ldmatrix_took(count: int, trans: str, width: int, check: bool) -> None:
    body = (
        f"ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {vector('r', count)}, [%s];\n"
        "bar.sync 0;\nadd.u32 %s, %s, 512;\ncvt.u64.u32 %i, %s;\ncvta.shared.u64 %g, %i;\n"
    )
    body += f"stmatrix.sync.aligned.m8n8.x{count}{trans}.b16 [%g], {vector('r', count)};\n"
    halves = np.random.default_rng(6).integers(0, 65536, 512).astype(np.uint16)
    found = moved(moving_kernel(body, count), halves, width, check)
    expected = halves.copy()
    expected[256 : 256 + 64 * count] = halves[: 64 * count]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("width", "check"), MODES)
@pytest.mark.parametrize("wmma", [False, True])
def test_a_matrix_is_read_when_all_lanes_of_the_warp_have_come(wmma: bool, width: int, check: bool) -> None:
    """Each lane writes the row that another reads, and no barrier stands between."""
    load = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0, %r1, %r2, %r3}, [%s];\n"
    if wmma:
        load = (
            "wmma.load.c.sync.aligned.row.m16n16k16.shared.f16 {%r0, %r1, %r2, %r3}, [%base];\n"
            "mov.u32 %s, 0;\n"
        )
    body = (
        "xor.b32 %v1, %t, 21;\nmad.lo.u32 %s, %v1, 16, %base;\nadd.u32 %v0, %t, 100;\n"
        "st.shared.v4.b32 [%s], {%v0, %v0, %v0, %v0};\nmad.lo.u32 %s, %t, 16, %base;\n"
        f"{load}bar.sync 0;\nmad.lo.u32 %s, %t, 16, %base;\n"
        "st.shared.v4.b32 [%s], {%r0, %r1, %r2, %r3};\n"
    )
    found = moved(moving_kernel(body, 4), np.zeros(512, np.uint16), width, check)
    words = np.sort(found.view(np.uint32)[:128])
    assert np.array_equal(words, np.repeat(np.arange(100, 132, dtype=np.uint32), 4))


@pytest.mark.parametrize(("width", "check"), MODES)
def test_movmatrix_transposes(width: int, check: bool) -> None:
    body = (
        "mad.lo.u32 %s, %t, 4, %base;\nld.shared.b32 %r0, [%s];\n"
        "movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r0;\nst.shared.b32 [%s+512], %r1;\n"
    )
    halves = np.arange(512, dtype=np.uint16)
    found = moved(moving_kernel(body, 2), halves, width, check)
    assert np.array_equal(found[256:320].reshape(8, 8), halves[:64].reshape(8, 8).T)


def test_a_row_that_is_not_aligned_is_reported() -> None:
    body = "add.u32 %s, %s, 4;\nldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r0}, [%s];\n"
    buffers = (
        Buffer("in", "uint16", 512, "input", np.zeros(512, np.uint16)),
        Buffer("out", "uint16", 512, "output"),
    )  # fmt: skip
    launch = Launch("k", (1, 1, 1), (32, 1, 1), ("in", "out"))
    for width in WIDTHS:
        done = run_job(Job(moving_kernel(body, 1), (launch,), buffers, width=width, check=True))  # type: ignore[arg-type]
        assert [f.kind for f in done.findings] == ["misaligned"]


def test_a_shape_that_no_type_has_is_refused_with_its_neighbours() -> None:
    text = product_kernel(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f16",
        {"d": "f32", "a": "f16", "b": "f16", "c": "f16"}, {"d": 4, "a": 2, "b": 1, "c": 2},
    )  # fmt: skip
    done = run_job(Job(text, (Launch("k", (1, 1, 1), (32, 1, 1), (0, 0, 0, 0)),), ()))
    assert done.status == "error"
    assert "no supported form of mma" in done.findings[0].message
