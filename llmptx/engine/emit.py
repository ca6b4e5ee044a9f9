"""The emitter the table's rows are lowered with: exact primitives as LLVM vector or scalar code.

A value is uniform (one scalar for the warp), affine (lane 0's scalar and a constant stride), or varying (a
vector of W
lanes). Arithmetic stays scalar as long as it can, so an address that is base + lane x size is known as such
when it is used.
Knows values only; control flow is `lower`'s, memory and lanes are `access`'s and `lanes`'.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal

from llvmlite import ir

from llmptx.engine import constants, counted, nans
from llmptx.engine.constants import vector_type
from llmptx.engine.rounding import directed_text
from llmptx.ptx.types import PRED, Type

IR = Any
PTR = ir.PointerType()
I1, I8, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
F64 = Type("f", 64)
BIG = 1 << 62


@dataclass(frozen=True, slots=True)
class Value:
    """type is canonical (b, f or pred). mult: a power of two that divides lane 0's integer; const: its
    value if known.

    Where an affine value was widened, its lanes may have wrapped around before: `wrap` times 2**32 comes on
    top of those from lane `turn` (IR, 32: none) on. nan: see `nans`.
    """

    type: Type
    kind: Literal["u", "a", "v"]
    ir: IR = None
    stride: int = 0
    mult: int = 1
    const: int | None = None
    wrap: int = 0
    turn: IR = None
    nan: nans.Nan = "held"


@cache
def canonical(type: Type) -> Type:
    """The machine type: signedness dropped, packed types as integers."""
    if type.kind == "pred":
        return PRED
    if type.kind == "f" and type.lanes == 1 and type.bits in (16, 32, 64):
        return Type("f", type.bits)
    return Type("b", type.width)


@cache
def scalar_type(type: Type) -> ir.Type:
    if type.kind == "pred":
        return I1
    if type.kind == "f":
        return {16: ir.HalfType(), 32: ir.FloatType(), 64: ir.DoubleType()}[type.bits]
    return ir.IntType(type.bits)


def power_of(value: int) -> int:
    """The largest power of two that divides it."""
    return BIG if value == 0 else value & -value


def bits_to_float(bits: int, width: int) -> float:
    code = {16: ("<H", "<e"), 32: ("<I", "<f"), 64: ("<Q", "<d")}[width]
    return float(struct.unpack(code[1], struct.pack(code[0], bits))[0])


@lru_cache(maxsize=4096)
def _integer(type: Type, value: int) -> Value:
    mult = 1 if type.kind == "pred" else power_of(value)
    return Value(type, "u", ir.Constant(scalar_type(type), value), mult=mult, const=value)


class Emit:
    """One function being built. `extras` collects text of out-of-line helpers, by name, linked in later."""

    def __init__(self, builder: ir.IRBuilder, width: int, extras: dict[str, str], approx: str) -> None:
        self.b = builder
        self.width = width
        self.extras = extras
        self.setting = approx
        self.carry: Value | None = None

    # shapes and conversions

    def ir_type(self, type: Type, kind: str) -> ir.Type:
        scalar = scalar_type(type)
        return scalar if kind != "v" or self.width == 1 else vector_type(scalar, self.width)

    def each(self, type: Type, f: Callable[..., IR], *values: Value) -> Value:
        """f on scalars where all are uniform, else on vectors."""
        if all(v.kind == "u" for v in values):
            return Value(type, "u", f(*(v.ir for v in values)))
        return Value(type, "v", f(*(self.vector(v) for v in values)))

    def linear(self, f: Callable[..., IR], stride: int, mult: int, *values: Value) -> Value:
        """f on lane 0's scalars: right where f is linear modulo 2^N and `stride` is the result's."""
        type = values[0].type
        bits = type.bits
        stride %= 1 << bits
        if stride >> (bits - 1):
            stride -= 1 << bits
        kind: Literal["u", "a"] = "a" if stride else "u"
        return Value(type, kind, f(*(v.ir for v in values)), stride, min(mult, BIG))

    def vector(self, value: Value) -> IR:
        """The value as W lanes."""
        if value.kind == "v" or self.width == 1:
            return value.ir
        splat = self.splat(value.ir, scalar_type(value.type))
        if value.kind == "u":
            return splat
        bits = value.type.bits
        steps = tuple((value.stride * i) % (1 << bits) for i in range(self.width))
        lanes = self.b.add(splat, constants.lanes(ir.IntType(bits), steps))
        if not value.wrap:
            return lanes
        after = self.b.icmp_unsigned(
            ">=", constants.lanes(I32, tuple(range(self.width))), self.splat(value.turn, I32)
        )
        more = constants.splat(ir.Constant(I64, value.wrap << 32), self.width)
        return self.b.add(lanes, self.b.select(after, more, ir.Constant(lanes.type, None)))

    def splat(self, scalar: IR, type: ir.Type) -> IR:
        if self.width == 1:
            return scalar
        if isinstance(scalar, ir.Constant):
            return constants.splat(scalar, self.width)
        nothing = constants.undefined(type, self.width)
        one = self.b.insert_element(nothing, scalar, ir.Constant(I32, 0))
        zeros = ir.Constant(vector_type(I32, self.width), None)
        return self.b.shuffle_vector(one, nothing, zeros)

    def call(self, name: str, result: ir.Type, arguments: Sequence[IR]) -> IR:
        """A call of an intrinsic or helper, declared when first used."""
        module = self.b.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(result, [a.type for a in arguments]), name)
        return self.b.call(function, arguments)

    def intrinsic(self, name: str, type: ir.Type, arguments: Sequence[IR]) -> IR:
        return self.call(f"llvm.{name}.{suffix(type)}", type, arguments)

    # constants and types

    def type_of(self, a: Value) -> Type:
        return a.type

    def const(self, type: Type, value: int | float) -> Value:
        type = canonical(type)
        if type.kind == "pred":
            return _integer(type, int(bool(value)))
        if type.is_float:
            code = {16: "<e", 32: "<f", 64: "<d"}[type.bits]
            rounded = struct.unpack(code, struct.pack(code, value))[0]
            return self.float_bits(type, float_to_bits(rounded, type.bits))
        return _integer(type, int(value) % (1 << type.bits))

    def float_bits(self, type: Type, bits: int) -> Value:
        """A float constant by its bits, NaN payloads kept."""
        scalar = ir.Constant(ir.IntType(type.bits), bits).bitcast(scalar_type(type))
        number = bits_to_float(bits, type.bits)
        return Value(type, "u", scalar, nan="none" if number == number else "held")

    # integers

    def add(self, a: Value, b: Value) -> Value:
        if a.const is not None and b.const is not None:
            return self.const(a.type, a.const + b.const)
        if "v" in (a.kind, b.kind):
            return self.each(a.type, self.b.add, a, b)
        return self._affine(self.b.add, a.stride + b.stride, min(a.mult, b.mult), a.wrap + b.wrap, a, b)

    def sub(self, a: Value, b: Value) -> Value:
        if a.const is not None and b.const is not None:
            return self.const(a.type, a.const - b.const)
        if "v" in (a.kind, b.kind):
            return self.each(a.type, self.b.sub, a, b)
        return self._affine(self.b.sub, a.stride - b.stride, min(a.mult, b.mult), a.wrap - b.wrap, a, b)

    def mul(self, a: Value, b: Value) -> Value:
        if a.const is not None and b.const is not None:
            return self.const(a.type, a.const * b.const)
        if a.kind == b.kind == "u":
            return self.linear(self.b.mul, 0, a.mult * b.mult, a, b)
        if a.const is not None:
            a, b = b, a
        if a.kind == "a" and b.const is not None:
            wrap = a.wrap * b.const
            return self._affine(self.b.mul, a.stride * b.const, a.mult * b.mult, wrap, a, b)
        return self.each(a.type, self.b.mul, a, b)

    def _affine(self, f: Callable[..., IR], stride: int, mult: int, wrap: int, a: Value, b: Value) -> Value:
        """`linear` of values of which one may have wrapped around."""
        if not (a.wrap or b.wrap):
            return self.linear(f, stride, mult, a, b)
        if (a.wrap and b.wrap) or stride % (1 << a.type.bits) == 0:
            return self.each(a.type, f, a, b)
        turn = a.turn if a.wrap else b.turn
        return replace(self.linear(f, stride, mult, a, b), wrap=wrap % (1 << 32), turn=turn)

    def shl(self, a: Value, b: Value) -> Value:
        if b.const is not None and b.const < a.type.bits:
            return self.mul(a, self.const(a.type, 1 << b.const))
        return self.each(a.type, self.b.shl, a, b)

    def lshr(self, a: Value, b: Value) -> Value:
        return self._folded(operator.rshift, a, b) or self.each(a.type, self.b.lshr, a, b)

    def ashr(self, a: Value, b: Value) -> Value:
        return self.each(a.type, self.b.ashr, a, b)

    def _folded(self, f: Callable[[int, int], int], a: Value, b: Value) -> Value | None:
        """The constant f(a, b), where both are known: a row's clamps and masks must not hide an affine
        value.
        """
        if a.const is None or b.const is None:
            return None
        return self.const(a.type, f(a.const, b.const))

    def mulhi(self, a: Value, b: Value, signed: bool) -> Value:
        bits = a.type.bits
        if bits < 64:
            widen = self.sext if signed else self.zext
            product = self.mul(widen(a, bits * 2), widen(b, bits * 2))
            return self.trunc(self.lshr(product, self.const(Type("b", bits * 2), bits)), bits)
        high = self._mulhi_u64(a, b)
        if not signed:
            return high
        zero, top = self.const(a.type, 0), self.const(a.type, 63)
        high = self.sub(high, self.and_(self.ashr(a, top), b))
        return self.sub(high, self.and_(self.ashr(b, top), a)) if zero.type == a.type else high

    def _mulhi_u64(self, a: Value, b: Value) -> Value:
        """By 32-bit halves: vectors have no 128-bit product."""
        low, half = self.const(a.type, 0xFFFFFFFF), self.const(a.type, 32)
        a0, a1 = self.and_(a, low), self.lshr(a, half)
        b0, b1 = self.and_(b, low), self.lshr(b, half)
        cross = self.add(self.mul(a1, b0), self.lshr(self.mul(a0, b0), half))
        other = self.add(self.mul(a0, b1), self.and_(cross, low))
        return self.add(self.add(self.mul(a1, b1), self.lshr(cross, half)), self.lshr(other, half))

    def and_(self, a: Value, b: Value) -> Value:
        return self._folded(operator.and_, a, b) or self.each(a.type, self.b.and_, a, b)

    def or_(self, a: Value, b: Value) -> Value:
        return self._folded(operator.or_, a, b) or self.each(a.type, self.b.or_, a, b)

    def xor(self, a: Value, b: Value) -> Value:
        return self._folded(operator.xor, a, b) or self.each(a.type, self.b.xor, a, b)

    def not_(self, a: Value) -> Value:
        return self.xor(a, self.const(a.type, (1 << a.type.width) - 1))

    def neg(self, a: Value) -> Value:
        return self.sub(self.const(a.type, 0), a)

    def div(self, a: Value, b: Value, signed: bool) -> Value:
        return self._divide(a, b, signed, self.b.sdiv if signed else self.b.udiv, True)

    def rem(self, a: Value, b: Value, signed: bool) -> Value:
        return self._divide(a, b, signed, self.b.srem if signed else self.b.urem, False)

    def _divide(self, a: Value, b: Value, signed: bool, f: Callable[..., IR], quotient: bool) -> Value:
        one, ones = self.const(a.type, 1), self.const(a.type, -1)
        zero = self.icmp("eq", b, self.const(a.type, 0))
        if signed:
            # min / -1 overflows in hardware: divide by 1 and negate instead.
            minus = self.icmp("eq", b, ones)
            safe = self.select(self.or_(zero, minus), one, b)
            result = self.each(a.type, f, a, safe)
            if quotient:
                result = self.select(minus, self.neg(a), result)
        else:
            result = self.each(a.type, f, a, self.select(zero, one, b))
        return self.select(zero, ones if quotient else a, result)

    def icmp(self, op: str, a: Value, b: Value) -> Value:
        signs = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
        sign = signs[op if op in ("eq", "ne") else op[1:]]
        if a.const is not None and b.const is not None:
            shift = 1 << (a.type.width - 1) if op[0] == "s" else 0
            x, y = a.const ^ shift, b.const ^ shift
            return self.const(PRED, int(getattr(operator, op if op in ("eq", "ne") else op[1:])(x, y)))
        compare = self.b.icmp_signed if op[0] == "s" else self.b.icmp_unsigned
        return counted.compared(self, op, a, b) or self.each(PRED, lambda x, y: compare(sign, x, y), a, b)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        nan = nans.both(a.nan, b.nan)
        if nan == "held":
            return self._select(condition, nans.settled(self, a), nans.settled(self, b))
        return replace(self._select(condition, a, b), nan=nan)

    def _select(self, condition: Value, a: Value, b: Value) -> Value:
        if condition.const is not None:
            return a if condition.const else b
        if condition.kind == "u" and a.kind == b.kind == "a" and (a.stride, a.wrap) == (b.stride, b.wrap):
            chosen = self.linear(
                lambda x, y: self.b.select(condition.ir, x, y), a.stride, min(a.mult, b.mult), a, b
            )
            turn = self.b.select(condition.ir, a.turn, b.turn) if a.wrap else None
            return replace(chosen, wrap=a.wrap, turn=turn)
        if condition.kind == "u" and a.kind == b.kind == "u":
            chosen = self.b.select(condition.ir, a.ir, b.ir)
            return Value(a.type, "u", chosen, mult=min(a.mult, b.mult))
        if condition.kind == "u":
            return Value(a.type, "v", self.b.select(condition.ir, self.vector(a), self.vector(b)))
        return self.each(a.type, self.b.select, condition, a, b)

    def clz(self, a: Value) -> Value:
        return self.each(a.type, lambda x: self._zeros("ctlz", x), a)

    def ctz(self, a: Value) -> Value:
        return self.each(a.type, lambda x: self._zeros("cttz", x), a)

    def _zeros(self, name: str, x: IR) -> IR:
        return self.call(f"llvm.{name}.{suffix(x.type)}", x.type, [x, ir.Constant(I1, 0)])

    def popc(self, a: Value) -> Value:
        return self.each(a.type, lambda x: self.intrinsic("ctpop", x.type, [x]), a)

    def brev(self, a: Value) -> Value:
        return self.each(a.type, lambda x: self.intrinsic("bitreverse", x.type, [x]), a)

    def zext(self, a: Value, bits: int) -> Value:
        if a.const is not None and a.type.kind != "pred":
            return self.const(Type("b", bits), a.const)
        return self._widen(a, bits, self.b.zext, 1 << a.type.width)

    def sext(self, a: Value, bits: int) -> Value:
        if a.const is not None and a.type.kind != "pred":
            signed = a.const - (1 << a.type.bits if a.const >> (a.type.bits - 1) else 0)
            return self.const(Type("b", bits), signed)
        return self._widen(a, bits, self.b.sext, 1 << (a.type.width - 1))

    def _widen(self, a: Value, bits: int, f: Callable[..., IR], room: int) -> Value:
        to = Type("b", bits)
        if bits == a.type.width and a.type.kind != "pred":
            return a
        if a.kind == "u":
            return Value(to, "u", f(a.ir, ir.IntType(bits)), mult=a.mult)
        # Lanes follow lane 0 into the wider type only if none wraps around on the way, which may be `room`.
        if a.kind == "a" and a.stride > 0 and a.stride * (self.width - 1) < min(a.mult, room):
            return Value(to, "a", f(a.ir, ir.IntType(bits)), a.stride, a.mult)
        if a.kind == "a" and (a.type.width, bits) == (32, 64) and abs(a.stride) * self.width < 1 << 31:
            wrap = (-1 if a.stride > 0 else 1) % (1 << 32)
            turn = self._turn(a, room == 1 << 31)
            return Value(to, "a", f(a.ir, ir.IntType(bits)), a.stride, a.mult, wrap=wrap, turn=turn)
        return Value(to, "v", f(self.vector(a), self.ir_type(to, "v")))

    def _turn(self, a: Value, signed: bool) -> IR:
        """The first lane of an affine b32 that has wrapped around, or 32."""
        b, step = self.b, ir.Constant(I32, abs(a.stride))
        top = ir.Constant(I32, (1 << 31) - 1 if signed else (1 << 32) - 1)
        bottom = ir.Constant(I32, 1 << 31 if signed else 0)
        left = b.udiv(b.sub(top, a.ir) if a.stride > 0 else b.sub(a.ir, bottom), step)
        last = ir.Constant(I32, self.width - 1)
        least = b.select(b.icmp_unsigned("<", left, last), left, last)
        return b.add(least, ir.Constant(I32, 1))

    def trunc(self, a: Value, bits: int) -> Value:
        to = Type("b", bits)
        if bits == a.type.width:
            return a
        if a.const is not None:
            return self.const(to, a.const)
        if a.kind == "v":
            return Value(to, "v", self.b.trunc(a.ir, self.ir_type(to, "v")))
        result = self.linear(
            lambda x: self.b.trunc(x, ir.IntType(bits)), a.stride, a.mult, replace(a, type=to)
        )
        return replace(result, type=to)

    def bitcast(self, a: Value, type: Type) -> Value:
        type = canonical(type)
        if type == a.type:
            return a
        a = nans.settled(self, a)
        return self.each(type, lambda x: self.b.bitcast(x, self._like(x, type)), a)

    def _like(self, x: IR, type: Type) -> ir.Type:
        return self.ir_type(type, "v" if isinstance(x.type, ir.VectorType) else "u")

    # floats

    def fadd(self, a: Value, b: Value, rnd: str = "rn") -> Value:
        return self._float("fadd", self.b.fadd, rnd, a, b)

    def fsub(self, a: Value, b: Value, rnd: str = "rn") -> Value:
        return self._float("fsub", self.b.fsub, rnd, a, b)

    def fmul(self, a: Value, b: Value, rnd: str = "rn") -> Value:
        return self._float("fmul", self.b.fmul, rnd, a, b)

    def fdiv(self, a: Value, b: Value, rnd: str = "rn") -> Value:
        return self._float("fdiv", self.b.fdiv, rnd, a, b)

    def fma(self, a: Value, b: Value, c: Value, rnd: str = "rn") -> Value:
        return self._float("fma", lambda x, y, z: self.intrinsic("fma", x.type, [x, y, z]), rnd, a, b, c)

    def fsqrt(self, a: Value, rnd: str = "rn") -> Value:
        result = self._float("sqrt", lambda x: self.intrinsic("sqrt", x.type, [x]), rnd, a)
        return nans.root(self, result)

    def _float(self, name: str, f: Callable[..., IR], rnd: str, *values: Value) -> Value:
        type = values[0].type
        if type.bits == 16:
            return self._half(name, rnd, *values)
        if rnd == "rn":
            return nans.free(self.each(type, f, *values))
        return nans.free(self.each(type, lambda *xs: self._directed(name, rnd, xs[0].type, xs), *values))

    def _half(self, name: str, rnd: str, *values: Value) -> Value:
        """f64 holds every f16 sum and product exactly; only fma and quotients need a sticky bit before the
        last rounding.
        """
        wide = [self.fcast(v, F64) for v in values]
        if name == "fma":
            result = self.add_to_odd(self.fmul(wide[0], wide[1]), wide[2])
        else:
            plain: dict[str, Callable[..., Value]] = {
                "fadd": self.fadd,
                "fsub": self.fsub,
                "fmul": self.fmul,
                "fdiv": self.fdiv,
                "sqrt": self.fsqrt,
            }
            result = plain[name](*wide)
        return self.fcast(result, Type("f", 16), rnd)

    def add_to_odd(self, a: Value, b: Value) -> Value:
        """f64 a + b rounded to odd: rounding it again to fewer bits is then as if rounded once."""
        total = self.fadd(a, b)
        part = self.fsub(total, a)
        error = self.fadd(self.fsub(a, self.fsub(total, part)), self.fsub(b, part))
        bits = self.bitcast(total, Type("b", 64))
        one, zero = self.const(bits.type, 1), self.const(F64, 0.0)
        away = self.xor(self.fcmp("olt", error, zero), self.fcmp("olt", total, zero))
        truncated = self.select(away, self.sub(bits, one), bits)
        odd = self.or_(truncated, one)
        inexact = self.fcmp("one", error, zero)
        return self.bitcast(self.select(inexact, odd, bits), F64)

    def _directed(self, name: str, rnd: str, result: ir.Type, arguments: Sequence[IR]) -> IR:
        """An out-of-line function that sets the rounding mode, computes and restores it."""
        helper = f"llmptx.{name}.{rnd}.{suffix(result)}.{suffix(arguments[0].type)}"
        if helper not in self.extras:
            suffixes = suffix(result)
            if name in ("fptrunc", "sitofp", "uitofp"):
                suffixes += f".{suffix(arguments[0].type)}"
            types = [str(a.type) for a in arguments]
            self.extras[helper] = directed_text(helper, f"{name}.{suffixes}", rnd, str(result), types)
        return self.call(helper, result, list(arguments))

    def fneg(self, a: Value) -> Value:
        return nans.free(self.each(a.type, self.b.fneg, a))

    def fabs(self, a: Value) -> Value:
        return nans.free(self.each(a.type, lambda x: self.intrinsic("fabs", x.type, [x]), a))

    def copysign(self, magnitude: Value, sign: Value) -> Value:
        magnitude, sign = nans.settled(self, magnitude), nans.settled(self, sign)
        return self.each(
            magnitude.type, lambda x, y: self.intrinsic("copysign", x.type, [x, y]), magnitude, sign
        )

    def fcmp(self, op: str, a: Value, b: Value) -> Value:
        sign = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.get(op[1:], op)
        compare = self.b.fcmp_unordered if op[0] == "u" and op != "uno" else self.b.fcmp_ordered
        return self.each(PRED, lambda x, y: compare(sign, x, y), a, b)

    def fround(self, a: Value, rnd: str) -> Value:
        name = {"rn": "roundeven", "rz": "trunc", "rm": "floor", "rp": "ceil"}[rnd]
        if a.type.bits == 16:
            return self.fcast(self.fround(self.fcast(a, Type("f", 32)), rnd), a.type)
        return nans.free(self.each(a.type, lambda x: self.intrinsic(name, x.type, [x]), a))

    def fcast(self, a: Value, type: Type, rnd: str = "rn") -> Value:
        type = canonical(type)
        return a if a.type == type else nans.free(self._cast(a, type, rnd))

    def _cast(self, a: Value, type: Type, rnd: str) -> Value:
        if type.bits > a.type.bits:
            if a.type.bits == 16 and type.bits == 64:
                return self.fcast(self.fcast(a, Type("f", 32)), type)
            return self.each(type, lambda x: self.b.fpext(x, self._like(x, type)), a)
        if a.type.bits == 64 and type.bits == 16:
            middle = self._to_odd_f32(a) if rnd == "rn" else self.fcast(a, Type("f", 32), rnd)
            return self.fcast(middle, type, rnd)
        if rnd == "rn":
            return self.each(type, lambda x: self.b.fptrunc(x, self._like(x, type)), a)
        if type.bits == 16:
            return self._stepped(a, self.fcast(a, type), rnd)
        return self.each(type, lambda x: self._directed("fptrunc", rnd, self._like(x, type), [x]), a)

    def _stepped(self, a: Value, near: Value, rnd: str) -> Value:
        """f32 to f16 in a directed mode: the nearest f16, moved one step where it lies on the wrong side.

        LLVM cannot compile the constrained cast of a vector to f16.
        """
        back = self.fcast(near, a.type)
        bits = self.bitcast(near, Type("b", 16))
        negative = self.icmp("slt", bits, self.const(bits.type, 0))
        above, below = self.fcmp("ogt", back, a), self.fcmp("olt", back, a)
        if rnd == "rz":
            too_far = self.select(negative, below, above)
            nearer = self.sub(bits, self.const(bits.type, 1))
            return self.bitcast(self.select(too_far, nearer, bits), near.type)
        # One step up makes a positive number's bits one more and a negative one's one less; down the reverse.
        wrong = above if rnd == "rm" else below
        outward = negative if rnd == "rm" else self.not_(negative)
        step = self.select(outward, self.const(bits.type, 1), self.const(bits.type, -1))
        return self.bitcast(self.select(wrong, self.add(bits, step), bits), near.type)

    def _to_odd_f32(self, a: Value) -> Value:
        """f64 to f32 rounded to odd, so that rounding on to f16 rounds once."""
        f32 = Type("f", 32)
        near = self.fcast(a, f32)
        back = self.fcast(near, F64)
        bits = self.bitcast(near, Type("b", 32))
        one = self.const(bits.type, 1)
        beyond = self.fcmp("ogt", self.fabs(back), self.fabs(a))
        odd = self.or_(self.select(beyond, self.sub(bits, one), bits), one)
        inexact = self.fcmp("one", back, a)
        return self.bitcast(self.select(inexact, odd, bits), f32)

    def ftoi(self, a: Value, bits: int, signed: bool) -> Value:
        if a.type.bits == 16:
            a = self.fcast(a, Type("f", 32))
        type = Type("b", bits)
        low = -(1 << (bits - 1)) if signed else 0
        high = (1 << (bits - 1) if signed else 1 << bits) - 1
        # 2^(N-1) or 2^N is exact in every float type; the greatest integer below it may not be.
        limit = self.const(a.type, float(high + 1))
        least = self.const(a.type, float(low))
        over = self.fcmp("oge", a, limit)
        fits = self.and_(self.fcmp("oge", a, least), self.fcmp("olt", a, limit))
        safe = self.select(fits, a, self.const(a.type, 0.0))
        convert = self.b.fptosi if signed else self.b.fptoui
        integer = self.each(type, lambda x: convert(x, self._like(x, type)), safe)
        under = self.fcmp("olt", a, least)
        integer = self.select(over, self.const(type, high), integer)
        return self.select(under, self.const(type, low), integer)

    def itof(self, a: Value, type: Type, signed: bool, rnd: str = "rn") -> Value:
        type = canonical(type)
        if type.bits == 16:
            # Through f64: exact below 2^53, and beyond that f16 overflows whatever the rounding of the last
            # bit.
            return self.fcast(self.itof(a, F64, signed), type, rnd)
        convert = self.b.sitofp if signed else self.b.uitofp
        if rnd == "rn":
            return self.each(type, lambda x: convert(x, self._like(x, type)), a)
        name = "sitofp" if signed else "uitofp"
        return self.each(type, lambda x: self._directed(name, rnd, self._like(x, type), [x]), a)

    def approx(self, name: str, a: Value, b: Value | None = None) -> Value:
        from llmptx.engine import approximate

        return approximate.approx(self, name, a, b)

    # the carry of add.cc and its kin

    def get_carry(self) -> Value:
        raise NotImplementedError

    def set_carry(self, value: Value) -> None:
        raise NotImplementedError


def float_to_bits(value: float, width: int) -> int:
    code = {16: ("<H", "<e"), 32: ("<I", "<f"), 64: ("<Q", "<d")}[width]
    return int(struct.unpack(code[0], struct.pack(code[1], value))[0])


def suffix(type: ir.Type) -> str:
    """LLVM's mangling of a type in intrinsic names."""
    if isinstance(type, ir.VectorType):
        return f"v{type.count}{suffix(type.element)}"
    if isinstance(type, ir.IntType):
        return f"i{type.width}"
    if isinstance(type, ir.PointerType):
        return "p0"
    return {"half": "f16", "float": "f32", "double": "f64"}[str(type)]
