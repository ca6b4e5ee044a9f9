"""Proof that a change of one integer instruction changes nothing, by z3, for every launch a plan allows.

The instruction and its replacement read the same registers; if they give the same value for every state they
can be reached in, the two kernels are the same. What is known of that state: how registers were made in
straight line before, what branches before were not taken, what the plan says of threads and blocks, that
extents and addresses have fewer than 47 bits. All else may hold anything. So a proof holds whatever the
kernel does elsewhere; no proof says nothing.

z3 (the `z3-solver` package) is asked for only here. Knows no routine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmptx.ptx.ast import (
    Addr,
    Function,
    Instruction,
    Int,
    Label,
    Not,
    Operand,
    Reg,
    Scope,
    Statement,
    Sym,
    Variable,
)
from llmptx.ptx.parser import parse
from llmptx.ptx.plan import Plan, parse_plan
from llmptx.ptx.types import Type
from llmptx.verify import walk

TIMEOUT_MS = 3000
ADDRESS_BITS = 47
SHARED_BITS = 18

# z3 terms have no types that mypy could check.
Term = Any

_COMPARES = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
_UNSIGNED_COMPARES = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


def proved(original: str, mutant: str) -> bool:
    """Whether the two texts are proved to do the same; False where they differ in more than an instruction.

    Raises ImportError without z3, PtxError for a text that is wrong.
    """
    import z3

    plan = parse_plan(original)
    if parse_plan(mutant) != plan:
        return False
    changed = _difference(original, mutant)
    if changed is None:
        return False
    function, at, before, after = changed
    if before.guard != after.guard or _results(before) != _results(after):
        return False
    if any(isinstance(s, Scope) for s in function.body or ()):
        return False  # a name may mean several registers there
    known = _Known(function, plan)
    one, other = known.value(before, at), known.value(after, at)
    if one is None or other is None:
        return False
    solver = z3.Solver()
    solver.set("timeout", TIMEOUT_MS)
    solver.add(*known.path(at), *known.facts, one != other)
    return bool(solver.check() == z3.unsat)


def _difference(a: str, b: str) -> tuple[Function, int, Instruction, Instruction] | None:
    """The function and place where two texts differ by one instruction; None where they differ otherwise."""
    one, other = parse(a), parse(b)
    differing = [(x, y) for x, y in zip(one.items, other.items, strict=False) if x != y]
    if len(one.items) != len(other.items) or len(differing) != 1:
        return None
    f, g = differing[0]
    if (
        not isinstance(f, Function)
        or not isinstance(g, Function)
        or replace(f, body=()) != replace(g, body=())
    ):
        return None
    left, right = list(walk.statements(f.body or ())), list(walk.statements(g.body or ()))
    places = [i for i, (x, y) in enumerate(zip(left, right, strict=False)) if x != y]
    if len(left) != len(right) or len(places) != 1:
        return None
    x, y = left[places[0]], right[places[0]]
    return (f, places[0], x, y) if isinstance(x, Instruction) and isinstance(y, Instruction) else None


def _results(instruction: Instruction) -> tuple[str, ...]:
    """Registers an instruction writes: its first operand's, but for stores and branches."""
    if instruction.opcode in ("st", "bra", "bar", "red", "ret", "call") or not instruction.operands:
        return ()
    return tuple(leaf.name for leaf in walk.leaves(instruction.operands[0]) if isinstance(leaf, Reg))


class _Known:
    """What is known of registers at a place of a function; `facts` gathers what is assumed of variables."""

    def __init__(self, function: Function, plan: Plan) -> None:
        self.body: Sequence[Statement] = list(walk.statements(function.body or ()))
        self.facts: list[Term] = []
        self._variables: dict[object, Term] = {}
        self._values: dict[int, Term | None] = {}
        self._labels = {s.name: i for i, s in enumerate(self.body) if isinstance(s, Label)}
        self._writes: dict[str, list[int]] = {}
        self._branches: list[tuple[int, int]] = []
        for i, statement in enumerate(self.body):
            if isinstance(statement, Instruction):
                for name in _results(statement):
                    self._writes.setdefault(name, []).append(i)
                if statement.opcode in ("bra", "brx"):
                    for operand in statement.operands:
                        target = self._labels.get(operand.name, -1) if isinstance(operand, Sym) else -1
                        self._branches.append((i, target))
        self._types = dict(walk.register_types(self.body))
        self._shared = {s.name for s in self.body if isinstance(s, Variable) and s.space == "shared"}
        launches = [launch for launch in plan.launches if launch.entry == function.name]
        self._block = launches[0].block if len({launch.block for launch in launches}) == 1 else None

    # -- what is reached

    def path(self, at: int) -> list[Term]:
        """Conditions of the branches in straight line before a place, none of which was taken."""
        conditions = []
        for i in range(at - 1, -1, -1):
            statement = self.body[i]
            if isinstance(statement, Label):
                break
            if isinstance(statement, Instruction) and statement.opcode in ("bra", "ret", "exit"):
                if statement.guard is None:
                    break
                taken = self.register(statement.guard.reg.name, i)
                if taken is not None:
                    conditions.append(taken == (1 if statement.guard.negated else 0))
        return conditions

    def register(self, name: str, at: int) -> Term | None:
        """A register's value just before the instruction at a place; None for one that is not declared."""
        import z3

        width = self._width(name)
        if width is None:
            return self._special(name)
        start = self._region(at)
        near = [i for i in self._writes.get(name, ()) if start <= i < at]
        if near:
            return self._written(near[-1], name, width)
        writes = self._writes.get(name, [])
        if len(writes) == 1 and self._once(writes[0]) and self._before(writes[0], at):
            return self._written(writes[0], name, width)
        return self._variable(("entering", start, name), width, z3)

    def _written(self, at: int, name: str, width: int) -> Term:
        import z3

        statement = self.body[at]
        assert isinstance(statement, Instruction)
        if at not in self._values:
            self._values[at] = None if statement.guard else self.value(statement, at)
        value = self._values[at]
        return self._variable(("written", at, name), width, z3) if value is None else value

    def _region(self, at: int) -> int:
        """The first place of the straight line that a place is in."""
        for i in range(at - 1, -1, -1):
            if isinstance(self.body[i], Label):
                return i
        return 0

    def _once(self, at: int) -> bool:
        """No loop holds the place."""
        return not any(0 <= target <= at <= source or target < 0 for source, target in self._branches)

    def _before(self, made: int, used: int) -> bool:
        """No way to `used` goes around `made`."""
        if made >= used:
            return False
        around = [target for source, target in self._branches if source < made < target]
        back = [source for source, target in self._branches if target <= used]
        return all(target > used and not any(source >= target for source in back) for target in around)

    # -- values

    def _variable(self, key: object, width: int, z3: Any, below: int | None = None) -> Term:
        if key not in self._variables:
            self._variables[key] = z3.BitVec(f"v{len(self._variables)}", width)
            if below is not None and below < 1 << width:
                self.facts.append(z3.ULT(self._variables[key], below))
        return self._variables[key]

    def _special(self, name: str) -> Term | None:
        """A special register, within what the plan and the hardware allow (PTX ISA 10)."""
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
            below = (2**31 - 1 if place == 0 else 65535) + (base == "%nctaid")
        if below is None:
            return None
        return self._variable(("special", name), 32, z3, below)

    def _width(self, name: str) -> int | None:
        type_ = self._types.get(name)
        return type_.width if type_ else None

    def operand(self, operand: Operand, width: int, at: int) -> Term | None:
        """An operand's low `width` bits; None for what is no integer."""
        import z3

        if isinstance(operand, Int):
            return z3.BitVecVal(operand.value, width)
        if isinstance(operand, Not):
            value = self.register(operand.reg.name, at)
            return None if value is None else ~value
        if isinstance(operand, Sym) and operand.name in self._shared:
            value = self._variable(("symbol", operand.name), width, z3, 1 << SHARED_BITS)
            return value + operand.offset
        if isinstance(operand, Reg):
            value = self.register(operand.name, at)
            if value is None or value.size() < width:
                return None
            return z3.Extract(width - 1, 0, value) if value.size() > width else value
        return None

    def value(self, instruction: Instruction, at: int) -> Term | None:
        """What an instruction writes, as wide as its register; None where that is not known."""
        import z3

        names = _results(instruction)
        if len(names) != 1 or not isinstance(instruction.operands[0], Reg):
            return None
        width = self._width(names[0])
        types = [t for t in map(_type, instruction.modifiers) if t is not None]
        if width is None or not types or any(t.is_float or t.lanes > 1 for t in types):
            return None
        if instruction.opcode == "ld":
            return self._parameter(instruction, width)
        type_ = types[-1]
        sources = instruction.operands[1:]
        widths = [type_.width] * len(sources)
        if instruction.opcode in ("mad",) and "wide" in instruction.modifiers:
            widths[-1] *= 2
        elif instruction.opcode in ("shl", "shr"):
            widths[-1] = 32
        elif instruction.opcode == "selp":
            widths[-1] = 1
        listed = [self.operand(o, w, at) for o, w in zip(sources, widths, strict=True)]
        if any(term is None for term in listed):
            return None
        result = _computed(instruction, type_, types, listed, z3)
        if result is None or result.size() > width:
            return None
        extend = z3.SignExt if types[0].signed else z3.ZeroExt
        return extend(width - result.size(), result)

    def _parameter(self, instruction: Instruction, width: int) -> Term | None:
        """A parameter: an extent or an address."""
        import z3

        address = instruction.operands[1]
        if "param" not in instruction.modifiers or not isinstance(address, Addr) or width != 64:
            return None
        if (
            not isinstance(address.base, Sym)
            or address.offset
            or instruction.modifiers[-1] not in ("u64", "b64")
        ):
            return None
        return self._variable(("parameter", address.base.name), 64, z3, 1 << ADDRESS_BITS)


def _type(modifier: str) -> Type | None:
    try:
        return Type.parse(modifier)
    except ValueError:
        return None


def _computed(
    instruction: Instruction, type_: Type, types: Sequence[Type], terms: Sequence[Term], z3: Any
) -> Term | None:
    """The arithmetic of PTX ISA 9.7.1 to 9.7.9 on whole numbers, as bit vectors."""
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
        case "min" | "max" if not plain:
            less = a < b if signed else z3.ULT(a, b)
            return z3.If(less, a, b) if opcode == "min" else z3.If(less, b, a)
        case "div" | "rem" if not signed:
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
