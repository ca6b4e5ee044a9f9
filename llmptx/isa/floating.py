"""Floating-point arithmetic in f32 and f64 (PTX ISA 9.7.3)."""

from __future__ import annotations

from collections.abc import Callable

from llmptx.isa.arith import (
    B64,
    F32,
    F64,
    bits_of,
    float_extreme_by,
    flush_if,
    flushed,
    is_infinite,
    is_nan,
    is_subnormal,
    like,
    saturated,
)
from llmptx.isa.emitter import Approx, Emitter, Value
from llmptx.isa.form import Modifiers, form


def _inputs(e: Emitter, m: Modifiers, *values: Value) -> list[Value]:
    return [flush_if(e, m.get("ftz", False), a) for a in values]


def _rounded(e: Emitter, m: Modifiers, op: Callable[..., Value], *values: Value) -> Value:
    return _output(e, m, op(*_inputs(e, m, *values), rnd=m.rnd or "rn"))


def _output(e: Emitter, m: Modifiers, a: Value) -> Value:
    a = flush_if(e, m.get("ftz", False), a)
    return saturated(e, a) if m.get("sat") else a


@form("testp.op:finite|infinite|number|notanumber|normal|subnormal.type:f32|f64  d:pred, a")
def testp(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Zero counts as normal."""
    special = e.or_(is_nan(e, a), is_infinite(e, a))
    if m.op == "finite":
        return e.not_(special)
    if m.op == "infinite":
        return is_infinite(e, a)
    if m.op in ("number", "notanumber"):
        return is_nan(e, a) if m.op == "notanumber" else e.not_(is_nan(e, a))
    return is_subnormal(e, a) if m.op == "subnormal" else e.not_(e.or_(special, is_subnormal(e, a)))


@form("copysign.type:f32|f64  d, a, b")
def copysign(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """b with the sign of a."""
    return e.copysign(b, a)


@form("add[.rnd:rn|rz|rm|rp][.ftz][.sat].type:f32  d, a, b")
@form("add[.rnd:rn|rz|rm|rp].type:f64  d, a, b")
def add(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return _rounded(e, m, e.fadd, a, b)


@form("sub[.rnd:rn|rz|rm|rp][.ftz][.sat].type:f32  d, a, b")
@form("sub[.rnd:rn|rz|rm|rp].type:f64  d, a, b")
def sub(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return _rounded(e, m, e.fsub, a, b)


@form("mul[.rnd:rn|rz|rm|rp][.ftz][.sat].type:f32  d, a, b")
@form("mul[.rnd:rn|rz|rm|rp].type:f64  d, a, b")
def mul(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return _rounded(e, m, e.fmul, a, b)


@form("fma.rnd:rn|rz|rm|rp[.ftz][.sat].type:f32  d, a, b, c")
@form("fma.rnd:rn|rz|rm|rp.type:f64  d, a, b, c")
@form("mad.rnd:rn|rz|rm|rp[.ftz][.sat].type:f32  d, a, b, c")
@form("mad.rnd:rn|rz|rm|rp.type:f64  d, a, b, c")
def fma(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """Rounded once."""
    return _rounded(e, m, e.fma, a, b, c)


@form("div.rnd:rn|rz|rm|rp[.ftz].type:f32  d, a, b")
@form("div.rnd:rn|rz|rm|rp.type:f64  d, a, b")
def div(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return _rounded(e, m, e.fdiv, a, b)


@form("div.full[.ftz].type:f32  d, a, b")
def div_full(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """Within 2 ULP everywhere."""
    return _approx(e, m, "div", a, b)


@form("div.approx[.ftz].type:f32  d, a, b")
def div_approx(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """Within 2 ULP for |b| in [2^-126, 2^126]; above, the reciprocal is 0: gives 0, or NaN of infinity."""
    a, b = _inputs(e, m, a, b)
    size = e.fabs(b)
    huge = e.and_(e.fcmp("ogt", size, e.const(F32, 2.0**126)), e.not_(is_infinite(e, b)))
    lost = e.fmul(a, e.copysign(e.const(F32, 0), b))
    return _output(e, m, e.select(huge, lost, e.approx("div", a, b)))


@form("abs[.ftz].type:f32  d, a")
@form("abs.type:f64  d, a")
def abs_(e: Emitter, m: Modifiers, a: Value) -> Value:
    """An f64 NaN stays as it is."""
    size = e.fabs(flush_if(e, m.get("ftz", False), a))
    return e.select(is_nan(e, a), a, size) if m.type.bits == 64 else size


@form("neg[.ftz].type:f32  d, a")
@form("neg.type:f64  d, a")
def neg(e: Emitter, m: Modifiers, a: Value) -> Value:
    return e.fneg(flush_if(e, m.get("ftz", False), a))


@form("min[.ftz][.NaN][.xorsign.abs].type:f32  d, a, b")
@form("min.type:f64  d, a, b")
def min_(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """-0 < +0; NaN loses to a number, unless .NaN. .xorsign.abs: of magnitudes, with the signs' product."""
    return _extreme(e, m, "min", a, b)


@form("max[.ftz][.NaN][.xorsign.abs].type:f32  d, a, b")
@form("max.type:f64  d, a, b")
def max_(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return _extreme(e, m, "max", a, b)


def _extreme(e: Emitter, m: Modifiers, op: str, a: Value, b: Value) -> Value:
    nan, ftz, xorsign = (m.get(name, False) for name in ("NaN", "ftz", "xorsign_abs"))
    return float_extreme_by(e, op, a, b, propagate=nan, ftz=ftz, xorsign=xorsign)


@form("rcp.rnd:rn|rz|rm|rp[.ftz].type:f32  d, a")
@form("rcp.rnd:rn|rz|rm|rp.type:f64  d, a")
def rcp(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _rounded(e, m, e.fdiv, like(e, a, 1), a)


@form("sqrt.rnd:rn|rz|rm|rp[.ftz].type:f32  d, a")
@form("sqrt.rnd:rn|rz|rm|rp.type:f64  d, a")
def sqrt(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _rounded(e, m, e.fsqrt, a)


@form("rcp.approx[.ftz].type:f32  d, a")
def rcp_approx(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _approx(e, m, "rcp", a)


@form("sqrt.approx[.ftz].type:f32  d, a")
def sqrt_approx(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _approx(e, m, "sqrt", a)


@form("rsqrt.approx[.ftz].type:f32  d, a")
@form("rsqrt.approx.type:f64  d, a")
def rsqrt_approx(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _approx(e, m, "rsqrt", a)


@form("sin.approx[.ftz].type:f32  d, a")
def sin(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _approx(e, m, "sin", a)


@form("cos.approx[.ftz].type:f32  d, a")
def cos(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _approx(e, m, "cos", a)


@form("lg2.approx[.ftz].type:f32  d, a")
def lg2(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _approx(e, m, "lg2", a)


@form("ex2.approx[.ftz].type:f32  d, a")
def ex2(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _approx(e, m, "ex2", a)


@form("tanh.approx.type:f32  d, a")
def tanh(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _approx(e, m, "tanh", a)


def _approx(e: Emitter, m: Modifiers, name: Approx, *values: Value) -> Value:
    return _output(e, m, e.approx(name, *_inputs(e, m, *values)))


@form("rcp.approx.ftz.type:f64  d, a")
def rcp_gross(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Of a's upper 32 bits, and only the result's: the manual gives no bound beyond that."""
    return _gross(e, "rcp", a)


@form("rsqrt.approx.ftz.type:f64  d, a")
def rsqrt_gross(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _gross(e, "rsqrt", a)


def _gross(e: Emitter, name: Approx, a: Value) -> Value:
    upper = e.const(B64, 0xFFFFFFFF_00000000)
    known = e.bitcast(e.and_(bits_of(e, a), upper), F64)
    # a NaN whose payload is in the lower half would turn into infinity
    known = e.select(is_nan(e, a), a, flushed(e, known))
    result = flushed(e, e.approx(name, known))
    cut = e.bitcast(e.and_(bits_of(e, result), upper), F64)
    canonical = e.bitcast(e.const(B64, 0x7FFFFFFF_00000000), F64)
    return e.select(is_nan(e, result), canonical, cut)
