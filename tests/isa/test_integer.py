"""Integer, extended-precision and logic rows against Python's integers."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.isa.run import integers, run, signed
from tests.isa.scalar import Scalar

TYPES = ["u16", "u32", "u64", "s16", "s32", "s64"]


def view(value: int, type: str) -> int:
    """The number that the bits mean."""
    return signed(value, int(type[1:])) if type[0] == "s" else value


def cut(value: int, bits: int) -> int:
    return value & (1 << bits) - 1


def truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


TWO: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, n: a + b,
    "sub": lambda a, b, n: a - b,
    "mul.lo": lambda a, b, n: a * b,
    "mul.hi": lambda a, b, n: a * b >> n,
    "div": lambda a, b, n: truncated(a, b) if b else -1,
    "rem": lambda a, b, n: a - b * truncated(a, b) if b else a,
    "min": lambda a, b, n: min(a, b),
    "max": lambda a, b, n: max(a, b),
}


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("op", sorted(TWO))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_two_operand_arithmetic_wraps_at_the_types_width(op: str, type: str, data: st.DataObject) -> None:
    n = int(type[1:])
    a, b = data.draw(integers(n)), data.draw(integers(n))
    assert run(f"{op}.{type}", a, b) == cut(TWO[op](view(a, type), view(b, type), n), n)


@pytest.mark.parametrize("type", TYPES)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_mad_and_sad_add_their_third_operand(type: str, data: st.DataObject) -> None:
    n = int(type[1:])
    a, b, c = (data.draw(integers(n)) for _ in range(3))
    x, y, z = (view(v, type) for v in (a, b, c))
    assert run(f"mad.lo.{type}", a, b, c) == cut(x * y + z, n)
    assert run(f"mad.hi.{type}", a, b, c) == cut((x * y >> n) + z, n)
    assert run(f"sad.{type}", a, b, c) == cut(abs(x - y) + z, n)


@pytest.mark.parametrize("type", ["u16", "u32", "s16", "s32"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wide_products_are_exact(type: str, data: st.DataObject) -> None:
    n = int(type[1:])
    a, b, c = data.draw(integers(n)), data.draw(integers(n)), data.draw(integers(2 * n))
    product = view(a, type) * view(b, type)
    assert run(f"mul.wide.{type}", a, b) == cut(product, 2 * n)
    assert run(f"mad.wide.{type}", a, b, c) == cut(product + c, 2 * n)


def clamp(value: int) -> int:
    return cut(min(max(value, -(2**31)), 2**31 - 1), 32)


@settings(max_examples=150, deadline=None)
@given(a=integers(32), b=integers(32), c=integers(32))
def test_saturating_forms_stop_at_the_extremes(a: int, b: int, c: int) -> None:
    x, y, z = (signed(v, 32) for v in (a, b, c))
    assert run("add.sat.s32", a, b) == clamp(x + y)
    assert run("sub.sat.s32", a, b) == clamp(x - y)
    assert run("mad.hi.sat.s32", a, b, c) == clamp(signed(x * y >> 32, 32) + z)
    high = signed(cut(signed(a, 24) * signed(b, 24) >> 16, 32), 32)
    assert run("mad24.hi.sat.s32", a, b, c) == clamp(high + z)


@settings(max_examples=200, deadline=None)
@given(a=integers(32), b=integers(32), c=integers(32))
def test_24_bit_products_ignore_the_upper_byte(a: int, b: int, c: int) -> None:
    for type, x, y in (("u32", cut(a, 24), cut(b, 24)), ("s32", signed(a, 24), signed(b, 24))):
        assert run(f"mul24.lo.{type}", a, b) == cut(x * y, 32)
        assert run(f"mul24.hi.{type}", a, b) == cut(x * y >> 16, 32)
        assert run(f"mad24.lo.{type}", a, b, c) == cut(x * y + c, 32)
        assert run(f"mad24.hi.{type}", a, b, c) == cut((x * y >> 16) + c, 32)


@pytest.mark.parametrize("n", [16, 32, 64])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_abs_and_neg_leave_the_least_integer_alone(n: int, data: st.DataObject) -> None:
    a = data.draw(integers(n))
    assert run(f"abs.s{n}", a) == cut(abs(signed(a, n)), n)
    assert run(f"neg.s{n}", a) == cut(-a, n)
    assert run(f"abs.s{n}", 1 << n - 1) == 1 << n - 1


@settings(max_examples=200, deadline=None)
@given(a=integers(32), b=integers(32))
def test_packed_halves_do_not_touch_each_other(a: int, b: int) -> None:
    def by_halves(op: Callable[[int, int], int], see: Callable[[int], int]) -> int:
        low = cut(op(see(cut(a, 16)), see(cut(b, 16))), 16)
        return low | cut(op(see(a >> 16), see(b >> 16)), 16) << 16

    def signed16(v: int) -> int:
        return signed(v, 16)

    assert run("add.u16x2", a, b) == run("add.s16x2", a, b) == by_halves(lambda x, y: x + y, int)
    assert run("min.u16x2", a, b) == by_halves(min, int)
    assert run("max.s16x2", a, b) == by_halves(max, signed16)
    assert run("min.relu.s16x2", a, b) == by_halves(lambda x, y: max(min(x, y), 0), signed16)
    assert run("max.relu.s32", a, b) == max(signed(a, 32), signed(b, 32), 0)


@pytest.mark.parametrize("n", [32, 64])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_bit_counts_agree_with_the_binary_text(n: int, data: st.DataObject) -> None:
    a = data.draw(integers(n) | st.integers(0, 63).map(lambda k: 1 << k % n))
    text = f"{a:0{n}b}"
    assert run(f"popc.b{n}", a) == text.count("1")
    assert run(f"clz.b{n}", a) == n - len(text.lstrip("0"))
    assert run(f"brev.b{n}", a) == int(text[::-1], 2)
    for type, sought in ((f"u{n}", "1"), (f"s{n}", "0" if text[0] == "1" else "1")):
        at = text.find(sought)
        assert run(f"bfind.{type}", a) == (n - 1 - at if at >= 0 else 0xFFFFFFFF)
        assert run(f"bfind.shiftamt.{type}", a) == (at if at >= 0 else 0xFFFFFFFF)


SMALL = st.one_of(st.integers(0, 70), st.sampled_from([127, 128, 255, 256, 257, 0xFFFFFFFF]))


@pytest.mark.parametrize("n", [32, 64])
@settings(max_examples=150, deadline=None)
@given(data=st.data(), position=SMALL, length=SMALL)
def test_bit_fields_are_taken_and_put_bit_by_bit(
    n: int, data: st.DataObject, position: int, length: int
) -> None:
    a, b = data.draw(integers(n)), data.draw(integers(n))
    at, size = position & 255, length & 255

    def bit(i: int) -> int:
        return a >> i & 1

    for type in ("u", "s"):
        fill = bit(min(at + size - 1, n - 1)) if type == "s" and size else 0
        want = sum((bit(at + i) if i < size and at + i < n else fill) << i for i in range(n))
        assert run(f"bfe.{type}{n}", a, position, length) == want
    taken = [i for i in range(n) if at <= i < at + size]
    want = sum(((bit(i - at) if i in taken else b >> i & 1) << i) for i in range(n))
    assert run(f"bfi.b{n}", a, b, position, length) == want


@settings(max_examples=200, deadline=None)
@given(a=integers(32), b=SMALL)
def test_szext_and_bmsk_clamp_or_wrap(a: int, b: int) -> None:
    for mode, size in (("clamp", min(b, 32)), ("wrap", b & 31)):
        assert run(f"szext.{mode}.u32", a, b) == cut(a, size)
        assert run(f"szext.{mode}.s32", a, b) == cut(signed(cut(a, size), size) if size else 0, 32)
    assert run("bmsk.clamp.b32", a & 63, b) == cut(cut(-1, min(b, 32)) << (a & 63), 32)
    assert run("bmsk.wrap.b32", a, b) == cut(cut(-1, b & 31) << (a & 31), 32)


@settings(max_examples=150, deadline=None)
@given(
    mask=integers(32),
    base=st.integers(0, 31),
    offset=st.integers(-34, 34) | st.sampled_from([-(2**31), 2**31 - 1]),
)
def test_fns_counts_set_bits_from_the_base(mask: int, base: int, offset: int) -> None:
    if offset == 0:
        want = base if mask >> base & 1 else 0xFFFFFFFF
    else:
        walk = range(base, 32) if offset > 0 else range(base, -1, -1)
        found = [i for i in walk if mask >> i & 1]
        want = found[abs(offset) - 1] if abs(offset) <= len(found) else 0xFFFFFFFF
    assert run("fns.b32", mask, base, offset) == want


@settings(max_examples=150, deadline=None)
@given(
    a=integers(32), b=integers(32), c=integers(32), kinds=st.tuples(*[st.sampled_from(["u32", "s32"])] * 2)
)
def test_dot_products_of_bytes(a: int, b: int, c: int, kinds: tuple[str, str]) -> None:
    def parts(value: int, width: int, kind: str) -> list[int]:
        fields = [value >> i & (1 << width) - 1 for i in range(0, 32, width)]
        return [signed(f, width) if kind == "s32" else f for f in fields]

    x8, x16, y8 = parts(a, 8, kinds[0]), parts(a, 16, kinds[0]), parts(b, 8, kinds[1])
    dot = sum(x * y for x, y in zip(x8, y8, strict=True))
    assert run(f"dp4a.{kinds[0]}.{kinds[1]}", a, b, c) == cut(dot + c, 32)
    for mode, half in (("lo", y8[:2]), ("hi", y8[2:])):
        dot = sum(x * y for x, y in zip(x16, half, strict=True))
        assert run(f"dp2a.{mode}.{kinds[0]}.{kinds[1]}", a, b, c) == cut(dot + c, 32)


# extended precision


def words(value: int, n: int, count: int) -> list[int]:
    return [value >> n * i & (1 << n) - 1 for i in range(count)]


@pytest.mark.parametrize("type", ["u32", "s32", "u64", "s64"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_carry_chains_add_and_subtract_long_integers(type: str, data: st.DataObject) -> None:
    n = int(type[1:])
    a, b = data.draw(integers(4 * n)), data.draw(integers(4 * n))
    for op, want in (("add", a + b), ("sub", a - b)):
        e = Scalar()
        heads = [f"{op}.cc", f"{op}c.cc", f"{op}c.cc", f"{op}c"]
        pairs = zip(heads, words(a, n, 4), words(b, n, 4), strict=True)
        got = [run(f"{head}.{type}", x, y, emitter=e) for head, x, y in pairs]
        assert got == words(want, n, 4)


@pytest.mark.parametrize("n", [32, 64])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_mad_cc_and_madc_multiply_long_integers(n: int, data: st.DataObject) -> None:
    """Schoolbook multiplication of two words by two."""
    a, b = data.draw(integers(2 * n)), data.draw(integers(2 * n))
    e = Scalar()
    (a0, a1), (b0, b1) = words(a, n, 2), words(b, n, 2)

    def do(head: str, *values: int) -> int:
        result = run(f"{head}.u{n}", *values, emitter=e)
        assert isinstance(result, int)
        return result

    r0, r1 = do("mul.lo", a0, b0), do("mul.hi", a0, b0)
    r1 = do("mad.lo.cc", a1, b0, r1)
    r2 = do("madc.hi", a1, b0, 0)
    r1 = do("mad.lo.cc", a0, b1, r1)
    r2 = do("madc.hi.cc", a0, b1, r2)
    r3 = do("addc", 0, 0)
    r2 = do("mad.lo.cc", a1, b1, r2)
    r3 = do("madc.hi", a1, b1, r3)
    assert [r0, r1, r2, r3] == words(a * b, n, 4)


# logic and shifts


@pytest.mark.parametrize("type", ["pred", "b16", "b32", "b64"])
def test_bitwise_operations(type: str) -> None:
    n = 1 if type == "pred" else int(type[1:])
    draw = random.Random(type)
    for _ in range(20):
        a, b = draw.getrandbits(n), draw.getrandbits(n)
        assert run(f"and.{type}", a, b) == a & b
        assert run(f"or.{type}", a, b) == a | b
        assert run(f"xor.{type}", a, b) == a ^ b
        assert run(f"not.{type}", a) == cut(~a, n)
    if n > 1:
        assert [run(f"cnot.{type}", value) for value in (0, 1, 1 << n - 1)] == [1, 0, 0]


@pytest.mark.parametrize("table", [0x80, 0xFE, 0x40, 0x1A, 0xCA, 0x96, 0, 255])
def test_lop3_looks_each_bit_up(table: int) -> None:
    draw = random.Random(table)
    a, b, c = (draw.getrandbits(32) for _ in range(3))
    want = sum((table >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i for i in range(32))
    assert run("lop3.b32", a, b, c, table) == want
    for q in (0, 1):
        assert run("lop3.or.b32", a, b, c, table, q) == (want, int(want != 0 or q))
        assert run("lop3.and.b32", a, b, c, table, q) == (want, int(want != 0 and q))


@settings(max_examples=200, deadline=None)
@given(a=integers(64), amount=SMALL, n=st.sampled_from([16, 32, 64]))
def test_shifts_clamp_at_the_width(a: int, amount: int, n: int) -> None:
    a = cut(a, n)
    assert run(f"shl.b{n}", a, amount) == cut(a << min(amount, n), n)
    assert run(f"shr.b{n}", a, amount) == run(f"shr.u{n}", a, amount) == a >> min(amount, n)
    assert run(f"shr.s{n}", a, amount) == cut(signed(a, n) >> min(amount, n), n)


@settings(max_examples=200, deadline=None)
@given(a=integers(32), b=integers(32), c=SMALL)
def test_funnel_shifts_clamp_or_wrap(a: int, b: int, c: int) -> None:
    both = b << 32 | a
    for mode, amount in (("clamp", min(c, 32)), ("wrap", c & 31)):
        assert run(f"shf.l.{mode}.b32", a, b, c) == cut(both << amount >> 32, 32)
        assert run(f"shf.r.{mode}.b32", a, b, c) == cut(both >> amount, 32)
