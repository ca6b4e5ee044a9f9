"""The machine of llmptx.isa.emitter in plain Python: slow and obvious, to hold the fast ones against.

A value is a `Lanes`: a type and the bits of each lane, floats included. Arithmetic is on integers and exact
fractions, rounded once by `encode`; the approximate functions are MPFR's, correctly rounded. Memory is a dict
of bytes. Nothing here is shared with the engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import gmpy2

from llmptx.ptx.types import PRED, Type

B32 = Type("b", 32)
BF16 = (8, -126)
FORMATS = {16: (11, -14), 32: (24, -126), 64: (53, -1022)}  # width: (precision, least exponent)


@dataclass(frozen=True)
class Lanes:
    type: Type
    bits: tuple[int, ...]


# floats as bits


def infinity(width: int) -> int:
    precision, _ = FORMATS[width]
    return (1 << width - 1) - (1 << precision - 1)


def is_nan(bits: int, width: int) -> bool:
    return bits & ~(1 << width - 1) > infinity(width)


def is_inf(bits: int, width: int) -> bool:
    return bits & ~(1 << width - 1) == infinity(width)


def sign(bits: int, width: int) -> int:
    return bits >> width - 1


def canonical(width: int) -> int:
    return (1 << width - 1) - 1


def decode(bits: int, width: int) -> Fraction:
    """A finite float's value."""
    precision, least = FORMATS[width]
    exponent, fraction = divmod(bits & ~(1 << width - 1), 1 << precision - 1)
    whole = fraction + (1 << precision - 1 if exponent else 0)
    scale = least - (precision - 1) + max(exponent - 1, 0)
    return Fraction(-whole if sign(bits, width) else whole) * Fraction(2) ** scale


def encode(
    value: Fraction,
    width: int,
    rnd: str = "rn",
    negative_zero: bool = False,
    shape: tuple[int, int] | None = None,
) -> int:
    """`value` rounded once to a format; a zero result of a non-zero value keeps its sign.

    shape: (precision, least exponent), where it is not the usual one of the width.
    """
    precision, least = shape or FORMATS[width]
    infinite = (1 << width - 1) - (1 << precision - 1)
    negative = value < 0 if value else negative_zero
    size = abs(value)
    exponent = least
    if size:
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        exponent = max(exponent if Fraction(2) ** exponent <= size else exponent - 1, least)
    scaled = size / Fraction(2) ** (exponent - precision + 1)
    whole, rest = divmod(scaled, 1)
    up = {"rn": rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2), "rz": False,
          "rm": negative and rest, "rp": not negative and rest}[rnd]  # fmt: skip
    bits = (exponent - least << precision - 1) + whole + bool(up)
    if bits >= infinite:
        outward = rnd == "rn" or rnd == ("rm" if negative else "rp")
        bits = infinite - (0 if outward else 1)
    return bits | negative << width - 1


def _square_root(value: Fraction) -> Fraction:
    """Exact, or some fraction so near that no rounding can tell it from the root."""
    shift = 2 * max(0, 400 - value.numerator.bit_length() + value.denominator.bit_length())
    scaled = (value.numerator << shift) * value.denominator
    root = math.isqrt(scaled)
    exact = Fraction(root, value.denominator) / Fraction(2) ** (shift // 2)
    return exact if root * root == scaled else exact + Fraction(1, value.denominator << shift // 2 + 1)


def signed(bits: int, width: int) -> int:
    return bits - (1 << width) if bits >> width - 1 else bits


Op = Callable[..., Any]


class Scalar:
    """An emitter whose values are known. Lanes outside `active` do not execute: their results are void."""

    def __init__(self, lanes: int = 1, active: int | None = None) -> None:
        self.lanes = lanes
        self.active = (1 << lanes) - 1 if active is None else active
        self.carry: Lanes | None = None
        self.memory: dict[tuple[str, int], int] = {}
        self.events: list[tuple[Any, ...]] = []

    # making and taking apart

    def of(self, type: Type, *bits: int) -> Lanes:
        """A value of these bits, one a lane, or one for all."""
        return Lanes(
            type, tuple(b & (1 << type.width) - 1 for b in (bits * self.lanes if len(bits) == 1 else bits))
        )

    def _map(self, type: Type, op: Op, *values: Lanes) -> Lanes:
        return self.of(type, *(int(op(*each)) for each in zip(*(v.bits for v in values), strict=True)))

    def _int(self, op: Op, *values: Lanes, signed_: bool = False) -> Lanes:
        width = values[0].type.width
        assert all(v.type.width == width and v.type.kind not in ("f", "bf") for v in values), values
        view = (lambda b: signed(b, width)) if signed_ else (lambda b: b)
        return self._map(values[0].type, lambda *each: op(*map(view, each)), *values)

    def type_of(self, a: Lanes) -> Type:
        return a.type

    def const(self, type: Type, value: int | float) -> Lanes:
        if not type.is_float:
            return self.of(type, int(value))
        return self.of(type, encode(Fraction(value), type.bits, "rn", math.copysign(1, value) < 0))

    # integers

    def add(self, a: Lanes, b: Lanes) -> Lanes:
        return self._int(lambda x, y: x + y, a, b)

    def sub(self, a: Lanes, b: Lanes) -> Lanes:
        return self._int(lambda x, y: x - y, a, b)

    def mul(self, a: Lanes, b: Lanes) -> Lanes:
        return self._int(lambda x, y: x * y, a, b)

    def mulhi(self, a: Lanes, b: Lanes, signed: bool) -> Lanes:
        return self._int(lambda x, y: x * y >> a.type.width, a, b, signed_=signed)

    def and_(self, a: Lanes, b: Lanes) -> Lanes:
        return self._int(lambda x, y: x & y, a, b)

    def or_(self, a: Lanes, b: Lanes) -> Lanes:
        return self._int(lambda x, y: x | y, a, b)

    def xor(self, a: Lanes, b: Lanes) -> Lanes:
        return self._int(lambda x, y: x ^ y, a, b)

    def not_(self, a: Lanes) -> Lanes:
        return self._int(lambda x: ~x, a)

    def get_carry(self) -> Lanes:
        assert self.carry is not None, "the carry was read before it was set"
        return self.carry

    def set_carry(self, a: Lanes) -> None:
        assert a.type == PRED
        self.carry = a

    def shl(self, a: Lanes, b: Lanes) -> Lanes:
        """Undefined past the width: here a pattern that no right answer is likely to have."""
        return self._int(lambda x, y: x << y if y < a.type.width else 0x5A5A5A5A5A5A5A5A, a, b)

    def lshr(self, a: Lanes, b: Lanes) -> Lanes:
        return self._int(lambda x, y: x >> y if y < a.type.width else 0x5A5A5A5A5A5A5A5A, a, b)

    def ashr(self, a: Lanes, b: Lanes) -> Lanes:
        width = a.type.width
        return self._int(lambda x, y: signed(x, width) >> y if y < width else 0x5A5A5A5A5A5A5A5A, a, b)

    def div(self, a: Lanes, b: Lanes, signed: bool) -> Lanes:
        def quotient(x: int, y: int) -> int:
            return -1 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)

        return self._int(quotient, a, b, signed_=signed)

    def rem(self, a: Lanes, b: Lanes, signed: bool) -> Lanes:
        def remainder(x: int, y: int) -> int:
            return x if y == 0 else abs(x) % abs(y) * (-1 if x < 0 else 1)

        return self._int(remainder, a, b, signed_=signed)

    def icmp(self, op: str, a: Lanes, b: Lanes) -> Lanes:
        assert a.type.width == b.type.width
        assert {a.type.is_float, b.type.is_float} == {False}
        width = a.type.width
        view = (lambda x: signed(x, width)) if op[0] == "s" else (lambda x: x)
        relation = {"eq": int.__eq__, "ne": int.__ne__, "lt": int.__lt__, "le": int.__le__, "gt": int.__gt__,
                    "ge": int.__ge__}[op if op in ("eq", "ne") else op[1:]]  # fmt: skip
        return self._map(PRED, lambda x, y: relation(view(x), view(y)), a, b)

    def select(self, condition: Lanes, a: Lanes, b: Lanes) -> Lanes:
        assert condition.type == PRED
        assert (a.type.width, a.type.is_float) == (b.type.width, b.type.is_float)
        return self._map(a.type, lambda c, x, y: x if c else y, condition, a, b)

    def clz(self, a: Lanes) -> Lanes:
        return self._int(lambda x: a.type.width - x.bit_length(), a)

    def ctz(self, a: Lanes) -> Lanes:
        return self._int(lambda x: (x & -x).bit_length() - 1 if x else a.type.width, a)

    def popc(self, a: Lanes) -> Lanes:
        return self._int(lambda x: x.bit_count(), a)

    def brev(self, a: Lanes) -> Lanes:
        return self._int(lambda x: int(f"{x:0{a.type.width}b}"[::-1], 2), a)

    def zext(self, a: Lanes, bits: int) -> Lanes:
        assert bits > a.type.width
        return self._map(Type("b", bits), lambda x: x, a)

    def sext(self, a: Lanes, bits: int) -> Lanes:
        assert bits > a.type.width
        return self._map(Type("b", bits), lambda x: signed(x, a.type.width), a)

    def trunc(self, a: Lanes, bits: int) -> Lanes:
        assert bits < a.type.width
        return self._map(Type("b", bits), lambda x: x, a)

    def bitcast(self, a: Lanes, type: Type) -> Lanes:
        assert type.width == a.type.width
        return Lanes(type, a.bits)

    # floats

    def _float(
        self, op: Callable[..., tuple[Fraction, bool] | int | None], rnd: str, *values: Lanes
    ) -> Lanes:
        """`op` of bits gives (exact value, sign of a zero), or bits as they are, or None for NaN."""
        type = values[0].type
        assert {v.type for v in values} == {Type("f", type.bits)}, values

        def one(*bits: int) -> int:
            if any(is_nan(b, type.bits) for b in bits):
                return canonical(type.bits)
            result = op(*bits)
            if result is None:
                return canonical(type.bits)
            return result if isinstance(result, int) else encode(result[0], type.bits, rnd, result[1])

        return self._map(type, one, *values)

    def fadd(self, a: Lanes, b: Lanes, rnd: str = "rn") -> Lanes:
        return self.fma(a, self.const(a.type, 1), b, rnd)

    def fsub(self, a: Lanes, b: Lanes, rnd: str = "rn") -> Lanes:
        return self.fadd(a, self.fneg(b), rnd)

    def fmul(self, a: Lanes, b: Lanes, rnd: str = "rn") -> Lanes:
        width = a.type.bits

        def product(x: int, y: int) -> tuple[Fraction, bool] | int | None:
            negative = sign(x, width) ^ sign(y, width)
            if is_inf(x, width) or is_inf(y, width):
                zero = not (x & canonical(width) and y & canonical(width))
                return None if zero else infinity(width) | negative << width - 1
            return decode(x, width) * decode(y, width), bool(negative)

        return self._float(product, rnd, a, b)

    def fdiv(self, a: Lanes, b: Lanes, rnd: str = "rn") -> Lanes:
        width = a.type.bits

        def quotient(x: int, y: int) -> tuple[Fraction, bool] | int | None:
            top = (sign(x, width) ^ sign(y, width)) << width - 1
            if is_inf(x, width) or is_inf(y, width):
                return (
                    None
                    if is_inf(x, width) and is_inf(y, width)
                    else top | infinity(width) * is_inf(x, width)
                )
            if not decode(y, width):
                return top | infinity(width) if decode(x, width) else None
            return decode(x, width) / decode(y, width), bool(top)

        return self._float(quotient, rnd, a, b)

    def fma(self, a: Lanes, b: Lanes, c: Lanes, rnd: str = "rn") -> Lanes:
        width = a.type.bits

        def total(x: int, y: int, z: int) -> tuple[Fraction, bool] | int | None:
            negative = sign(x, width) ^ sign(y, width)
            if is_inf(x, width) or is_inf(y, width):
                zero = not (x & canonical(width) and y & canonical(width))
                opposed = is_inf(z, width) and sign(z, width) != negative
                return None if zero or opposed else infinity(width) | negative << width - 1
            if is_inf(z, width):
                return z
            product, addend = decode(x, width) * decode(y, width), decode(z, width)
            both = not product and not addend and negative == sign(z, width)
            return product + addend, bool(negative) if both else rnd == "rm"

        return self._float(total, rnd, a, b, c)

    def fsqrt(self, a: Lanes, rnd: str = "rn") -> Lanes:
        width = a.type.bits

        def root(x: int) -> tuple[Fraction, bool] | int | None:
            if not x & canonical(width) or x == infinity(width):
                return x
            return None if sign(x, width) else (_square_root(decode(x, width)), False)

        return self._float(root, rnd, a)

    def fneg(self, a: Lanes) -> Lanes:
        return self._signed(lambda x: x ^ 1 << a.type.bits - 1, a)

    def fabs(self, a: Lanes) -> Lanes:
        return self._signed(lambda x: x & canonical(a.type.bits), a)

    def _signed(self, op: Op, a: Lanes) -> Lanes:
        """A change of the sign, NaN but of f64 becoming the canonical one."""
        width = a.type.bits
        return self._map(a.type, lambda x: canonical(width) if width < 64 and is_nan(x, width) else op(x), a)

    def copysign(self, magnitude: Lanes, sign: Lanes) -> Lanes:
        assert magnitude.type == sign.type
        top = 1 << magnitude.type.bits - 1
        return self._map(magnitude.type, lambda x, y: x & ~top | y & top, magnitude, sign)

    def fcmp(self, op: str, a: Lanes, b: Lanes) -> Lanes:
        assert a.type == b.type == Type("f", a.type.bits)
        width = a.type.bits

        def key(x: int) -> int:
            return -(x & canonical(width)) if sign(x, width) else x

        def holds(x: int, y: int) -> bool:
            unordered = is_nan(x, width) or is_nan(y, width)
            if op in ("ord", "uno"):
                return unordered == (op == "uno")
            if unordered:
                return op[0] == "u"
            order = (key(x) > key(y)) - (key(x) < key(y))
            return (
                order
                in {"eq": [0], "ne": [-1, 1], "lt": [-1], "le": [-1, 0], "gt": [1], "ge": [0, 1]}[op[1:]]
            )

        return self._map(PRED, holds, a, b)

    def fround(self, a: Lanes, rnd: str) -> Lanes:
        width = a.type.bits
        to: dict[str, Op] = {"rn": round, "rz": math.trunc, "rm": math.floor, "rp": math.ceil}

        def integral(x: int) -> tuple[Fraction, bool] | int:
            return x if is_inf(x, width) else (Fraction(to[rnd](decode(x, width))), bool(sign(x, width)))

        return self._float(integral, "rn", a)

    def fcast(self, a: Lanes, type: Type, rnd: str = "rn") -> Lanes:
        width = a.type.bits

        def cast(x: int) -> int:
            if is_nan(x, width):
                return canonical(type.bits)
            if is_inf(x, width):
                return infinity(type.bits) | sign(x, width) << type.bits - 1
            return encode(decode(x, width), type.bits, rnd, bool(sign(x, width)))

        return self._map(type, cast, a)

    def ftoi(self, a: Lanes, bits: int, signed: bool) -> Lanes:
        width = a.type.bits
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

        def clamped(x: int) -> int:
            if is_nan(x, width):
                return 0
            if is_inf(x, width):
                return low if sign(x, width) else high
            return min(max(math.trunc(decode(x, width)), low), high)

        return self._map(Type("b", bits), clamped, a)

    def itof(self, a: Lanes, type: Type, signed: bool, rnd: str = "rn") -> Lanes:
        width = a.type.width
        view = (lambda x: x - (1 << width) if x >> width - 1 else x) if signed else (lambda x: x)
        return self._map(type, lambda x: encode(Fraction(view(x)), type.bits, rnd), a)

    def approx(self, name: str, a: Lanes, b: Lanes | None = None) -> Lanes:
        """Correctly rounded."""
        if name in ("rcp", "div"):
            return self.fdiv(*((self.const(a.type, 1), a) if b is None else (a, b)))
        if name == "sqrt":
            return self.fsqrt(a)
        functions: dict[str, Op] = {"ex2": gmpy2.exp2, "lg2": gmpy2.log2, "sin": gmpy2.sin, "cos": gmpy2.cos,
                                    "tanh": gmpy2.tanh, "rsqrt": gmpy2.rec_sqrt}  # fmt: skip
        width = a.type.bits

        def function(x: int) -> tuple[Fraction, bool] | int | None:
            if name == "rsqrt" and not x & canonical(width):
                return x | infinity(width)
            # beyond these exponents every format has long overflowed, and 2^x would fill the memory
            with gmpy2.context(precision=300, emax=20000, emin=-20000):
                wide = (gmpy2.mpfr("-inf" if sign(x, width) else "inf") if is_inf(x, width)
                        else gmpy2.mpfr(_rational(decode(x, width))))  # fmt: skip
                if not wide and sign(x, width):
                    wide = -gmpy2.zero()
                result = functions[name](wide)
            if gmpy2.is_nan(result):
                return None
            if gmpy2.is_infinite(result):
                return infinity(width) | (result < 0) << width - 1
            return Fraction(*map(int, result.as_integer_ratio())), gmpy2.is_signed(result)

        return self._float(function, "rn", a)

    # memory

    def load(self, space: str, type: Type, address: Lanes, count: int = 1) -> Any:
        def element(i: int) -> Lanes:
            return self._map(type, lambda at: self._read(space, at + i * type.bytes, type.bytes), address)

        return element(0) if count == 1 else [element(i) for i in range(count)]

    def store(self, space: str, type: Type, address: Lanes, value: Any, count: int = 1) -> None:
        for i, element in enumerate([value] if count == 1 else value):
            for at, bits in zip(address.bits, element.bits, strict=True):
                self._write(space, at + i * type.bytes, type.bytes, bits)

    def atom(
        self, space: str, op: str, type: Type, address: Lanes, b: Any, c: Lanes | None = None, count: int = 1
    ) -> Any:
        """The elements in turn, and of each the lanes."""
        if count == 1:
            return self._atom(space, op, type, address, b, c)
        places = (self.add(address, self.const(address.type, i * type.bytes)) for i in range(count))
        return [self._atom(space, op, type, at, x, None) for at, x in zip(places, b, strict=True)]

    def _atom(self, space: str, op: str, type: Type, address: Lanes, b: Lanes, c: Lanes | None) -> Lanes:
        before = []
        for lane, at in enumerate(address.bits):
            old = self._read(space, at, type.bytes)
            third = c.bits[lane] if c else 0
            self._write(space, at, type.bytes, self._after(op, type, old, b.bits[lane], third))
            before.append(old)
        return self.of(type, *before)

    def _after(self, op: str, type: Type, old: int, b: int, c: int) -> int:
        if type.is_float and op in ("add", "min", "max"):
            return _after_float(op, type, old, b)
        view = (lambda x: signed(x, type.bits)) if type.signed else (lambda x: x)
        return {
            "add": old + b, "and": old & b, "or": old | b, "xor": old ^ b, "exch": b,
            "cas": c if old == b else old, "min": min(old, b, key=view), "max": max(old, b, key=view),
            "inc": 0 if old >= b else old + 1, "dec": b if old == 0 or old > b else old - 1,
        }[op] & (1 << type.bits) - 1  # fmt: skip

    def _read(self, space: str, at: int, size: int) -> int:
        return sum(self.memory[space, at + i] << 8 * i for i in range(size))

    def _write(self, space: str, at: int, size: int, bits: int) -> None:
        for i in range(size):
            self.memory[space, at + i] = bits >> 8 * i & 255

    def to_generic(self, space: str, a: Lanes) -> Lanes:
        return self._map(a.type, lambda x: x + WINDOWS[space], a)

    def from_generic(self, space: str, a: Lanes) -> Lanes:
        return self._map(a.type, lambda x: x - WINDOWS[space], a)

    def is_space(self, space: str, a: Lanes) -> Lanes:
        return self._map(PRED, lambda x: x >> 40 == WINDOWS[space] >> 40, a)

    # threads

    def _members(self, mask: int) -> list[int]:
        return [lane for lane in range(self.lanes) if mask & self.active & 1 << lane]

    def shfl(self, mode: str, a: Lanes, b: Lanes, c: Lanes, mask: Lanes | None) -> tuple[Lanes, Lanes]:
        results = [self._source(mode, lane, b.bits[lane] & 31, c.bits[lane]) for lane in range(self.lanes)]
        return self.of(B32, *(a.bits[j] for j, _ in results)), self.of(PRED, *(ok for _, ok in results))

    def _source(self, mode: str, lane: int, b: int, c: int) -> tuple[int, bool]:
        segment, clamp = c >> 8 & 31, c & 31
        highest, lowest = lane & segment | clamp & ~segment, lane & segment
        j = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": lowest | b & ~segment}[mode]
        inside = j >= highest if mode == "up" else j <= highest
        return (j if inside else lane), inside

    def vote(self, mode: str, a: Lanes, mask: Lanes | None) -> Lanes:
        members = self._members(mask.bits[0] if mask else self.active)
        votes = [a.bits[lane] for lane in members]
        if mode == "ballot":
            return self.of(B32, sum(1 << lane for lane in members if a.bits[lane]))
        return self.of(PRED, {"all": all(votes), "any": any(votes), "uni": len(set(votes)) <= 1}[mode])

    def match(self, mode: str, a: Lanes, mask: Lanes) -> tuple[Lanes, Lanes]:
        members = self._members(mask.bits[0])
        same = [sum(1 << lane for lane in members if a.bits[lane] == own) for own in a.bits]
        if mode == "any":
            return self.of(B32, *same), self.of(PRED, 0)
        everyone = sum(1 << lane for lane in members)
        agreed = len({a.bits[lane] for lane in members}) == 1
        return self.of(B32, everyone if agreed else 0), self.of(PRED, agreed)

    def redux(self, op: str, a: Lanes, signed: bool, mask: Lanes) -> Lanes:
        type = Type("s" if signed else "u", 32)
        first, *rest = (a.bits[lane] for lane in self._members(mask.bits[0]))
        for value in rest:
            first = self._after(op, type, first, value, 0)
        return self.of(a.type, first)

    def elect(self, mask: Lanes) -> tuple[Lanes, Lanes]:
        leader = self._members(mask.bits[0])[0]
        return self.of(B32, leader), self.of(PRED, *(lane == leader for lane in range(self.lanes)))

    def activemask(self) -> Lanes:
        return self.of(B32, self.active)

    def barrier(self, id: Lanes, count: Lanes | None, aligned: bool, arrive: bool) -> None:
        self.events.append(("barrier", id.bits[0], count.bits[0] if count else None, aligned, arrive))

    def barrier_reduce(self, op: str, id: Lanes, count: Lanes | None, a: Lanes, aligned: bool) -> Lanes:
        """As if this warp were the whole block."""
        self.events.append(("barrier", id.bits[0], count.bits[0] if count else None, aligned, False))
        votes = [a.bits[lane] for lane in self._members(self.active)]
        result = {"popc": sum(votes), "and": all(votes), "or": any(votes)}[op]
        return self.of(B32 if op == "popc" else PRED, result)

    def warp_barrier(self, mask: Lanes) -> None:
        self.events.append(("warp_barrier", mask.bits[0]))

    def fence(self, scope: str) -> None:
        self.events.append(("fence", scope))

    def trap(self) -> None:
        self.events.append(("trap",))


WINDOWS = {"global": 0, "const": 1 << 40, "local": 2 << 40, "shared": 3 << 40, "param": 4 << 40}


def _after_float(op: str, type: Type, old: int, b: int) -> int:
    """Of floats, bf16 included: what an atomic leaves."""
    wide = Type("f", 32) if type.kind == "bf" else type
    up = 16 if type.kind == "bf" else 0
    x, y = old << up, b << up
    if op != "add" and is_nan(x, wide.bits) != is_nan(y, wide.bits):
        return old if is_nan(y, wide.bits) else b
    if is_nan(x, wide.bits) or is_nan(y, wide.bits):
        return canonical(type.bits)
    if op != "add":
        order = [(-(bits & canonical(wide.bits)) if sign(bits, wide.bits) else bits + 1) for bits in (x, y)]
        return old if (order[0] <= order[1]) == (op == "min") else b
    if type.kind != "bf" or is_inf(x, 32) or is_inf(y, 32):
        alone = Scalar()
        return alone.fadd(alone.of(wide, x), alone.of(wide, y)).bits[0] >> up
    negative = bool(sign(x, 32) and sign(y, 32))
    return encode(decode(x, 32) + decode(y, 32), 16, "rn", negative, BF16)


def _rational(value: Fraction) -> Any:
    return gmpy2.mpq(value.numerator, value.denominator)
