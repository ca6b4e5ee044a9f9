"""Faults of one instruction: what a wrong PTX instruction looks like beside the right one.

Every rule takes an instruction and gives the changed ones with a sentence; most are realistic slips, and
all are meant to change what a kernel computes. Knows neither control flow nor routines.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from llmptx.ptx.ast import Addr, Float, Instruction, Int, Operand, Reg, Sym, Vec
from llmptx.ptx.printer import print_operand
from llmptx.ptx.types import Type

# (kind of mutation, what was done, the instruction now)
Change = tuple[str, str, Instruction]
Rule = Callable[[Instruction, random.Random], Iterator[Change]]

_OPCODES: Mapping[str, tuple[str, ...]] = {
    "add": ("sub",),
    "sub": ("add",),
    "div": ("mul", "rem"),
    "rem": ("div",),
    "min": ("max",),
    "max": ("min",),
    "and": ("or", "xor"),
    "or": ("and", "xor"),
    "xor": ("or", "and"),
    "shl": ("shr",),
    "shr": ("shl",),
    "abs": ("neg",),
    "neg": ("abs",),
    "not": ("mov",),
    "sqrt": ("rcp",),
    "rcp": ("sqrt",),
    "sin": ("cos",),
    "cos": ("sin",),
    "ex2": ("lg2",),
    "lg2": ("ex2",),
    "popc": ("clz",),
    "clz": ("popc",),
    "copysign": ("max",),
}
_MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "lo": ("hi",),
    "hi": ("lo",),
    "bfly": ("up",),  # `down` gives lane 0 the same sum, and that is the lane most kernels keep
    "up": ("down", "bfly"),
    "down": ("up", "bfly"),
    "wrap": ("clamp",),
    "all": ("any",),
    "any": ("all",),
}
_COMPARES: Mapping[str, tuple[str, ...]] = {
    "lt": ("le", "gt"),
    "le": ("lt", "ge"),
    "gt": ("ge", "lt"),
    "ge": ("gt", "le"),
    "eq": ("ne",),
    "ne": ("eq",),
    "ltu": ("lt", "leu", "gtu"),
    "leu": ("le", "ltu", "geu"),
    "gtu": ("gt", "geu", "ltu"),
    "geu": ("ge", "gtu", "leu"),
    "equ": ("eq", "neu"),
    "neu": ("ne", "equ"),
    "num": ("nan",),
    "nan": ("num",),
    "lo": ("ls", "hi"),
    "ls": ("lo", "hs"),
    "hi": ("hs", "lo"),
    "hs": ("hi", "ls"),
}
_FLOAT_COMPARES: Mapping[str, tuple[str, ...]] = {
    name: (*others, f"{name}u")
    for name, others in _COMPARES.items()
    if name in ("lt", "le", "gt", "ge", "eq")
}
_ROUNDINGS = ("rn", "rz", "rm", "rp")
_TO_INTEGER = ("rni", "rzi", "rmi", "rpi")
_ARITHMETIC = ("add", "sub", "mul", "fma", "mad")
_FLUSHABLE = (*_ARITHMETIC, "div", "rcp", "sqrt", "min", "max", "abs", "neg", "setp", "cvt", "ex2")
_ACCESSES = ("ld", "st", "atom", "red")
_ORDERED = ("sub", "div", "rem", "shl", "shr", "setp", "selp", "copysign", "set")
_SIGNS = {"s": "u", "u": "s"}
_NARROW = {64: 32, 32: 16, 16: 8}


def changes(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """Every change of one instruction, rule by rule; `rng` picks among the bits of constants."""
    for rule in RULES:
        yield from rule(instruction, rng)


def written(instruction: Instruction) -> str:
    """Opcode and modifiers as in the text."""
    return ".".join((instruction.opcode, *instruction.modifiers))


def _type(instruction: Instruction) -> Type | None:
    """The last modifier that is a type: of a setp or an arithmetic, the operands' own."""
    for modifier in reversed(instruction.modifiers):
        try:
            return Type.parse(modifier)
        except ValueError:
            continue
    return None


def _with(instruction: Instruction, place: int, modifier: str) -> Instruction:
    modifiers = list(instruction.modifiers)
    modifiers[place] = modifier
    return replace(instruction, modifiers=tuple(modifiers))


def _inserted(instruction: Instruction, modifier: str) -> Instruction:
    """The modifier just before the type."""
    *front, type_ = instruction.modifiers
    return replace(instruction, modifiers=(*front, modifier, type_))


def _became(before: Instruction, after: Instruction) -> str:
    return f"{written(before)} became {written(after)}"


def operators(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """Another opcode of the same shape; a product without its sum, a sum without its product."""
    for opcode in _OPCODES.get(instruction.opcode, ()):
        modifiers = instruction.modifiers
        type_ = _type(instruction)
        floating = type_ is not None and type_.is_float
        if opcode in ("rem", "mov") and floating:
            continue
        if opcode == "mul" and not floating:
            modifiers = ("lo", *modifiers)
        if opcode in ("shr", "clz", "popc", "mov", "max", "neg", "abs", "ex2", "lg2"):
            modifiers = tuple(m for m in modifiers if m not in _ROUNDINGS)
        changed = replace(instruction, opcode=opcode, modifiers=modifiers)
        yield "operator", _became(instruction, changed), changed
    for place, modifier in enumerate(instruction.modifiers):
        if instruction.opcode not in ("setp", "set"):
            for other in _MODIFIERS.get(modifier, ()):
                changed = _with(instruction, place, other)
                yield "operator", _became(instruction, changed), changed
    if instruction.opcode in ("fma", "mad") and "wide" not in instruction.modifiers:
        d, a, b, c = instruction.operands
        sum_modifiers = tuple(m for m in instruction.modifiers if m not in ("lo", "hi"))
        for changed in (
            replace(instruction, opcode="mul", operands=(d, a, b)),
            replace(instruction, opcode="add", modifiers=sum_modifiers, operands=(d, a, c)),
        ):
            yield "operator", _became(instruction, changed), changed
    if instruction.opcode == "mul" and not {"wide", "hi"} & set(instruction.modifiers):
        modifiers = tuple(m for m in instruction.modifiers if m != "lo")
        changed = replace(instruction, opcode="add", modifiers=modifiers)
        yield "operator", _became(instruction, changed), changed


def operands(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """Two sources in each other's place, where their order matters; a source that is another one."""
    if instruction.opcode in _ORDERED and len(instruction.operands) >= 3:
        d, a, b, *rest = instruction.operands
        if a != b:
            changed = replace(instruction, operands=(d, b, a, *rest))
            yield "operands", f"{written(instruction)}: sources swapped", changed
    if instruction.opcode in ("fma", "mad") and len(instruction.operands) == 4:
        d, a, b, c = instruction.operands
        if b != c and "wide" not in instruction.modifiers:
            changed = replace(instruction, operands=(d, a, c, b))
            yield "operands", f"{written(instruction)}: factor and summand swapped", changed
    if instruction.opcode in _ARITHMETIC or instruction.opcode in ("min", "max", "and", "or", "xor"):
        d, a, b, *rest = instruction.operands
        if a != b and isinstance(a, Reg) and "wide" not in instruction.modifiers:
            changed = replace(instruction, operands=(d, a, a, *rest))
            yield "operands", f"{written(instruction)}: {print_operand(a)} for {print_operand(b)}", changed


def constants(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """Numbers one more, one less, and with two of their bits flipped."""
    if instruction.opcode in ("bar", "barrier", "bra", "ret", "call"):
        return
    for place, operand in enumerate(instruction.operands):
        if isinstance(operand, Int):
            news = _integers(instruction, operand, rng)
        elif isinstance(operand, Float):
            news = _floats(operand, rng)
        else:
            continue
        for kind, new in news:
            listed = list(instruction.operands)
            listed[place] = new
            what = f"{written(instruction)}: {print_operand(operand)} became {print_operand(new)}"
            yield kind, what, replace(instruction, operands=tuple(listed))


def _integers(instruction: Instruction, old: Int, rng: random.Random) -> Iterator[tuple[str, Operand]]:
    for step in (1, -1):
        yield "constant", replace(old, value=old.value + step)
    bits = max(6, min(32, old.value.bit_length() + 2))
    if instruction.opcode == "shfl":
        bits = 5  # lanes; between these and the segment's mask nothing is read
    for bit in rng.sample(range(bits), 2):
        yield "bit flip", replace(old, value=old.value ^ (1 << bit))


def _floats(old: Float, rng: random.Random) -> Iterator[tuple[str, Operand]]:
    """Bits from the sign down to the eighth of the fraction: those below mostly stay within a tolerance."""
    code, whole = ("<f", "<I") if old.width == 32 else ("<d", "<Q")
    (value,) = struct.unpack(code, struct.pack(whole, old.bits))
    for step in (1.0, -1.0):
        (bits,) = struct.unpack(whole, struct.pack(code, value + step))
        yield "constant", replace(old, bits=bits)
    exponent = 8 if old.width == 32 else 11
    for place in rng.sample(range(1 + exponent + 8), 2):
        yield "bit flip", replace(old, bits=old.bits ^ (1 << (old.width - 1 - place)))


def compares(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """The other direction, the neighbour (`lt` and `le`), ordered for unordered."""
    if instruction.opcode not in ("setp", "set"):
        return
    type_ = _type(instruction)
    table = _FLOAT_COMPARES if type_ and type_.is_float else {}
    for other in table.get(instruction.modifiers[0]) or _COMPARES.get(instruction.modifiers[0], ()):
        changed = _with(instruction, 0, other)
        yield "compare", _became(instruction, changed), changed


def roundings(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """Each other rounding mode."""
    for place, modifier in enumerate(instruction.modifiers):
        family = next((f for f in (_ROUNDINGS, _TO_INTEGER) if modifier in f), ())
        for other in family:
            if other != modifier:
                changed = _with(instruction, place, other)
                yield "rounding", _became(instruction, changed), changed


def looser(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """`.ftz`, `.sat`, `.approx`, `.full`, `.NaN` where they do not belong, or not where they do."""
    opcode, modifiers, type_ = instruction.opcode, instruction.modifiers, _type(instruction)
    if type_ is None or not modifiers:
        return
    found: list[tuple[str, Instruction]] = []
    # A subnormal is a number, and next to zero, whether flushed or not.
    blind = {"setp": ("nan", "num"), "cvt": ("rni", "rzi")}.get(opcode, ())
    single = "f32" in modifiers and "f64" not in modifiers and "ftz" not in modifiers
    if opcode in _FLUSHABLE and single and modifiers[0] not in blind:
        if opcode in ("min", "max"):
            found.append(("flush to zero", replace(instruction, modifiers=("ftz", *modifiers))))
        elif opcode == "cvt":
            flushed = (*modifiers[:-2], "ftz", *modifiers[-2:])
            found.append(("flush to zero", replace(instruction, modifiers=flushed)))
        else:
            found.append(("flush to zero", _inserted(instruction, "ftz")))
    if opcode in _ARITHMETIC and (str(type_) == "f32" or (opcode in ("add", "sub") and str(type_) == "s32")):
        found.append(("saturation", _inserted(instruction, "sat")))
    if opcode in ("div", "sqrt", "rcp") and str(type_) == "f32":
        for other in ("approx", "full") if opcode == "div" else ("approx",):
            found += [
                ("approximation", _with(instruction, place, other))
                for place, modifier in enumerate(modifiers)
                if modifier in _ROUNDINGS
            ]
    if opcode in ("min", "max") and type_.is_float:
        if "NaN" in modifiers:
            without = tuple(m for m in modifiers if m != "NaN")
            found.append(("NaN rule", replace(instruction, modifiers=without)))
        elif type_.bits == 32:
            found.append(("NaN rule", _inserted(instruction, "NaN")))
    for kind, changed in found:
        yield kind, _became(instruction, changed), changed


def types(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """Signed for unsigned, half the width; where the registers do not fit, ptxas says so.

    Unsigned 64-bit numbers stay so: they are addresses and extents, below 2^63, where the two are the same.
    """
    if instruction.opcode in ("mov", "bar", "shfl", "cvta") or "param" in instruction.modifiers:
        return
    for place, modifier in enumerate(instruction.modifiers):
        try:
            type_ = Type.parse(modifier)
        except ValueError:
            continue
        if type_.kind in _SIGNS and str(type_) != "u64" and instruction.opcode not in ("ld", "st", "selp"):
            changed = _with(instruction, place, f"{_SIGNS[type_.kind]}{type_.bits}")
            yield "sign", _became(instruction, changed), changed
        if type_.kind in ("b", "u", "s") and type_.bits in _NARROW and instruction.opcode not in ("selp",):
            changed = _with(instruction, place, f"{type_.kind}{_NARROW[type_.bits]}")
            yield "width", _became(instruction, changed), changed


def offsets(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """An address one element away; a parameter's neighbour is `operands`' business."""
    type_ = _type(instruction)
    if (
        type_ is None
        or instruction.opcode not in ("ld", "st", "atom", "red")
        or "param" in instruction.modifiers
    ):
        return
    for place, operand in enumerate(instruction.operands):
        if not isinstance(operand, Addr):
            continue
        for step in (type_.bytes, -type_.bytes):
            listed = list(instruction.operands)
            listed[place] = replace(operand, offset=operand.offset + step)
            what = f"{written(instruction)}: {print_operand(operand)} became {print_operand(listed[place])}"
            yield "address offset", what, replace(instruction, operands=tuple(listed))


def vectors(instruction: Instruction, rng: random.Random) -> Iterator[Change]:
    """Two elements of a vector access in each other's place."""
    for place, operand in enumerate(instruction.operands):
        if (
            isinstance(operand, Vec)
            and len(operand.elements) > 1
            and instruction.opcode in ("ld", "st", "mov")
        ):
            first, second, *rest = operand.elements
            listed = list(instruction.operands)
            listed[place] = Vec((second, first, *rest), operand.span)
            what = f"{written(instruction)}: {print_operand(first)} and {print_operand(second)} swapped"
            yield "operands", what, replace(instruction, operands=tuple(listed))


def parameter(instruction: Instruction, others: tuple[str, ...]) -> Iterator[Change]:
    """`ld.param` of each other parameter."""
    if instruction.opcode == "ld" and "param" in instruction.modifiers:
        address = instruction.operands[1]
        if isinstance(address, Addr) and isinstance(address.base, Sym):
            for other in others:
                if other != address.base.name:
                    new = replace(address, base=Sym(other))
                    what = f"parameter {address.base.name} became {other}"
                    yield "operands", what, replace(instruction, operands=(instruction.operands[0], new))


RULES: tuple[Rule, ...] = (
    operators,
    operands,
    vectors,
    constants,
    compares,
    roundings,
    looser,
    types,
    offsets,
)
