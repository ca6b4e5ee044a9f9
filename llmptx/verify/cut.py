"""The function of one value that an elementwise kernel computes, cut out of the kernel.

It is what stands between the kernel's one load and its one store, less what makes the store's address, where
nothing of it can see anything but the value loaded. Two kernels that agree in all else do the same, for every
extent and every thread, if their functions agree on every value. Knows no routine; runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llmptx.ptx.ast import (
    Addr,
    Float,
    Guard,
    Instruction,
    Int,
    Label,
    Module,
    Operand,
    Pair,
    Reg,
    Registers,
    Statement,
    Sym,
    Variable,
    Vec,
)
from llmptx.ptx.ast import Not as Negated
from llmptx.ptx.printer import print_statement
from llmptx.ptx.types import Type
from llmptx.verify import walk

_JUMPS = ("bra", "brx")
# What sees or changes more than registers, or what other threads do.
_BEYOND = (
    *("ld", "st", "atom", "red", "bar", "barrier", "shfl", "vote", "match", "activemask", "call", "cp"),
    *("ret", "exit", "trap", "fence", "membar", "prefetch", "brx", "redux", "elect", "nanosleep"),
)


@dataclass(frozen=True, slots=True)
class Cut:
    """A kernel in two: `frame`, which two kernels must share, and the function of the value loaded.

    takes    the register loaded, and its type; gives: what is stored, and the type it is stored as
    before   constants that the function finds in registers
    body     the function's statements, in order
    types    of every register the kernel declares
    tables   `.const` variables the function reads, and `lookups`, what decides which element, and when
    """

    frame: tuple[object, ...]
    takes: str
    takes_type: Type
    gives: Operand
    gives_type: Type
    before: tuple[Statement, ...]
    body: tuple[Statement, ...]
    types: Mapping[str, Type]
    tables: tuple[Variable, ...]
    lookups: tuple[Statement, ...]


def cut(module: Module) -> Cut | None:
    """None for a kernel that cannot be cut: more than one load or store, a function that sees its index."""
    tables = module.variables
    if len(module.functions) != 1 or len(module.items) != 1 + len(tables):
        return None
    (function,) = module.functions
    body = function.body or ()
    if any(table.space != "const" for table in tables):
        return None
    if not all(isinstance(s, Instruction | Label | Registers) for s in body):
        return None
    loads, stores = _accesses(body, "ld"), _accesses(body, "st")
    if len(loads) != 1 or len(stores) != 1 or loads[0] >= stores[0]:
        return None
    load, store = body[loads[0]], body[stores[0]]
    assert isinstance(load, Instruction)
    assert isinstance(store, Instruction)
    front, middle, rear = body[: loads[0]], body[loads[0] + 1 : stores[0]], body[stores[0] + 1 :]
    address, rest = _divided(middle, store)
    takes, gives = load.operands[0], store.operands[1]
    if address is None or load.guard or store.guard or not isinstance(takes, Reg) or isinstance(gives, Vec):
        return None
    constants = tuple(s for s in front if _constant(s, front))
    if not (_stays(front, rear, middle) and _blind(rest, address, store, takes.name, constants)):
        return None
    types = dict(walk.register_types(body))
    frame = (
        *(replace(function, body=()), _code(front), load, tuple(address), _code(rear)),
        *(store.opcode, store.modifiers, store.operands[0]),
    )
    try:
        takes_type, gives_type = Type.parse(load.modifiers[-1]), Type.parse(store.modifiers[-1])
    except ValueError:
        return None
    lookups = _lookups(rest) if tables else ()
    return Cut(
        frame, takes.name, takes_type, gives, gives_type, constants, tuple(rest), types, tables, lookups
    )


def renamed(part: Cut, suffix: str) -> tuple[list[str], list[str], str]:
    """The function as text with a suffix on every name: its registers, its statements, and the register it
    takes. What it gives is in `%given` and the suffix."""

    def name(reg: str) -> str:
        return f"{reg}{suffix}" if reg in part.types else reg

    registers = [f".reg .{type_} {name(reg)};" for reg, type_ in part.types.items()]
    result = Reg(f"%given{suffix}")
    registers.append(f".reg .b32 {result.name};")
    lines = [print_statement(_renamed(s, name, suffix)) for s in (*part.before, *part.body)]
    gives = part.gives
    narrow = isinstance(gives, Reg) and part.types[gives.name].width < 32
    operands = (result, _operand(gives, name))
    copied = (
        Instruction("cvt", ("u32", "u16"), operands) if narrow else Instruction("mov", ("b32",), operands)
    )
    lines.append(print_statement(copied))
    return registers, lines, name(part.takes)


# -- cutting


def _accesses(body: Sequence[Statement], opcode: str) -> list[int]:
    """Places of loads (but of parameters) or stores, and of all else that touches memory."""
    return [
        at
        for at, s in enumerate(body)
        if isinstance(s, Instruction)
        and (s.opcode == opcode or s.opcode in ("atom", "red"))
        and not {"param", "const"} & set(s.modifiers)
    ]


def results(instruction: Instruction) -> frozenset[str]:
    """Registers an instruction writes: its first operand's, but for stores and branches."""
    if instruction.opcode in ("st", "bra", "bar", "red", "ret", "exit", "call") or not instruction.operands:
        return frozenset()
    return frozenset(leaf.name for leaf in walk.leaves(instruction.operands[0]) if isinstance(leaf, Reg))


def reads(instruction: Instruction) -> frozenset[str]:
    """Registers an instruction reads, its guard's too."""
    first = 1 if results(instruction) else 0
    found = {
        leaf.name
        for operand in instruction.operands[first:]
        for leaf in walk.leaves(operand)
        if isinstance(leaf, Reg)
    }
    return frozenset(found | ({instruction.guard.reg.name} if instruction.guard else set()))


def _code(part: Sequence[Statement]) -> tuple[Statement, ...]:
    return tuple(s for s in part if not isinstance(s, Registers))


def _instructions(part: Sequence[Statement]) -> Iterator[Instruction]:
    return (s for s in part if isinstance(s, Instruction))


def _divided(
    middle: Sequence[Statement], store: Instruction
) -> tuple[list[Instruction] | None, list[Statement]]:
    """What makes the store's address, and the rest; None where a branch may go around the former."""
    base = store.operands[0]
    if not isinstance(base, Addr) or not isinstance(base.base, Reg):
        return None, []
    wanted = _behind(middle, {base.base.name})
    address: list[Instruction] = []
    rest: list[Statement] = []
    skips = _skipped(middle)
    for at, statement in enumerate(middle):
        if isinstance(statement, Instruction) and results(statement) & wanted:
            if statement.guard or at in skips:
                return None, []
            address.append(statement)
        elif not isinstance(statement, Registers):
            rest.append(statement)
    return address, rest


def _behind(part: Sequence[Statement], names: set[str]) -> set[str]:
    """The registers, and all that may have a part in their values."""
    wanted = set(names)
    while True:
        more = {name for i in _instructions(part) if results(i) & wanted for name in reads(i)} - wanted
        if not more:
            return wanted
        wanted |= more


def _lookups(part: Sequence[Statement]) -> tuple[Statement, ...]:
    """Loads from tables, branches before the last of them, and all that has a part in what they read."""
    labels = {s.name: at for at, s in enumerate(part) if isinstance(s, Label)}
    places = [at for at, s in enumerate(part) if isinstance(s, Instruction) and s.opcode == "ld"]
    back = any(
        isinstance(s, Instruction) and s.opcode == "bra" and labels.get(_target(s), 0) <= at
        for at, s in enumerate(part)
    )
    part = part if back else part[: max(places, default=-1) + 1]
    ends = [s for s in _instructions(part) if s.opcode in ("ld", "bra")]
    wanted = _behind(part, {name for i in ends for name in reads(i)})
    return tuple(s for s in _instructions(part) if s in ends or results(s) & wanted)


def _target(branch: Instruction) -> str:
    to = branch.operands[0]
    return to.name if isinstance(to, Sym) else ""


def _skipped(part: Sequence[Statement]) -> set[int]:
    """Places that a branch goes around, or back over."""
    labels = {s.name: at for at, s in enumerate(part) if isinstance(s, Label)}
    found: set[int] = set()
    for at, statement in enumerate(part):
        if isinstance(statement, Instruction) and statement.opcode in _JUMPS:
            (operand,) = statement.operands[:1]
            to = labels.get(operand.name, len(part)) if isinstance(operand, Sym) else len(part)
            found.update(range(min(at, to), max(at, to) + 1))
    return found


def _constant(statement: Statement, front: Sequence[Statement]) -> bool:
    """`mov` of a number to a register that nothing else in front writes."""
    if not isinstance(statement, Instruction) or statement.opcode != "mov" or statement.guard:
        return False
    target, source = statement.operands
    if not isinstance(target, Reg) or not isinstance(source, Int | Float):
        return False
    return sum(target.name in results(i) for i in _instructions(front)) == 1


def _stays(front: Sequence[Statement], rear: Sequence[Statement], middle: Sequence[Statement]) -> bool:
    """No way leads into the middle but from the top, nor out of it but at the end."""
    inside = {s.name for s in middle if isinstance(s, Label)}
    for part, allowed in ((front, False), (middle, True), (rear, False)):
        for i in _instructions(part):
            if i.opcode == "bra":
                to = i.operands[0]
                if not isinstance(to, Sym) or (to.name in inside) != allowed:
                    return False
            elif part is middle and i.opcode in _BEYOND and not {"param", "const"} & set(i.modifiers):
                return False
    return not any(isinstance(s, Label) for s in front)


def _blind(
    body: Sequence[Statement],
    address: Sequence[Instruction],
    store: Instruction,
    takes: str,
    constants: Sequence[Statement],
) -> bool:
    """The function sees the value loaded, constants and what it made, on every way there is; and it leaves
    alone what makes the address."""
    if any("param" in i.modifiers for i in _instructions(body)):
        return False
    made = {name for i in _instructions(body) for name in results(i)}
    seen = {name for i in address for name in reads(i)} | reads(replace(store, operands=store.operands[:1]))
    if made & seen:
        return False
    given = {takes, *(name for s in _instructions(constants) for name in results(s))}
    return _assigned((*body, store), given, {name for i in address for name in results(i)} | seen)


def _assigned(body: Sequence[Statement], given: set[str], aside: set[str]) -> bool:
    """Whether every register is written before it is read, on every way through the statements."""
    labels = {s.name: at for at, s in enumerate(body) if isinstance(s, Label)}
    states: dict[int, frozenset[str]] = {}
    waiting: list[tuple[int, frozenset[str]]] = [(0, frozenset(given))]
    while waiting:
        at, have = waiting.pop()
        known = states.get(at)
        have = have if known is None else have & known
        if have == known or at >= len(body):
            continue
        states[at] = have
        statement = body[at]
        if isinstance(statement, Instruction):
            wanted = reads(statement) - aside
            if not wanted <= have:
                return False
            if statement.opcode == "bra":
                to = statement.operands[0]
                if not isinstance(to, Sym) or to.name not in labels:
                    return False
                waiting.append((labels[to.name], have))
                if statement.guard is None:
                    continue
            elif statement.guard is None:
                have |= results(statement)
        waiting.append((at + 1, have))
    return True


# -- writing


def _renamed(statement: Statement, name: Callable[[str], str], suffix: str) -> Statement:
    if isinstance(statement, Label):
        return Label(f"{statement.name}{suffix}")
    assert isinstance(statement, Instruction)
    operands = tuple(
        Sym(f"{o.name}{suffix}") if isinstance(o, Sym) and statement.opcode == "bra" else _operand(o, name)
        for o in statement.operands
    )
    guard = statement.guard
    if guard is not None:
        guard = Guard(Reg(name(guard.reg.name)), guard.negated)
    return replace(statement, operands=operands, guard=guard)


def _operand(operand: Operand, name: Callable[[str], str]) -> Operand:
    match operand:
        case Reg():
            return Reg(name(operand.name))
        case Addr(Reg(base), offset):
            return Addr(Reg(name(base)), offset)
        case Negated(reg):
            return Negated(Reg(name(reg.name)))
        case Vec(elements):
            return Vec(tuple(_operand(e, name) for e in elements))
        case Pair(first, second):
            return Pair(
                first if not isinstance(first, Reg) else Reg(name(first.name)),
                second if not isinstance(second, Reg) else Reg(name(second.name)),
            )
    return operand
