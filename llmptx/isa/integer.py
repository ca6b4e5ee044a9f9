"""Integer arithmetic (PTX ISA 9.7.1)."""

from __future__ import annotations

from llmptx.isa.arith import (
    B32,
    add_sat,
    ashr_clamped,
    extended,
    int_max,
    int_min,
    like,
    lshr_clamped,
    negative,
    on_halves,
    resized,
    shl_clamped,
    sub_sat,
)
from llmptx.isa.emitter import Emitter, Value
from llmptx.isa.form import Modifiers, form


@form("add.type:u16|u32|u64|s16|s64  d, a, b")
@form("add[.sat].type:s32  d, a, b")
def add(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return add_sat(e, a, b) if m.get("sat") else e.add(a, b)


@form("add.u16x2  d:b32, a:b32, b:b32")
@form("add.s16x2  d:b32, a:b32, b:b32")
def add_x2(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return on_halves(e, e.add, a, b)


@form("sub.type:u16|u32|u64|s16|s64  d, a, b")
@form("sub[.sat].type:s32  d, a, b")
def sub(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return sub_sat(e, a, b) if m.get("sat") else e.sub(a, b)


@form("mul.mode:hi|lo.type:u16|u32|u64|s16|s32|s64  d, a, b")
@form("mul.mode:wide.type:u16|u32|s16|s32  d:wide, a, b")
def mul(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return _product(e, m, a, b)


@form("mad.mode:hi|lo.type:u16|u32|u64|s16|s32|s64  d, a, b, c")
@form("mad.mode:wide.type:u16|u32|s16|s32  d:wide, a, b, c:wide")
def mad(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    return e.add(_product(e, m, a, b), c)


@form("mad.mode:hi.sat.type:s32  d, a, b, c")
def mad_sat(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """Only the addition saturates."""
    return add_sat(e, _product(e, m, a, b), c)


def _product(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    signed = m.type.signed
    if m.mode == "wide":
        bits = 2 * m.type.bits
        return e.mul(extended(e, a, bits, signed), extended(e, b, bits, signed))
    return e.mul(a, b) if m.mode == "lo" else e.mulhi(a, b, signed)


@form("mul24.mode:hi|lo.type:u32|s32  d, a, b")
def mul24(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """The operands' low 24 bits count; .hi gives bits 47..16 of the product."""
    return _product24(e, m, a, b)


@form("mad24.mode:hi|lo.type:u32|s32  d, a, b, c")
def mad24(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    return e.add(_product24(e, m, a, b), c)


@form("mad24.mode:hi.sat.type:s32  d, a, b, c")
def mad24_sat(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    return add_sat(e, _product24(e, m, a, b), c)


def _product24(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    product = e.mul(_wide24(e, m, a), _wide24(e, m, b))
    return e.trunc(product if m.mode == "lo" else e.lshr(product, like(e, product, 16)), 32)


def _wide24(e: Emitter, m: Modifiers, a: Value) -> Value:
    high = e.shl(a, like(e, a, 8))
    low = e.ashr(high, like(e, a, 8)) if m.type.signed else e.lshr(high, like(e, a, 8))
    return extended(e, low, 64, m.type.signed)


@form("sad.type:u16|u32|u64|s16|s32|s64  d, a, b, c")
def sad(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    less = e.icmp("slt" if m.type.signed else "ult", a, b)
    return e.add(c, e.select(less, e.sub(b, a), e.sub(a, b)))


@form("div.type:u16|u32|u64|s16|s32|s64  d, a, b")
def div(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """Toward zero; by zero the manual promises nothing: here all bits are set."""
    return e.div(a, b, m.type.signed)


@form("rem.type:u16|u32|u64|s16|s32|s64  d, a, b")
def rem(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """The dividend's sign; by zero the manual promises nothing: here the dividend."""
    return e.rem(a, b, m.type.signed)


@form("abs.type:s16|s32|s64  d, a")
def abs_(e: Emitter, m: Modifiers, a: Value) -> Value:
    """The least integer stays itself."""
    return e.select(negative(e, a), e.sub(like(e, a, 0), a), a)


@form("neg.type:s16|s32|s64  d, a")
def neg(e: Emitter, m: Modifiers, a: Value) -> Value:
    return e.sub(like(e, a, 0), a)


@form("min.type:u16|u32|u64|s16|s64  d, a, b")
@form("min[.relu].type:s32  d, a, b")
def min_(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """.relu turns a negative result into 0."""
    return _relu(e, m, int_min(e, a, b, m.type.signed))


@form("max.type:u16|u32|u64|s16|s64  d, a, b")
@form("max[.relu].type:s32  d, a, b")
def max_(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return _relu(e, m, int_max(e, a, b, m.type.signed))


@form("min[.relu].s16x2  d:b32, a:b32, b:b32")
def min_s16x2(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return on_halves(e, lambda x, y: _relu(e, m, int_min(e, x, y, signed=True)), a, b)


@form("max[.relu].s16x2  d:b32, a:b32, b:b32")
def max_s16x2(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return on_halves(e, lambda x, y: _relu(e, m, int_max(e, x, y, signed=True)), a, b)


@form("min.u16x2  d:b32, a:b32, b:b32")
def min_u16x2(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return on_halves(e, lambda x, y: int_min(e, x, y, signed=False), a, b)


@form("max.u16x2  d:b32, a:b32, b:b32")
def max_u16x2(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return on_halves(e, lambda x, y: int_max(e, x, y, signed=False), a, b)


def _relu(e: Emitter, m: Modifiers, a: Value) -> Value:
    return int_max(e, a, like(e, a, 0), signed=True) if m.get("relu") else a


@form("popc.type:b32|b64  d:u32, a")
def popc(e: Emitter, m: Modifiers, a: Value) -> Value:
    return resized(e, e.popc(a), 32)


@form("clz.type:b32|b64  d:u32, a")
def clz(e: Emitter, m: Modifiers, a: Value) -> Value:
    """The width for 0."""
    return resized(e, e.clz(a), 32)


@form("bfind[.shiftamt].type:u32|u64|s32|s64  d:u32, a")
def bfind(e: Emitter, m: Modifiers, a: Value) -> Value:
    """The highest bit that is not the sign (unsigned: not 0), or the shift that brings it to the top."""
    if m.type.signed:
        a = e.select(negative(e, a), e.not_(a), a)
    zeros = resized(e, e.clz(a), 32)
    found = zeros if m.shiftamt else e.sub(e.const(B32, m.type.bits - 1), zeros)
    return e.select(e.icmp("eq", a, like(e, a, 0)), e.const(B32, 0xFFFFFFFF), found)


@form("fns.b32  d:b32, a:b32, b:b32, c:s32")
def fns(e: Emitter, m: Modifiers, mask: Value, base: Value, offset: Value) -> Value:
    """The |offset|-th set bit from `base` on, up or (offset < 0) down; offset 0 asks for `base` itself."""
    zero, one, none = (e.const(B32, value) for value in (0, 1, 0xFFFFFFFF))
    down = negative(e, offset)
    base = e.and_(base, e.const(B32, 31))
    turned = e.select(down, e.brev(mask), mask)
    start = e.select(down, e.sub(e.const(B32, 31), base), base)
    upward = e.and_(turned, e.shl(none, start))
    wanted = e.select(down, e.sub(zero, offset), offset)
    at = _nth_bit(e, upward, wanted)
    found = e.icmp("ule", wanted, e.popc(upward))
    at = e.select(found, e.select(down, e.sub(e.const(B32, 31), at), at), none)
    here = e.select(e.icmp("ne", e.and_(e.lshr(mask, base), one), zero), base, none)
    return e.select(e.icmp("eq", offset, zero), here, at)


def _nth_bit(e: Emitter, a: Value, n: Value) -> Value:
    """The position of the n-th set bit, n >= 1, by halving; of no use where there are fewer."""
    at, left = e.const(B32, 0), n
    for width in (16, 8, 4, 2, 1):
        count = e.popc(e.and_(e.lshr(a, at), e.const(B32, (1 << width) - 1)))
        above = e.icmp("ugt", left, count)
        left = e.select(above, e.sub(left, count), left)
        at = e.select(above, e.add(at, e.const(B32, width)), at)
    return at


@form("brev.type:b32|b64  d, a")
def brev(e: Emitter, m: Modifiers, a: Value) -> Value:
    return e.brev(a)


@form("bfe.type:u32|u64|s32|s64  d, a, b:u32, c:u32")
def bfe(e: Emitter, m: Modifiers, a: Value, position: Value, length: Value) -> Value:
    """`length` bits from `position` on; signed, the field's top bit (a's, if beyond it) fills the rest."""
    width = m.type.bits
    position, length = (e.and_(x, e.const(B32, 255)) for x in (position, length))
    field = (ashr_clamped if m.type.signed else lshr_clamped)(e, a, position)
    # shifting the field to the top and back extends it; a length of the width or more changes nothing
    spare = e.sub(e.const(B32, width), int_min(e, length, e.const(B32, width), signed=False))
    top = shl_clamped(e, field, spare)
    back = (ashr_clamped if m.type.signed else lshr_clamped)(e, top, spare)
    return e.select(e.icmp("eq", length, e.const(B32, 0)), like(e, a, 0), back)


@form("bfi.type:b32|b64  d, a, b, c:u32, n:u32")
def bfi(e: Emitter, m: Modifiers, a: Value, b: Value, position: Value, length: Value) -> Value:
    """a's low `length` bits replace those of b from `position` on; what would stand above is dropped."""
    position, length = (e.and_(x, e.const(B32, 255)) for x in (position, length))
    ones = e.not_(shl_clamped(e, e.not_(like(e, a, 0)), length))
    mask = shl_clamped(e, ones, position)
    return e.or_(e.and_(b, e.not_(mask)), e.and_(shl_clamped(e, a, position), mask))


@form("szext.mode:clamp|wrap.type:u32|s32  d, a, b:u32")
def szext(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """The low b bits extended to 32; .clamp takes 32 or more as all, .wrap b modulo 32; of 0 bits, 0."""
    thirty_two = e.const(B32, 32)
    size = e.and_(b, e.const(B32, 31)) if m.mode == "wrap" else int_min(e, b, thirty_two, signed=False)
    spare = e.sub(thirty_two, size)
    top = shl_clamped(e, a, spare)
    return e.select(
        e.icmp("eq", size, e.const(B32, 0)),
        e.const(B32, 0),
        (ashr_clamped if m.type.signed else lshr_clamped)(e, top, spare),
    )


@form("bmsk.mode:clamp|wrap.b32  d:b32, a:b32, b:b32")
def bmsk(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """b ones from bit a on. .wrap takes both modulo 32; .clamp as they are."""
    if m.mode == "wrap":
        a, b = (e.and_(x, e.const(B32, 31)) for x in (a, b))
    ones = e.const(B32, 0xFFFFFFFF)
    return shl_clamped(e, e.not_(shl_clamped(e, ones, b)), a)


@form("dp4a.atype:u32|s32.btype:u32|s32  d:b32, a:b32, b:b32, c:b32")
def dp4a(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """c plus the products of the four bytes, modulo 2^32."""
    for i in range(4):
        c = e.add(c, e.mul(_part(e, a, 8 * i, 8, m.atype.signed), _part(e, b, 8 * i, 8, m.btype.signed)))
    return c


@form("dp2a.mode:lo|hi.atype:u32|s32.btype:u32|s32  d:b32, a:b32, b:b32, c:b32")
def dp2a(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """c plus the products of a's two halves with the two low or high bytes of b, modulo 2^32."""
    first = 0 if m.mode == "lo" else 16
    for i in range(2):
        half = _part(e, a, 16 * i, 16, m.atype.signed)
        c = e.add(c, e.mul(half, _part(e, b, first + 8 * i, 8, m.btype.signed)))
    return c


def _part(e: Emitter, a: Value, at: int, bits: int, signed: bool) -> Value:
    return extended(e, e.trunc(e.lshr(a, like(e, a, at)), bits), 32, signed)
