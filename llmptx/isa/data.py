"""Data movement: mov, ld, st, atom, red, address conversions, byte permutation (PTX ISA 9.7.9, 9.7.13.5-6).

A row names the type of an access; how a wider register is cut or extended is the engine's. Cache operators,
eviction and prefetch hints change no value, and ordering qualifiers none on a machine that never reorders.
"""

from __future__ import annotations

from itertools import product

from llmptx.isa.arith import B32, B64, int_max, int_min, like, resized
from llmptx.isa.emitter import Address, Emitter, Value
from llmptx.isa.form import Modifiers, form

_NARROW = "type:b8|b16|b32|u8|u16|u32|s8|s16|s32|f32"
_WIDE = "type:b64|u64|s64|f64"
_SHARED = "shared|shared::cta|shared::cluster"
_EVICT = "evict:L1::evict_normal|L1::evict_unchanged|L1::evict_first|L1::evict_last|L1::no_allocate"
_PREFETCH = "prefetch:L2::64B|L2::128B|L2::256B"
_SCOPE = "scope:cta|cluster|gpu|sys"


def _space(m: Modifiers) -> str:
    """The state space without its sub-qualifier."""
    return (m.get("space") or "generic").partition("::")[0]


def _count(m: Modifiers) -> int:
    return int(m.vec[1:]) if m.get("vec") else 1


@form("mov.type:pred|b16|b32|b64|u16|u32|u64|s16|s32|s64|f32|f64  d, a")
def mov(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Also a variable's address, a special register, and (b types) a vector as one value or back."""
    return a


# loads and stores


def ld(e: Emitter, m: Modifiers, address: Address) -> Value:
    return e.load(_space(m), m.type, address, _count(m))


def ld_nc(e: Emitter, m: Modifiers, address: Address) -> Value:
    """Of memory that no thread writes while the kernel runs."""
    return e.load("global", m.type, address, _count(m))


def st(e: Emitter, m: Modifiers, address: Address, b: Value) -> None:
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
_CONSTANT_LOADS = (
    f"ld.global[.cop:ca|cg|cs].nc[.{_PREFETCH}]",
    f"ld.global.nc.{_EVICT}[.{_PREFETCH}]",
)
_STORES = (
    f"st[.weak][.space:global|local|param|param::func|{_SHARED}][.cop:wb|cg|cs|wt]",
    f"st[.weak][.space:global].{_EVICT}",
    f"st.volatile[.space:global|local|{_SHARED}]",
    f"st.sem:relaxed|release.{_SCOPE}[.space:global|{_SHARED}]",
    f"st.sem:relaxed|release.{_SCOPE}[.space:global].{_EVICT}",
)
_VECTORS = (f"[.vec:v2|v4].{_NARROW}", f"[.vec:v2].{_WIDE}")
for _head, _tail in product(_LOADS, _VECTORS):
    form(f"{_head}{_tail}  d, [a]")(ld)
for _head, _tail in product(_CONSTANT_LOADS, _VECTORS):
    form(f"{_head}{_tail}  d, [a]")(ld_nc)
for _head, _tail in product(_STORES, _VECTORS):
    form(f"{_head}{_tail}  [a], b")(st)
for _tail in _VECTORS:
    form(f"ldu[.space:global]{_tail}  d, [a]")(ld)
for _type in (_NARROW, _WIDE):
    form(f"ld.mmio.relaxed.sys[.space:global].{_type}  d, [a]")(ld)
    form(f"st.mmio.relaxed.sys[.space:global].{_type}  [a], b")(st)


@form("prefetch[.space:global|local].level:L1|L2  [a]")
@form("prefetch.space:global.level:L2::evict_last|L2::evict_normal  [a]")
@form("prefetchu.level:L1  [a]")
def prefetch(e: Emitter, m: Modifiers, address: Address) -> None:
    """A hint: nothing happens, even of an address that is not there."""


# atomic operations


def atom(e: Emitter, m: Modifiers, address: Address, b: Value, c: Value | None = None) -> Value:
    """Gives what was there. inc wraps to 0 past b, dec to b below 0; cas stores c where it finds b."""
    return e.atom(_space(m), m.op, m.type, address, b, c)


def red(e: Emitter, m: Modifiers, address: Address, b: Value) -> None:
    e.atom(_space(m), m.op, m.type, address, b)


_ATOMICS = (
    "op:and|or|xor.type:b32|b64",
    "op:add.type:u32|s32|u64|f32|f64",
    "op:inc|dec.type:u32",
    "op:min|max.type:u32|s32|u64|s64",
)
_WHERE = f"[.{_SCOPE}][.space:global|{_SHARED}]"
for _op in (*_ATOMICS, "op:exch.type:b32|b64"):
    form(f"atom[.sem:relaxed|acquire|release|acq_rel]{_WHERE}.{_op}  d, [a], b")(atom)
form(f"atom[.sem:relaxed|acquire|release|acq_rel]{_WHERE}.op:cas.type:b16|b32|b64  d, [a], b, c")(atom)
for _op in _ATOMICS:
    form(f"red[.sem:relaxed|release]{_WHERE}.{_op}  [a], b")(red)


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
