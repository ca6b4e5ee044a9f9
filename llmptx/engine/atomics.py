"""LLVM text of the atomic operations of a warp: a loop over its active lanes, one after the other.

What the host has no instruction for (sums and extremes of floats) is a compare-and-exchange until it holds.
Knows texts only: which lanes and which addresses is the caller's.
"""

from __future__ import annotations

from llmptx.engine.emit import canonical, scalar_type
from llmptx.ptx.types import Type

# Bytes from one operand's lanes to the next's where they are handed over.
STRIDE = 512


def atom_text(helper: str, op: str, type: Type, width: int) -> str:
    """A function (addresses, mask, bs, cs, olds) of `width` lanes: atomics of one warp happen in turn, as on
    the device.
    """
    machine = canonical(type)
    t = f"i{machine.bits}" if type.is_float and op != "exch" else str(scalar_type(machine))
    declared = ""
    if op == "cas":
        body = (
            f"  %pair = cmpxchg ptr %p, {t} %b, {t} %c seq_cst seq_cst\n"
            f"  %old = extractvalue {{ {t}, i1 }} %pair, 0\n"
        )
    elif type.is_float and op != "exch":
        body = _until_it_holds(op, type, t)
        declared = _declared(op)
    else:
        signed = {"min": "min" if type.signed else "umin", "max": "max" if type.signed else "umax"}
        names = {"exch": "xchg", "inc": "uinc_wrap", "dec": "udec_wrap", **signed}
        body = f"  %old = atomicrmw {names.get(op, op)} ptr %p, {t} %b seq_cst\n"
    return (
        f'define void @"{helper}"(ptr %addresses, i32 %mask, ptr %bs, ptr %cs, ptr %olds) noinline {{\n'
        f"entry:\n  br label %lanes\n"
        f"lanes:\n"
        f"  %lane = phi i32 [ 0, %entry ], [ %lane1, %next ]\n"
        f"  %shifted = lshr i32 %mask, %lane\n  %bit = trunc i32 %shifted to i1\n"
        f"  br i1 %bit, label %go, label %next\n"
        f"go:\n"
        f"  %ap = getelementptr i64, ptr %addresses, i32 %lane\n  %a = load i64, ptr %ap\n"
        f"  %p = inttoptr i64 %a to ptr\n"
        f"  %byte = mul i32 %lane, {machine.bytes}\n"
        f"  %bp = getelementptr i8, ptr %bs, i32 %byte\n  %b = load {t}, ptr %bp, align 1\n"
        f"  %cp = getelementptr i8, ptr %cs, i32 %byte\n  %c = load {t}, ptr %cp, align 1\n"
        f"{body}"
        f"  %op = getelementptr i8, ptr %olds, i32 %byte\n  store {t} %old, ptr %op, align 1\n"
        f"  br label %next\n"
        f"next:\n  %lane1 = add i32 %lane, 1\n  %more = icmp ult i32 %lane1, {width}\n"
        f"  br i1 %more, label %lanes, label %out\n"
        f"out:\n  ret void\n}}\n{declared}"
    )


_EXTREMES = {"min": "@llvm.minimumnum.f32", "max": "@llvm.maximumnum.f32"}


def _declared(op: str) -> str:
    return f"declare float {_EXTREMES[op]}(float, float)\n" if op in _EXTREMES else ""


def _until_it_holds(op: str, type: Type, t: str) -> str:
    """From %b and *%p to %old; NaN results are the canonical one. Extremes are of 16-bit types only."""
    size = type.bits // 8
    wide = "double" if type.bits == 64 else "float"
    result = (
        f"  %z = call float {_EXTREMES[op]}(float %x, float %y)\n"
        if op in _EXTREMES
        else f"  %z = fadd {wide} %x, %y\n"
    )
    return (
        f"{_widened(type, 'y', 'b')}"
        f"  %first = load atomic {t}, ptr %p monotonic, align {size}\n"
        "  br label %try\n"
        "try:\n"
        f"  %old = phi {t} [ %first, %go ], [ %now, %try ]\n"
        f"{_widened(type, 'x', 'old')}{result}{_narrowed(type)}"
        f"  %none = fcmp uno {wide} %z, %z\n"
        f"  %new = select i1 %none, {t} {(1 << type.bits - 1) - 1}, {t} %rounded\n"
        f"  %pair = cmpxchg ptr %p, {t} %old, {t} %new seq_cst seq_cst\n"
        f"  %now = extractvalue {{ {t}, i1 }} %pair, 0\n"
        f"  %done = extractvalue {{ {t}, i1 }} %pair, 1\n"
        "  br i1 %done, label %held, label %try\n"
        "held:\n"
    )


def _widened(type: Type, to: str, bits: str) -> str:
    """A 16-bit float as the f32 it is; wider ones as themselves."""
    if type.kind == "bf":
        return (
            f"  %{to}.w = zext i16 %{bits} to i32\n  %{to}.s = shl i32 %{to}.w, 16\n"
            f"  %{to} = bitcast i32 %{to}.s to float\n"
        )
    if type.bits == 16:
        return f"  %{to}.h = bitcast i16 %{bits} to half\n  %{to} = fpext half %{to}.h to float\n"
    return f"  %{to} = bitcast i{type.bits} %{bits} to {'double' if type.bits == 64 else 'float'}\n"


def _narrowed(type: Type) -> str:
    """%z to %rounded, to nearest even: an f32 is wide enough that a sum of 16-bit floats is rounded once."""
    if type.kind == "bf":
        return (
            "  %bits = bitcast float %z to i32\n  %last = lshr i32 %bits, 16\n  %odd = and i32 %last, 1\n"
            "  %half = add i32 %odd, 32767\n  %sum = add i32 %bits, %half\n  %top = lshr i32 %sum, 16\n"
            "  %rounded = trunc i32 %top to i16\n"
        )
    if type.bits == 16:
        return "  %zh = fptrunc float %z to half\n  %rounded = bitcast half %zh to i16\n"
    return f"  %rounded = bitcast {'double' if type.bits == 64 else 'float'} %z to i{type.bits}\n"
