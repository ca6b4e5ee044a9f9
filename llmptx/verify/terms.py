"""PTX arithmetic on z3 bit vectors: whole numbers exactly, floats as far as bits alone decide.

Comparisons, extrema, signs and moves of floats are exact too; sums, products and functions of floats are
names that give the same result for the same operands, and no more is known of them. Knows no control flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmptx.ptx.ast import Instruction
from llmptx.ptx.plan import Plan
from llmptx.ptx.types import Type

ADDRESS_BITS = 47
SHARED_BITS = 18

# z3 terms have no types that mypy could check.
Term = Any

_COMPARES = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
_UNSIGNED_COMPARES = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
# Arithmetic of which the result is NaN where an operand is (PTX ISA 9.7.3).
_SPREADING = (
    *("add", "sub", "mul", "fma", "mad", "div", "sqrt", "rcp", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh"),
)
_FRACTION = {16: 10, 32: 23, 64: 52}


class Variables:
    """Unknowns by key, the same for the same key, and what is assumed of them in `facts`.

    Extents and addresses are below 2^47, as address spaces are; threads and blocks within the plan and the
    hardware's limits (PTX ISA 10).
    """

    def __init__(self, plan: Plan, entry: str) -> None:
        self.facts: list[Term] = []
        self._variables: dict[object, Term] = {}
        launches = [launch for launch in plan.launches if launch.entry == entry]
        self._block = launches[0].block if len({launch.block for launch in launches}) == 1 else None
        grids = [launch.grid for launch in launches]
        self._grid = grids[0] if len(set(grids)) == 1 else None

    def variable(self, key: object, width: int, below: int | None = None) -> Term:
        """The unknown of a key."""
        import z3

        if key not in self._variables:
            self._variables[key] = z3.BitVec(f"v{len(self._variables)}", width)
            if below is not None and below < 1 << width:
                self.facts.append(z3.ULT(self._variables[key], below))
        return self._variables[key]

    def special(self, name: str) -> Term | None:
        """A special register; None for one of which nothing is known."""
        import z3

        base, _, axis = name.partition(".")
        place = "xyz".find(axis) if axis else -1
        below = {"%laneid": 32, "%warpid": 32, "%nwarpid": 33}.get(base)
        if base in ("%tid", "%ntid") and place >= 0:
            size = self._block[place] if self._block else 1024
            if base == "%ntid" and self._block:
                return z3.BitVecVal(size, 32)
            below = size + (base == "%ntid")
        elif base in ("%ctaid", "%nctaid") and place >= 0:
            below = self._blocks(place) + (base == "%nctaid")
        return None if below is None else self.variable(("special", name), 32, below)

    def _blocks(self, place: int) -> int:
        """The most blocks along an axis: as the plan says where that is a number."""
        if self._grid and self._grid[place].operator == "int":
            return self._grid[place].value
        return 2**31 - 1 if place == 0 else 65535

    def parameter(self, name: str) -> Term:
        """A 64-bit parameter: an extent or an address."""
        return self.variable(("parameter", name), 64, 1 << ADDRESS_BITS)

    def symbol(self, name: str, width: int) -> Term:
        """The address of a shared variable."""
        return self.variable(("symbol", name), width, 1 << SHARED_BITS)


def type_of(modifier: str) -> Type | None:
    """The type a modifier names."""
    try:
        return Type.parse(modifier)
    except ValueError:
        return None


def types_of(instruction: Instruction) -> list[Type]:
    """The types among the modifiers, the result's first where there are two."""
    return [t for t in map(type_of, instruction.modifiers) if t is not None]


def extended(value: Term | None, type_: Type, width: int) -> Term | None:
    """A result in a register that may be wider; None for one that does not fit."""
    import z3

    if value is None or value.size() > width:
        return None
    extend = z3.SignExt if type_.signed else z3.ZeroExt
    return extend(width - value.size(), value)


def widths(instruction: Instruction, type_: Type, count: int) -> list[int]:
    """Bits of each source."""
    found = [type_.width] * count
    if instruction.opcode == "mad" and "wide" in instruction.modifiers:
        found[-1] *= 2
    elif instruction.opcode in ("shl", "shr"):
        found[-1] = 32
    elif instruction.opcode == "selp":
        found[-1] = 1
    return found


def computed(instruction: Instruction, types: Sequence[Type], terms: Sequence[Term]) -> Term | None:
    """The result (PTX ISA 9.7.1 to 9.7.9); None where nothing is known of it."""
    import z3

    type_ = types[-1]
    if any(t.lanes > 1 for t in types):
        return None
    if any(t.is_float for t in types):
        return _floating(instruction, types, terms, z3)
    opcode, modifiers = instruction.opcode, instruction.modifiers
    a: Term = terms[0] if terms else None
    b: Term = terms[1] if len(terms) > 1 else None
    signed = type_.signed
    plain = set(modifiers) - {str(t) for t in types}
    match opcode:
        case "mov" if not plain:
            return a
        case "cvta":
            return a
        case "cvt" if not plain and len(types) == 2:
            grow = types[0].width - type_.width
            if grow <= 0:
                return z3.Extract(types[0].width - 1, 0, a)
            return z3.SignExt(grow, a) if signed else z3.ZeroExt(grow, a)
        case "add" | "sub" if plain <= {"sat"}:
            return _sum(opcode, bool(plain), a, b, z3)
        case "mul" | "mad" if plain in ({"lo"}, {"wide"}, {"hi"}):
            return _product(plain, signed, terms, z3)
        case "and":
            return a & b
        case "or":
            return a | b
        case "xor":
            return a ^ b
        case "not":
            return ~a
        case "neg":
            return -a
        case "abs" if signed and not plain:
            return z3.If(a < 0, -a, a)
        case "min" | "max" if not plain:
            less = a < b if signed else z3.ULT(a, b)
            return z3.If(less, a, b) if opcode == "min" else z3.If(less, b, a)
        case "div" | "rem":
            if signed:
                return a / b if opcode == "div" else z3.SRem(a, b)
            return z3.UDiv(a, b) if opcode == "div" else z3.URem(a, b)
        case "shl" | "shr":
            return _shifted(opcode, type_, a, b, z3)
        case "selp":
            return z3.If(terms[2] == 1, a, b)
        case "setp" if len(plain) == 1 and len(terms) == 2:
            return _compared(next(iter(plain)), signed, a, b, z3)
    return None


def _sum(opcode: str, saturated: bool, a: Term, b: Term, z3: Any) -> Term:
    """`.sat` is for s32 alone (PTX ISA 9.7.1.1)."""
    if not saturated:
        return a + b if opcode == "add" else a - b
    wide, other = z3.SignExt(1, a), z3.SignExt(1, b)
    exact = wide + other if opcode == "add" else wide - other
    greatest, least = z3.BitVecVal(2**31 - 1, 33), z3.BitVecVal(-(2**31), 33)
    return z3.Extract(31, 0, z3.If(exact > greatest, greatest, z3.If(exact < least, least, exact)))


def _product(how: set[str], signed: bool, terms: Sequence[Term], z3: Any) -> Term:
    a, b, *rest = terms
    width = a.size()
    extend = z3.SignExt if signed else z3.ZeroExt
    if "lo" in how:
        product = a * b
    else:
        product = extend(width, a) * extend(width, b)
        if "hi" in how:
            product = z3.Extract(2 * width - 1, width, product)
    return product + rest[0] if rest else product


def _shifted(opcode: str, type_: Type, a: Term, count: Term, z3: Any) -> Term:
    """Counts past the width behave as the width, where z3 takes them modulo nothing at all."""
    width = a.size()
    wide = z3.ZeroExt(width - 32, count) if width > 32 else z3.Extract(width - 1, 0, count)
    if width < 32:
        wide = z3.If(z3.ULT(count, width), wide, z3.BitVecVal(width, width))
    if opcode == "shl" and z3.is_bv_value(count) and count.as_long() < width:
        return a * (1 << count.as_long())  # which sums and products can be compared with
    if opcode == "shl":
        return a << wide
    return a >> wide if type_.signed else z3.LShR(a, wide)


def _compared(how: str, signed: bool, a: Term, b: Term, z3: Any) -> Term | None:
    if how in _UNSIGNED_COMPARES:
        how, signed = _UNSIGNED_COMPARES[how], False
    if how not in _COMPARES:
        return None
    if signed:
        truth = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[how]
    else:
        truth = {
            "eq": a == b,
            "ne": a != b,
            "lt": z3.ULT(a, b),
            "le": z3.ULE(a, b),
            "gt": z3.UGT(a, b),
            "ge": z3.UGE(a, b),
        }[how]
    return z3.If(truth, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1))


def _floating(instruction: Instruction, types: Sequence[Type], terms: Sequence[Term], z3: Any) -> Term | None:
    opcode, type_ = instruction.opcode, types[-1]
    plain = set(instruction.modifiers) - {str(t) for t in types}
    exact = type_.kind == "f" and len(types) == 1 and type_.bits in _FRACTION
    flushed = ("setp", "min", "max", "abs", "neg")
    if exact and "ftz" in plain and opcode in flushed:
        plain -= {"ftz"}
        terms = [_flushed(term, type_.bits, z3) for term in terms]
    if exact and "ftz" not in plain:
        a: Term = terms[0]
        sign = z3.BitVecVal(1 << (type_.bits - 1), type_.bits)
        match opcode:
            case "mov" if not plain:
                return a
            case "neg" if not plain:
                return a ^ sign
            case "abs" if not plain:
                return a & ~sign
            case "copysign" if not plain:
                return (terms[0] & sign) | (terms[1] & ~sign)
            case "selp":
                return z3.If(terms[2] == 1, a, terms[1])
            case "setp" if len(plain) == 1 and len(terms) == 2:
                return _float_compared(next(iter(plain)), type_, a, terms[1], z3)
            case "min" | "max" if plain <= {"NaN"} and len(terms) == 2:
                return _extremum(opcode, "NaN" in plain, type_, a, terms[1], z3)
    if opcode in ("setp", "set", "selp", "mov"):
        return None
    result = named(instruction, types[0].width, terms)
    digits = {32: 24, 64: 53}.get(types[0].bits)
    if opcode == "cvt" and len(types) == 2 and types[0].kind == "f" and not type_.is_float and digits:
        # A whole number of so few digits is a float: there is nothing to round, whatever the mode.
        plainly = replace(instruction, modifiers=(str(types[0]), str(type_)))
        few = z3.ULE(z3.If(terms[0] < 0, -terms[0], terms[0]) if type_.signed else terms[0], 1 << digits)
        if type_.width <= digits:
            return named(plainly, types[0].width, terms)
        return z3.If(few, named(plainly, types[0].width, terms), result)
    same = exact or (
        type_.kind == "f" and {str(t) for t in types} == {str(type_)} and type_.bits in _FRACTION
    )
    if same and opcode in _SPREADING:
        nan = z3.BitVecVal((1 << (type_.bits - 1)) - 1, type_.bits)
        return z3.If(z3.Or([is_nan(term, type_.bits) for term in terms]), nan, result)
    return result


def named(instruction: Instruction, width: int, terms: Sequence[Term]) -> Term:
    """A result of which only that is known, that it is the operands'."""
    import z3

    sorts = [z3.BitVecSort(term.size()) for term in terms]
    name = ".".join((instruction.opcode, *instruction.modifiers))
    return z3.Function(f"{name}/{len(terms)}", *sorts, z3.BitVecSort(width))(*terms)


def _flushed(bits: Term, width: int, z3: Any) -> Term:
    """A subnormal becomes the zero of its sign."""
    sign = z3.BitVecVal(1 << (width - 1), width)
    return z3.If(z3.ULT(bits & ~sign, 1 << _FRACTION[width]), bits & sign, bits)


def is_nan(bits: Term, width: int) -> Term:
    """Whether the bits are a NaN's."""
    import z3

    infinity = ((1 << (width - 1 - _FRACTION[width])) - 1) << _FRACTION[width]
    return z3.UGT(bits & ((1 << (width - 1)) - 1), infinity)


def ordered(bits: Term, width: int) -> Term:
    """A number that orders as the float does, both zeros one; NaN anywhere."""
    import z3

    magnitude = bits & ((1 << (width - 1)) - 1)
    return z3.If(bits < 0, -magnitude, magnitude)


def _float_compared(how: str, type_: Type, a: Term, b: Term, z3: Any) -> Term | None:
    unordered = z3.Or(is_nan(a, type_.bits), is_nan(b, type_.bits))
    one, nought = z3.BitVecVal(1, 1), z3.BitVecVal(0, 1)
    if how in ("num", "nan"):
        return z3.If(unordered == (how == "nan"), one, nought)
    loose = how.endswith("u")
    plain = how.removesuffix("u")
    x, y = ordered(a, type_.bits), ordered(b, type_.bits)
    truths = {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}
    if plain not in truths:
        return None
    truth = truths[plain]
    return z3.If(z3.Or(unordered, truth) if loose else z3.And(z3.Not(unordered), truth), one, nought)


def _extremum(opcode: str, keeps_nan: bool, type_: Type, a: Term, b: Term, z3: Any) -> Term:
    """-0 is below +0. The NaN that comes of NaNs is one of no particular bits."""
    width = type_.bits
    nan = z3.BitVecVal((1 << (width - 1)) - 1, width)
    x, y = ordered(a, width), ordered(b, width)
    less = z3.Or(x < y, z3.And(x == y, a < 0))
    chosen = z3.If(less, a, b) if opcode == "min" else z3.If(less, b, a)
    a_nan, b_nan = is_nan(a, width), is_nan(b, width)
    if keeps_nan:
        return z3.If(z3.Or(a_nan, b_nan), nan, chosen)
    return z3.If(z3.And(a_nan, b_nan), nan, z3.If(a_nan, b, z3.If(b_nan, a, chosen)))
