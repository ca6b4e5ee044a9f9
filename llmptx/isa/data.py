"""Data movement: mov, ld, st, atom, red, address conversions, byte permutation (PTX ISA 9.7.9, 9.7.13.5-6).

A row names the type of an access; how a wider register is cut or extended is the engine's. Cache operators,
eviction and prefetch hints change no value, and ordering qualifiers none on a machine that never reorders.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from llmptx.isa.arith import B16, B32, B64, F16, halves, int_max, int_min, like, packed, resized
from llmptx.isa.emitter import Address, Emitter, Value
from llmptx.isa.form import Modifiers, form
from llmptx.ptx.types import Type

_NARROW = "type:b8|b16|b32|u8|u16|u32|s8|s16|s32|f32"
_WIDE = "type:b64|u64|s64|f64"
_SHARED = "shared|shared::cta|shared::cluster"
_EVICT = "evict:L1::evict_normal|L1::evict_unchanged|L1::evict_first|L1::evict_last|L1::no_allocate"
_PREFETCH = "prefetch:L2::64B|L2::128B|L2::256B"
_HINT = "hint:L2::cache_hint"
_SCOPE = "scope:cta|cluster|gpu|sys"

Meaning = Callable[..., Value]


def _space(m: Modifiers) -> str:
    """The state space without its sub-qualifier."""
    return (m.get("space") or "generic").partition("::")[0]


def _count(m: Modifiers) -> int:
    return int(m.vec[1:]) if m.get("vec") else 1


@form("mov.type:pred|b16|b32|b64|b128|u16|u32|u64|s16|s32|s64|f32|f64  d, a")
@form("mov.vec:v2|v4.type:b16|b32|u16|u32|s16|s32|f32  d, a")
@form("mov.vec:v2.type:b64|u64|s64|f64  d, a")
def mov(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Also a variable's address, a special register, and (b types) a vector as one value or back."""
    return a


# loads and stores; a cache policy is a hint


def ld(e: Emitter, m: Modifiers, address: Address, *policy: Value) -> Value:
    return e.load(_space(m), m.type, address, _count(m))


def ld_nc(e: Emitter, m: Modifiers, address: Address, *policy: Value) -> Value:
    """Of memory that no thread writes while the kernel runs."""
    return e.load("global", m.type, address, _count(m))


def st(e: Emitter, m: Modifiers, address: Address, b: Value, *policy: Value) -> None:
    e.store(_space(m), m.type, address, b, _count(m))


_ANY = f"space:const|global|local|param|param::entry|param::func|{_SHARED}"
_LOADS = (
    f"ld[.weak][.{_ANY}][.cop:ca|cg|cs|lu|cv]",
    f"ld[.weak][.space:global].{_EVICT}[.{_PREFETCH}]",
    f"ld[.weak][.space:global][.cop:ca|cg|cs|lu|cv].{_PREFETCH}",
    f"ld.volatile[.space:global|local|{_SHARED}]",
    f"ld.volatile[.space:global].{_PREFETCH}",
    f"ld.sem:relaxed|acquire.{_SCOPE}[.space:global|{_SHARED}]",
    f"ld.sem:relaxed|acquire.{_SCOPE}[.space:global].{_EVICT}[.{_PREFETCH}]",
    f"ld.sem:relaxed|acquire.{_SCOPE}[.space:global].{_PREFETCH}",
)
_HINTED_LOADS = (
    f"ld[.weak][.space:global][.cop:ca|cg|cs|lu|cv].{_HINT}[.{_PREFETCH}]",
    f"ld[.weak][.space:global].{_EVICT}.{_HINT}[.{_PREFETCH}]",
    f"ld.sem:relaxed|acquire.{_SCOPE}[.space:global][.{_EVICT}].{_HINT}[.{_PREFETCH}]",
)
_CONSTANT_LOADS = (
    f"ld.global[.cop:ca|cg|cs].nc[.{_PREFETCH}]",
    f"ld.global.nc.{_EVICT}[.{_PREFETCH}]",
)
_HINTED_CONSTANT_LOADS = (
    f"ld.global[.cop:ca|cg|cs].nc.{_HINT}[.{_PREFETCH}]",
    f"ld.global.nc.{_EVICT}.{_HINT}[.{_PREFETCH}]",
)
_STORES = (
    f"st[.weak][.space:global|local|param|param::func|{_SHARED}][.cop:wb|cg|cs|wt]",
    f"st[.weak][.space:global].{_EVICT}",
    f"st.volatile[.space:global|local|{_SHARED}]",
    f"st.sem:relaxed|release.{_SCOPE}[.space:global|{_SHARED}]",
    f"st.sem:relaxed|release.{_SCOPE}[.space:global].{_EVICT}",
)
_HINTED_STORES = (
    f"st[.weak][.space:global][.cop:wb|cg|cs|wt].{_HINT}",
    f"st[.weak][.space:global].{_EVICT}.{_HINT}",
    f"st.sem:relaxed|release.{_SCOPE}[.space:global][.{_EVICT}].{_HINT}",
)
_VECTORS = (f"[.vec:v2|v4].{_NARROW}", f"[.vec:v2].{_WIDE}", ".type:b128")
for _rows, _operands, _meaning in (
    (_LOADS, "d, [a]", ld),
    (_HINTED_LOADS, "d, [a], h:b64", ld),
    (_CONSTANT_LOADS, "d, [a]", ld_nc),
    (_HINTED_CONSTANT_LOADS, "d, [a], h:b64", ld_nc),
    (_STORES, "[a], b", st),
    (_HINTED_STORES, "[a], b, h:b64", st),
):
    for _head, _tail in product(_rows, _VECTORS):
        form(f"{_head}{_tail}  {_operands}")(_meaning)
for _tail in _VECTORS:
    form(f"ldu[.space:global]{_tail}  d, [a]")(ld)
for _type in (_NARROW, _WIDE, "type:b128"):
    form(f"ld.mmio.relaxed.sys[.space:global].{_type}  d, [a]")(ld)
    form(f"st.mmio.relaxed.sys[.space:global].{_type}  [a], b")(st)


# what a cache is told


@form("prefetch[.space:global|local].level:L1|L2  [a]")
@form("prefetch[.space:global].level:L2::evict_last|L2::evict_normal  [a]")
@form("prefetchu.level:L1  [a]")
def prefetch(e: Emitter, m: Modifiers, address: Address) -> None:
    """A hint: nothing happens, even of an address that is not there."""


@form("applypriority[.space:global].level:L2::evict_normal  [a], 128")
def applypriority(e: Emitter, m: Modifiers, address: Address, size: Value) -> None:
    """A hint: nothing happens."""


@form("discard[.space:global].L2  [a], 128")
def discard(e: Emitter, m: Modifiers, address: Address, size: Value) -> None:
    """The bytes may be read as anything until they are written again; here they stay what they are."""


_PRIMARY = "primary:L2::evict_last|L2::evict_normal|L2::evict_first|L2::evict_unchanged"
_SECONDARY = "secondary:L2::evict_first|L2::evict_unchanged"


def createpolicy(e: Emitter, m: Modifiers, *sources: Value) -> Value:
    """An opaque policy: here 0 always, since none has an effect."""
    return e.const(B64, 0)


for _fraction in ("", ", a:f32"):
    form(f"createpolicy.fractional.{_PRIMARY}[.{_SECONDARY}].b64  d:b64{_fraction}")(createpolicy)
form(f"createpolicy.range[.space:global].{_PRIMARY}[.{_SECONDARY}].b64  d:b64, [a], b:b32, c:b32")(
    createpolicy
)
form("createpolicy.cvt.L2.b64  d:b64, a:b64")(createpolicy)


# atomic operations


def atom(e: Emitter, m: Modifiers, address: Address, b: Value, policy: Value | None = None) -> Value:
    """Gives what was there. inc wraps to 0 past b, dec to b below 0."""
    return e.atom(_space(m), m.op, m.type, address, b, None, _count(m))


def cas(e: Emitter, m: Modifiers, address: Address, b: Value, c: Value) -> Value:
    """Gives what was there; stores c where it finds b."""
    return e.atom(_space(m), "cas", m.type, address, b, c)


def red(e: Emitter, m: Modifiers, address: Address, b: Value, policy: Value | None = None) -> None:
    e.atom(_space(m), m.op, m.type, address, b, None, _count(m))


def atom_half(e: Emitter, m: Modifiers, address: Address, b: Value, policy: Value | None = None) -> Value:
    """Each element by itself; min and max as those of the type: -0 < +0, NaN loses to a number."""
    element = Type(m.type.kind, m.type.bits)
    values = _elements(e, m.type, b if _count(m) > 1 else [b])
    several = len(values) > 1
    old = e.atom(_space(m), m.op, element, address, values if several else b, None, len(values))
    if m.type.lanes == 1:
        return old
    whole = [packed(e, *(_as_b16(e, a) for a in pair)) for pair in zip(old[::2], old[1::2], strict=True)]
    return whole if _count(m) > 1 else whole[0]


def red_half(e: Emitter, m: Modifiers, address: Address, b: Value, policy: Value | None = None) -> None:
    atom_half(e, m, address, b)


def _elements(e: Emitter, type: Type, values: list[Value]) -> list[Value]:
    """The 16-bit elements of packed values, low halves first; f16 ones as f16."""
    if type.lanes == 1:
        return values
    parts = [half for value in values for half in halves(e, value)]
    return [e.bitcast(part, F16) for part in parts] if type.kind == "f" else parts


def _as_b16(e: Emitter, a: Value) -> Value:
    return e.bitcast(a, B16)


_ATOMICS = (
    "op:and|or|xor{}.type:b32|b64",
    "op:add{}.type:u32|s32|u64|f32|f64",
    "op:inc|dec{}.type:u32",
    "op:min|max{}.type:u32|s32|u64|s64",
)
_HALVES = "op:add.noftz{}.type:f16|f16x2|bf16|bf16x2"
_VECTOR_ATOMICS = ("op:add{}.vec:v2|v4.type:f32",)
_VECTOR_HALVES = (
    "op:add|min|max.noftz{}.vec:v2|v4|v8.type:f16|bf16",
    "op:add|min|max.noftz{}.vec:v2|v4.type:f16x2|bf16x2",
)
_ATOM = f"atom[.sem:relaxed|acquire|release|acq_rel][.{_SCOPE}]"
_RED = f"red[.sem:relaxed|release][.{_SCOPE}]"


def _atomic_rows(middle: str, where: str, atom: Meaning, red: Meaning | None) -> None:
    """With and without a cache policy, which only global memory takes."""
    for hint, policy in (("", ""), (f".{_HINT}", ", h:b64")):
        space = "[.space:global]" if hint else where
        tail = middle.format(hint)
        form(f"{_ATOM}{space}.{tail}  d, [a], b{policy}")(atom)
        if red is not None:
            form(f"{_RED}{space}.{tail}  [a], b{policy}")(red)


_WHERE = f"[.space:global|{_SHARED}]"
for _op in _ATOMICS:
    _atomic_rows(_op, _WHERE, atom, red)
_atomic_rows("op:exch{}.type:b32|b64|b128", _WHERE, atom, None)
_atomic_rows(_HALVES, _WHERE, atom_half, red_half)
for _op in _VECTOR_ATOMICS:
    _atomic_rows(_op, "[.space:global]", atom, red)
for _op in _VECTOR_HALVES:
    _atomic_rows(_op, "[.space:global]", atom_half, red_half)
form(f"{_ATOM}{_WHERE}.cas.type:b16|b32|b64|b128  d, [a], b, c")(cas)


# addresses


@form(f"cvta.space:const|global|local|param|param::entry|{_SHARED}.type:u64  d, a")
def cvta(e: Emitter, m: Modifiers, a: Value) -> Value:
    """From the space's own address to the generic one."""
    return e.to_generic(_space(m), a)


@form(f"cvta.to.space:const|global|local|param|param::entry|{_SHARED}.type:u64  d, a")
def cvta_to(e: Emitter, m: Modifiers, a: Value) -> Value:
    """From the generic address; undefined where it is in another space."""
    return e.from_generic(_space(m), a)


@form(f"isspacep.space:const|global|local|param|param::entry|{_SHARED}  p:pred, a:u64")
def isspacep(e: Emitter, m: Modifiers, a: Value) -> Value:
    return e.is_space(_space(m), a)


# bytes


@form("prmt.b32[.mode:f4e|b4e|rc8|ecl|ecr|rc16]  d:b32, a:b32, b:b32, c:b32")
def prmt(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """Four of the eight bytes in b:a, by c's nibbles (whose top bit spreads the byte's sign) or a mode."""
    both = e.or_(e.zext(a, 64), e.shl(e.zext(b, 64), e.const(B64, 32)))
    result = e.const(B32, 0)
    for i in range(4):
        byte = (
            _picked(e, both, e.lshr(c, e.const(B32, 4 * i)))
            if m.mode is None
            else _by_mode(e, m.mode, both, c, i)
        )
        result = e.or_(result, e.shl(e.zext(byte, 32), e.const(B32, 8 * i)))
    return result


def _picked(e: Emitter, both: Value, selector: Value) -> Value:
    byte = _byte(e, both, e.and_(selector, e.const(B32, 7)))
    sign = e.ashr(byte, like(e, byte, 7))
    return e.select(e.icmp("ne", e.and_(selector, e.const(B32, 8)), e.const(B32, 0)), sign, byte)


def _by_mode(e: Emitter, mode: str, both: Value, c: Value, i: int) -> Value:
    """Byte i of the result, from the two low bits of c."""
    s, at = e.and_(c, e.const(B32, 3)), e.const(B32, i)
    index = {
        "f4e": lambda: e.add(s, at),
        "b4e": lambda: e.and_(e.sub(s, at), e.const(B32, 7)),
        "rc8": lambda: s,
        "ecl": lambda: int_max(e, s, at, signed=False),
        "ecr": lambda: int_min(e, s, at, signed=False),
        "rc16": lambda: e.or_(e.and_(e.add(s, s), e.const(B32, 2)), e.const(B32, i & 1)),
    }[mode]()
    return _byte(e, both, index)


def _byte(e: Emitter, both: Value, index: Value) -> Value:
    return e.trunc(e.lshr(both, resized(e, e.shl(index, e.const(B32, 3)), 64)), 8)
