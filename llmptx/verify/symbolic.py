"""A kernel without loops as formulas: what it loads and stores, under which conditions, for every thread.

Two kernels that make the same accesses in the same order, at the same addresses, and store the same values do
the same, whatever is in memory. Loads are unknown functions of their address, changed by every store.
Knows no routine; gives up on loops, barriers, shared memory and calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmptx.ptx.ast import (
    Addr,
    Float,
    Function,
    Instruction,
    Int,
    Label,
    Not,
    Operand,
    Reg,
    Registers,
    Scope,
    Statement,
    Sym,
    Vec,
)
from llmptx.ptx.plan import Plan
from llmptx.ptx.printer import print_statement
from llmptx.verify import walk
from llmptx.verify.cut import reads, results
from llmptx.verify.terms import Term, Variables, computed, extended, is_nan, named, type_of, types_of, widths

TIMEOUT_MS = 5000
_BEYOND = ("bar", "barrier", "atom", "red", "shfl", "vote", "call", "cp", "match", "activemask")
_CARRYING = ("addc", "subc", "madc")
_FLOATS = {"f32": 32, "f64": 64}


class _Beyond(Exception):  # noqa: N818 (no error: a kernel this module does not know how to follow)
    """The kernel has something that is not followed here."""


@dataclass(frozen=True, slots=True)
class Access:
    """One load or store, or a trap: `kind` tells accesses of different make apart; `value` is a store's."""

    kind: str
    when: Term
    address: Term
    value: Term | None

    @property
    def bytes(self) -> int:
        type_ = type_of(self.kind.rpartition(".")[2])
        assert type_ is not None
        return type_.bytes


def same(one: Function, other: Function, plan: Plan) -> bool:
    """Whether two versions of an entry are proved to do the same; False where that is not known."""
    import z3

    unknown = Variables(plan, one.name)
    try:
        left, right = _Run(one, unknown).accesses, _Run(other, unknown).accesses
    except _Beyond:
        return False
    if [a.kind for a in left] != [b.kind for b in right]:
        return False
    solver = z3.Solver()
    solver.set("timeout", TIMEOUT_MS)
    solver.add(*unknown.facts, z3.Or([_differ(a, b) for a, b in zip(left, right, strict=True)]))
    return bool(solver.check() == z3.unsat)


def untouched(address: Term, size: int) -> Term:
    """What so many bytes at an address hold before anything is stored; each size is a matter of its own."""
    import z3

    return z3.Function(f"untouched{size}", z3.BitVecSort(64), z3.BitVecSort(8 * size))(address)


def followed(function: Function, unknown: Variables) -> list[Access] | None:
    """What an entry loads and stores, its loads taken to find what was there before it stored anything; None
    for one that is not followed. What certainly does not happen is left out.
    """
    import z3

    try:
        accesses = _Run(function, unknown, apart=True).accesses
    except _Beyond:
        return None
    held = [replace(access, when=z3.simplify(access.when)) for access in accesses]
    return [access for access in held if not z3.is_false(access.when)]


def _differ(a: Access, b: Access) -> Term:
    import z3

    apart = [a.address != b.address]
    if a.value is not None and b.value is not None:
        unequal = a.value != b.value
        width = _FLOATS.get(a.kind.rpartition(".")[2])
        if width:
            unequal = z3.And(unequal, z3.Not(z3.And(is_nan(a.value, width), is_nan(b.value, width))))
        apart.append(unequal)
    return z3.Or(a.when != b.when, z3.And(a.when, z3.Or(apart)))


class _Run:
    """An entry followed from top to bottom, all its paths at once."""

    def __init__(self, function: Function, unknown: Variables, apart: bool = False) -> None:
        """apart: what is stored is never loaded again."""
        import z3

        body = function.body or ()
        if any(isinstance(statement, Scope) for statement in body):
            raise _Beyond
        self.accesses: list[Access] = []
        self._unknown = unknown
        self._types = dict(walk.register_types(body))
        self._registers: dict[str, Term] = {}
        self._when: Term = z3.BoolVal(True)
        self._stores = 0
        self._apart = apart
        # What arrives at a label from branches before it: conditions, and the registers then.
        self._arriving: dict[str, list[tuple[Term, dict[str, Term]]]] = {}
        self._passed: set[str] = set()
        loops = _loops(body)
        at = 0
        while at < len(body):
            if at in loops:
                self._loop(body[at : loops[at]])
                at = loops[at]
                continue
            self._statement(body[at])
            at += 1
        if self._arriving:
            raise _Beyond  # branches to nowhere

    def _loop(self, part: Sequence[Statement]) -> None:
        """A loop of arithmetic alone: registers before its last round are some function of what it found."""
        import z3

        label, *inside = part
        self._statement(label)
        rounds = [s for s in inside if isinstance(s, Instruction)]
        written = sorted({name for i in rounds for name in results(i)})
        names = {name for i in rounds for name in reads(i)} | set(written)
        found = [self._register(name) for name in sorted(names)]
        code = "\n".join(print_statement(s) for s in part)
        sorts = [z3.BitVecSort(term.size()) for term in found]
        left = {}
        for name in written:
            function = z3.Function(f"{code} leaves {name}", *sorts, z3.BitVecSort(self._width(name)))
            left[name] = function(*found)
        self._registers |= left
        for each in rounds[:-1]:
            self._compute(each)

    def _statement(self, statement: Statement) -> None:
        if isinstance(statement, Label):
            self._passed.add(statement.name)
            for when, registers in self._arriving.pop(statement.name, []):
                self._merge(when, registers)
        elif isinstance(statement, Instruction):
            self._instruction(statement)
        elif not isinstance(statement, Registers):
            raise _Beyond

    def _merge(self, when: Term, registers: dict[str, Term]) -> None:
        import z3

        merged = dict(self._registers)
        for name, value in registers.items():
            here = self._register(name)
            merged[name] = value if value is here else z3.If(when, value, here)
        for name in self._registers.keys() - registers.keys():
            merged[name] = z3.If(when, self._initial(name), self._registers[name])
        self._registers = merged
        self._when = z3.simplify(z3.Or(self._when, when))

    def _instruction(self, instruction: Instruction) -> None:
        import z3

        guard: Term = z3.BoolVal(True)
        if instruction.guard:
            taken = 0 if instruction.guard.negated else 1
            guard = self._register(instruction.guard.reg.name) == taken
        when = z3.And(self._when, guard)
        match instruction.opcode:
            case "ret" | "exit":
                self._when = z3.simplify(z3.And(self._when, z3.Not(guard)))
            case "bra":
                target = instruction.operands[0]
                if not isinstance(target, Sym) or target.name in self._passed:
                    raise _Beyond
                self._arriving.setdefault(target.name, []).append((when, dict(self._registers)))
                self._when = z3.simplify(z3.And(self._when, z3.Not(guard)))
            case "trap":
                self.accesses.append(Access("trap", when, z3.BitVecVal(0, 64), None))
                self._when = z3.simplify(z3.And(self._when, z3.Not(guard)))
            case "st":
                self._store(instruction, when)
            case "ld":
                self._load(instruction, when)
            case opcode if opcode in _BEYOND:
                raise _Beyond
            case _:
                self._compute(instruction)

    # -- registers

    def _width(self, name: str) -> int:
        type_ = self._types.get(name)
        if type_ is None:
            raise _Beyond
        return type_.width

    def _initial(self, name: str) -> Term:
        return self._unknown.variable(("initial", name), self._width(name))

    def _register(self, name: str) -> Term:
        if name in self._registers:
            return self._registers[name]
        if name in self._types:
            return self._initial(name)
        special = self._unknown.special(name)
        if special is None:
            raise _Beyond
        return special

    def _write(self, name: str, value: Term, instruction: Instruction) -> None:
        import z3

        if instruction.guard:
            guard = self._register(instruction.guard.reg.name) == (0 if instruction.guard.negated else 1)
            value = z3.If(guard, value, self._register(name))
        self._registers[name] = value

    def _operand(self, operand: Operand, width: int) -> Term:
        import z3

        match operand:
            case Int(value):
                return z3.BitVecVal(value, width)
            case Float(bits, own) if own == width:
                return z3.BitVecVal(bits, width)
            case Not(reg):
                return ~self._register(reg.name)
            case Reg(name):
                value = self._register(name)
                if value.size() >= width:
                    return z3.Extract(width - 1, 0, value) if value.size() > width else value
            case Vec(elements) if width % len(elements) == 0:
                each = width // len(elements)
                return z3.Concat(*(self._operand(e, each) for e in reversed(elements)))
        raise _Beyond

    def _compute(self, instruction: Instruction) -> None:
        import z3

        types = types_of(instruction)
        if not types or len(instruction.operands) < 2:
            raise _Beyond
        target, *sources = instruction.operands
        sizes = widths(instruction, types[-1], len(sources))
        terms = [self._operand(o, w) for o, w in zip(sources, sizes, strict=True)]
        value = computed(instruction, types, terms)
        if isinstance(target, Reg):
            width = self._width(target.name)
            carries = instruction.opcode in _CARRYING or "cc" in instruction.modifiers
            if value is None and not carries and instruction.opcode not in ("setp", "set", "mov"):
                value = named(instruction, width, terms)
            fitted = extended(value, types[0], width)
            if fitted is None:
                raise _Beyond
            self._write(target.name, fitted, instruction)
        elif isinstance(target, Vec) and value is not None:
            each = value.size() // len(target.elements)
            for place, element in enumerate(target.elements):
                if not isinstance(element, Reg) or self._width(element.name) != each:
                    raise _Beyond
                part = z3.Extract((place + 1) * each - 1, place * each, value)
                self._write(element.name, part, instruction)
        else:
            raise _Beyond

    # -- memory

    def _address(self, operand: Operand) -> Term:
        if not isinstance(operand, Addr) or not isinstance(operand.base, Reg):
            raise _Beyond
        address = self._register(operand.base.name)
        if address.size() != 64:
            raise _Beyond
        return address + operand.offset

    def _elements(self, operand: Operand) -> Sequence[Operand]:
        return operand.elements if isinstance(operand, Vec) else (operand,)

    def _store(self, instruction: Instruction, when: Term) -> None:
        address_of, data = instruction.operands
        type_ = type_of(instruction.modifiers[-1])
        if type_ is None or "global" not in instruction.modifiers:
            raise _Beyond
        address = self._address(address_of)
        kind = ".".join((instruction.opcode, *instruction.modifiers))
        for place, element in enumerate(self._elements(data)):
            value = self._operand(element, type_.width)
            self.accesses.append(Access(kind, when, address + place * type_.bytes, value))
        self._stores += not self._apart

    def _load(self, instruction: Instruction, when: Term) -> None:
        import z3

        target, source = instruction.operands
        type_ = type_of(instruction.modifiers[-1])
        if type_ is None:
            raise _Beyond
        if "param" in instruction.modifiers:
            if not isinstance(source, Addr) or not isinstance(source.base, Sym) or source.offset:
                raise _Beyond
            if not isinstance(target, Reg) or type_.width != 64 or self._width(target.name) != 64:
                raise _Beyond
            self._write(target.name, self._unknown.parameter(source.base.name), instruction)
            return
        if "global" not in instruction.modifiers:
            raise _Beyond
        address = self._address(source)
        memory = z3.Function(f"memory{self._stores}", z3.BitVecSort(64), z3.BitVecSort(8))
        kind = ".".join((instruction.opcode, *instruction.modifiers))
        for place, element in enumerate(self._elements(target)):
            at = address + place * type_.bytes
            self.accesses.append(Access(kind, when, at, None))
            read = [memory(at + byte) for byte in reversed(range(type_.bytes))]
            bits = z3.Concat(*read) if len(read) > 1 else read[0]
            if self._apart:
                bits = untouched(at, type_.bytes)
            value = extended(bits, type_, self._width(_name(element)))
            if value is None:
                raise _Beyond
            self._write(_name(element), value, instruction)


def _loops(body: Sequence[Statement]) -> dict[int, int]:
    """Stretches from a label to the one branch back to it, that nothing else enters or leaves: first place,
    and the one past the last."""
    found = {}
    branches = [
        (at, s.operands[0].name)
        for at, s in enumerate(body)
        if isinstance(s, Instruction) and s.opcode == "bra" and isinstance(s.operands[0], Sym)
    ]
    for start, label in enumerate(body):
        ways = [at for at, name in branches if isinstance(label, Label) and name == label.name]
        if not ways or max(ways) <= start:
            continue
        end = max(ways)
        inner = body[start + 1 : end]
        closed = all(
            isinstance(s, Instruction) and s.opcode not in (*_BEYOND, "bra", "ld", "st") for s in inner
        )
        if closed and not any(isinstance(s, Instruction) and s.opcode in ("ret", "exit") for s in inner):
            found[start] = end + 1
    return found


def _name(operand: Operand) -> str:
    if not isinstance(operand, Reg):
        raise _Beyond
    return operand.name
