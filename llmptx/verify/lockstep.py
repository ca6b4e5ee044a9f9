"""Proofs that two kernels do the same, by running a whole block of threads on unknown data, all in step.

A thread's number is known, and so are lanes, warps, shuffles and shared addresses; all else is a name, the
same name for the same thing. A run goes on until a branch depends on something unknown, and starts again
behind it with every register that lives there unknown, as induction over loops asks. If from each such place
both kernels make the same accesses, take the same ways and leave the same registers, they do the same.

Which threads of a block store counts only together where all are known to be there: behind a barrier, or, of
a warp, behind a shuffle of all its lanes. Knows no routine; says nothing of kernels with atomics or votes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

from llmptx.ptx.ast import (
    Addr,
    Float,
    Function,
    Instruction,
    Int,
    Label,
    Not,
    Operand,
    Pair,
    Reg,
    Registers,
    Sink,
    Statement,
    Sym,
    Variable,
    Vec,
)
from llmptx.ptx.plan import Plan
from llmptx.ptx.types import Type
from llmptx.verify import walk
from llmptx.verify.cut import reads, results
from llmptx.verify.names import Lanes, Name, Names, Value, number, source_lane
from llmptx.verify.terms import type_of, types_of

STEPS = 3000
PLACES = 60
MOST_THREADS = 1024
_FULL = 0xFFFFFFFF
_BEYOND = ("atom", "red", "vote", "match", "activemask", "call", "cp", "brx", "mbarrier", "redux", "trap")
_CARRYING = ("addc", "subc", "madc")
_COMMUTE = ("add", "mul", "min", "max", "and", "or", "xor")
_GATHER = ("min", "max", "and", "or")
_ENDS = ("bra", "ret", "exit")


class _Beyond(Exception):  # noqa: N818 (no error: a kernel this module does not know how to follow)
    """The kernel has something that is not followed here."""


@dataclass(frozen=True, slots=True)
class _End:
    """How a run ended: a branch's condition, thread by thread, or nothing at the kernel's own end."""

    at: int
    condition: tuple[Value, ...] = ()


@dataclass(slots=True)
class _Memory:
    """Shared memory as far as it was written since the run began: by variable and byte, size and value."""

    written: dict[tuple[str, int], tuple[int, Value]] = field(default_factory=dict)
    _owners: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def write(self, where: tuple[str, int], size: int, value: Value) -> None:
        self.written[where] = (size, value)
        variable, at = where
        for byte in range(at, at + size):
            self._owners[variable, byte] = (at, size)

    def near(self, variable: str, at: int, size: int) -> bool:
        """Whether bytes were written that overlap these, but are not just these."""
        mine = (at, size)
        return any(self._owners.get((variable, byte), mine) != mine for byte in range(at, at + size))


def same(one: Function, other: Function, plan: Plan) -> bool:
    """Whether two versions of an entry are proved to do the same; False where that is not known."""
    blocks = {prod(launch.block) for launch in plan.launches if launch.entry == one.name}
    shapes = {launch.block for launch in plan.launches if launch.entry == one.name}
    if len(shapes) != 1 or max(blocks) > MOST_THREADS or max(blocks) % 32:
        return False
    try:
        names = Names()
        (block,) = shapes
        left, right = _Kernel(one, names, block), _Kernel(other, names, block)
        return _alike(left, right)
    except _Beyond:
        return False


def _alike(one: _Kernel, other: _Kernel) -> bool:
    if one.skeleton != other.skeleton or one.shared != other.shared:
        return False
    one.begin()
    other.begin()
    settled = set(one.settled.keys() & other.settled.keys())
    uniform = (one.types.keys() | other.types.keys()) - settled
    while True:
        try:
            return _alike_if(one, other, settled, uniform)
        except _NotUniform as found:
            uniform -= found.names


class _NotUniform(Exception):  # noqa: N818 (no error: what was taken for the same in all threads is not)
    def __init__(self, names: set[str]) -> None:
        super().__init__(names)
        self.names = names


def _alike_if(one: _Kernel, other: _Kernel, settled: set[str], uniform: set[str]) -> bool:
    """Whether the two are alike, if these registers are the same in all threads wherever a run begins.

    Raises _NotUniform for those that are not.
    """
    waiting, seen = [-1], {-1}
    while waiting:
        place = waiting.pop()
        if len(seen) > PLACES:
            return False
        a, b = _Run(one, place, settled, uniform), _Run(other, place, settled, uniform)
        if a.end.condition != b.end.condition or a.events != b.events:
            return False
        if a.memory.written != b.memory.written:
            return False
        at, there = one.ordinal(a.end.at), other.ordinal(b.end.at)
        if at != there:
            return False
        varying = len(set(a.end.condition)) > 1
        for kernel, run in ((one, a), (other, b)):
            apart = kernel.divided(run.end.at) & uniform if varying else set()
            if apart:
                raise _NotUniform(apart)
        for following in one.successors(a.end):
            live = (one.live_at(following) | other.live_at(following)) - settled
            if any(a.register(name) != b.register(name) for name in live):
                return False
            apart = {n for n in live & uniform if len(set(a.register(n))) > 1}
            if apart:
                raise _NotUniform(apart)
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return True


class _Kernel:
    """An entry's statements, and what is known of them before any run."""

    def __init__(self, function: Function, names: Names, block: tuple[int, int, int]) -> None:
        body = list(function.body or ())
        if not all(isinstance(s, Instruction | Label | Registers | Variable) for s in body):
            raise _Beyond
        self.body = [s for s in body if isinstance(s, Instruction | Label)]
        self.names = names
        self.block = block
        self.threads = prod(block)
        self.types = dict(walk.register_types(body))
        self.shared = tuple(s for s in body if isinstance(s, Variable))
        self.labels = {s.name: at for at, s in enumerate(self.body) if isinstance(s, Label)}
        # Ways through the kernel are told apart by labels and branches alone, which versions share.
        self._marks = [at for at, s in enumerate(self.body) if _marks(s)]
        self.skeleton = [_mark(self.body[at]) for at in self._marks]
        self.settled: dict[str, Lanes] = {}
        self._live: list[frozenset[str]] = []

    def begin(self) -> None:
        """Finds the registers written in the straight line at the top, and nowhere else."""
        self._live = self._liveness()
        top = self._marks[0] if self._marks else len(self.body)
        writes: dict[str, list[int]] = {}
        for at, statement in enumerate(self.body):
            if isinstance(statement, Instruction):
                for name in results(statement):
                    writes.setdefault(name, []).append(at)
        run = _Run(self, -1, set(), until=top)
        for name, places in writes.items():
            if all(at < top and self.body[at].guard is None for at in places):  # type: ignore[union-attr]
                self.settled[name] = run.register(name)

    def ordinal(self, at: int) -> int:
        """The mark at a place, counted; the place past the last statement is one too."""
        return self._marks.index(at) if at < len(self.body) else len(self._marks)

    def start(self, place: int) -> int:
        """Where the run of a place begins: -1 at the top, 2k at mark k, 2k + 1 behind it."""
        return 0 if place < 0 else self._marks[place // 2] + place % 2

    def successors(self, end: _End) -> Iterator[int]:
        if not end.condition:
            return
        statement = self.body[end.at]
        assert isinstance(statement, Instruction)
        yield 2 * self.ordinal(end.at) + 1
        if statement.opcode == "bra":
            yield 2 * self.ordinal(self.target(statement))

    def target(self, branch: Instruction) -> int:
        to = branch.operands[0]
        if not isinstance(to, Sym) or to.name not in self.labels:
            raise _Beyond
        return self.labels[to.name]

    def divided(self, branch: int) -> set[str]:
        """Registers written where only some threads may be, after a branch that only some take: between it
        and its target, and so on from the branches there."""
        spans: set[int] = set()
        waiting = [branch]
        done: set[int] = set()
        while waiting:
            at = waiting.pop()
            statement = self.body[at]
            if at in done or not isinstance(statement, Instruction) or statement.opcode != "bra":
                continue
            done.add(at)
            to = self.target(statement)
            span = range(min(at, to), max(at, to) + 1)
            spans.update(span)
            waiting += [place for place in span if place not in done]
        return {n for at in spans if isinstance(s := self.body[at], Instruction) for n in results(s)}

    def live_at(self, place: int) -> frozenset[str]:
        at = self.start(place)
        return self._live[at] if at < len(self._live) else frozenset()

    def _liveness(self) -> list[frozenset[str]]:
        live: list[frozenset[str]] = [frozenset()] * (len(self.body) + 1)
        changed = True
        while changed:
            changed = False
            for at in range(len(self.body) - 1, -1, -1):
                statement, after = self.body[at], live[at + 1]
                now = after
                if isinstance(statement, Instruction):
                    if statement.opcode == "bra":
                        now = live[self.target(statement)] | (after if statement.guard else frozenset())
                    elif statement.opcode in _ENDS:
                        now = after if statement.guard else frozenset()
                    written = results(statement) if statement.guard is None else frozenset()
                    now = (now - written) | {r for r in reads(statement) if r in self.types}
                if now != live[at]:
                    live[at], changed = now, True
        return live


def _exact(types: Sequence[Type], value: Value) -> bool:
    """Whether a conversion has nothing to round: of a whole number that a float64 holds. Extents are below
    2^47."""
    to, of = types[0], types[-1]
    if str(to) != "f64" or of.is_float:
        return False
    return of.width <= 32 or (isinstance(value, Name) and value.key[0] == "parameter")


def _marks(statement: Statement) -> bool:
    return isinstance(statement, Label) or (isinstance(statement, Instruction) and statement.opcode in _ENDS)


def _mark(statement: Statement) -> object:
    if isinstance(statement, Label):
        return statement.name
    assert isinstance(statement, Instruction)
    return statement.opcode, statement.operands, statement.guard is not None


class _Run:
    """A block's way from a place to the next branch that cannot be foretold."""

    def __init__(
        self,
        kernel: _Kernel,
        place: int,
        settled: set[str],
        uniform: set[str] | None = None,
        until: int | None = None,
    ) -> None:
        self._kernel = kernel
        self._names = kernel.names
        self._place = place
        self._settled = settled if place >= 0 else set()
        self._uniform = uniform or set()
        self._registers: dict[str, Lanes] = {}
        self._together = 1  # how many threads are known to be here at once
        self._stores = 0
        self.memory = _Memory()
        self.events: list[object] = []
        self.end = self._through(kernel.start(place), until)

    def _through(self, at: int, until: int | None) -> _End:
        body = self._kernel.body
        for _ in range(STEPS):
            if at == until or at >= len(body):
                return _End(len(body))
            statement = body[at]
            if isinstance(statement, Instruction) and statement.opcode in _ENDS:
                condition = self._condition(statement)
                if len(set(condition)) > 1 or isinstance(condition[0], Name):
                    return _End(at, tuple(condition))
                if not condition[0]:
                    at += 1
                elif statement.opcode == "bra":
                    at = self._kernel.target(statement)
                else:
                    return _End(len(body))
                continue
            if isinstance(statement, Instruction):
                self._instruction(statement)
            at += 1
        raise _Beyond

    def _condition(self, statement: Instruction) -> Lanes:
        """Whether a guard holds, thread by thread."""
        if statement.guard is None:
            return [1] * self._kernel.threads
        held = self.register(statement.guard.reg.name)
        return [self._negated(v) for v in held] if statement.guard.negated else held

    def _negated(self, value: Value) -> Value:
        if isinstance(value, int):
            return 1 - (value & 1)
        return value.key[1] if value.key[0] == "not" else self._names.name("not", value)

    # -- registers

    def register(self, name: str) -> Lanes:
        """A register's value in every thread, or a special register's."""
        if name in self._registers:
            return self._registers[name]
        threads = range(self._kernel.threads)
        if name not in self._kernel.types:
            lanes = [self._special(name, thread) for thread in threads]
        elif name in self._settled:
            lanes = self._kernel.settled[name]
        elif name in self._uniform:
            lanes = [self._names.name("entering", self._place, name)] * self._kernel.threads
        else:
            lanes = [self._names.name("entering", self._place, name, thread) for thread in threads]
        self._registers[name] = lanes
        return lanes

    def _special(self, name: str, thread: int) -> Value:
        x, y, _ = self._kernel.block
        base, _, axis = name.partition(".")
        where = "xyz".find(axis) if axis else -1
        if base == "%tid" and where >= 0:
            return (thread % x, thread // x % y, thread // (x * y))[where]
        if base == "%ntid" and where >= 0:
            return self._kernel.block[where]
        if base == "%laneid":
            return thread % 32
        if base in ("%ctaid", "%nctaid") and where >= 0:
            return self._names.name("special", name)
        raise _Beyond

    def _operand(self, operand: Operand) -> Lanes:
        count = self._kernel.threads
        match operand:
            case Int(value):
                return [value & ((1 << 64) - 1)] * count
            case Float(bits):
                return [bits] * count
            case Reg(name):
                return self.register(name)
            case Not(reg):
                return [self._negated(v) for v in self.register(reg.name)]
            case Sym(name, offset):
                if all(name != variable.name for variable in self._kernel.shared):
                    raise _Beyond
                return [self._names.sum(64, [self._names.name("symbol", name), offset])] * count
            case Vec(elements):
                columns = [self._operand(e) for e in elements]
                return [self._packed(column) for column in zip(*columns, strict=True)]
        raise _Beyond

    def _packed(self, parts: Sequence[Value]) -> Value:
        first = parts[0]
        if isinstance(first, Name) and first.key[0] == "part":
            whole = first.key[3]
            if all(p is self._names.name("part", i, len(parts), whole) for i, p in enumerate(parts)):
                return whole  # type: ignore[no-any-return]
        return self._names.name("pack", *parts)

    def _write(self, target: Operand, lanes: Lanes, condition: Lanes) -> None:
        if isinstance(target, Sink):
            return
        if isinstance(target, Vec):
            count = len(target.elements)
            for place, element in enumerate(target.elements):
                self._write(element, [self._part(v, place, count) for v in lanes], condition)
            return
        if not isinstance(target, Reg):
            raise _Beyond
        if any(c != 1 for c in condition):
            before = self.register(target.name)
            lanes = [self._chosen(*each) for each in zip(condition, lanes, before, strict=True)]
        self._registers[target.name] = lanes

    def _part(self, value: Value, place: int, count: int) -> Value:
        if isinstance(value, Name) and value.key[0] == "pack" and len(value.key) == count + 1:
            return value.key[1 + place]  # type: ignore[no-any-return]
        return self._names.name("part", place, count, value)

    def _chosen(self, condition: Value, yes: Value, no: Value) -> Value:
        if isinstance(condition, int):
            return yes if condition & 1 else no
        return yes if yes is no or yes == no else self._names.name("chosen", condition, yes, no)

    # -- instructions

    def _instruction(self, instruction: Instruction) -> None:
        opcode = instruction.opcode
        if opcode in (*_BEYOND, *_CARRYING) or "cc" in instruction.modifiers:
            raise _Beyond
        condition = self._condition(instruction)
        if opcode in ("bar", "barrier"):
            if instruction.guard is not None or len(instruction.operands) > 1:
                raise _Beyond
            self.events.append((opcode, instruction.operands))
            self._together = self._kernel.threads
        elif opcode == "shfl":
            self._shuffle(instruction, condition)
        elif opcode == "ld":
            self._load(instruction, condition)
        elif opcode == "st":
            self._store(instruction, condition)
        else:
            sources = [self._operand(o) for o in instruction.operands[1:]]
            made: dict[tuple[Value, ...], Value] = {}
            lanes = []
            for each in zip(*sources, strict=True):
                if each not in made:
                    made[each] = self._computed(instruction, each)
                lanes.append(made[each])
            self._write(instruction.operands[0], lanes, condition)

    def _computed(self, instruction: Instruction, values: tuple[Value, ...]) -> Value:
        opcode, modifiers = instruction.opcode, instruction.modifiers
        types = types_of(instruction)
        if not types:
            raise _Beyond
        if opcode == "cvt" and _exact(types, values[0]):
            modifiers = modifiers[-2:]
        whole = not any(t.is_float for t in types) and "sat" not in modifiers and "cc" not in modifiers
        if all(isinstance(v, int) for v in values):
            result = number(opcode, modifiers, values, self._width(instruction))
            if result is not None:
                return result
        if opcode in ("mov", "cvta") and len(values) == 1:
            return values[0]
        if opcode == "selp" and isinstance(values[2], int):
            return values[0] if values[2] & 1 else values[1]
        width = types[-1].width
        if whole and opcode == "add":
            return self._names.sum(width, values)
        if whole and opcode == "sub" and isinstance(values[1], int):
            return self._names.sum(width, [values[0], -values[1]])
        if whole and opcode == "mad" and "lo" in modifiers:
            product = self._name(("mul", ("lo", str(types[-1]))), values[:2])
            if all(isinstance(v, int) for v in values[:2]):
                product = (values[0] * values[1]) & ((1 << width) - 1)  # type: ignore[operator]
            return self._names.sum(width, [product, values[2]])
        if whole and opcode in _GATHER:
            return self._names.gathered((opcode, modifiers), values)
        return self._name((opcode, modifiers), values)

    def _name(self, what: tuple[str, tuple[str, ...]], values: Sequence[Value]) -> Value:
        if what[0] in _COMMUTE:
            values = self._names.ordered(values)
        return self._names.name(*what, *values)

    def _width(self, instruction: Instruction) -> int:
        target = instruction.operands[0]
        if not isinstance(target, Reg) or target.name not in self._kernel.types:
            raise _Beyond
        return self._kernel.types[target.name].width

    def _shuffle(self, instruction: Instruction, condition: Lanes) -> None:
        """PTX ISA 9.7.9.6, for segments and distances that are known."""
        target, *sources = instruction.operands
        value, distance, segment, mask = (self._operand(o) for o in sources)
        if any(m != _FULL for m in mask) or any(c != 1 for c in condition):
            raise _Beyond
        self._together = max(self._together, 32)
        lanes: Lanes = []
        there: Lanes = []
        for thread in range(self._kernel.threads):
            b, c = distance[thread], segment[thread]
            if not isinstance(b, int) or not isinstance(c, int):
                raise _Beyond
            source, within = source_lane(instruction.modifiers[1], thread % 32, b & 31, c)
            lanes.append(value[thread - thread % 32 + source])
            there.append(int(within))
        one = target.first if isinstance(target, Pair) else target
        self._write(one, lanes, condition)
        if isinstance(target, Pair):
            self._write(target.second, there, condition)

    # -- memory

    def _addresses(self, operand: Operand) -> Lanes:
        if not isinstance(operand, Addr) or operand.base is None:
            raise _Beyond
        base = self._operand(operand.base)
        if not operand.offset:
            return base
        return [self._names.sum(self._sum_width(v), [v, operand.offset]) for v in base]

    def _sum_width(self, value: Value) -> int:
        return value.key[1] if isinstance(value, Name) and value.key[0] == "sum" else 64

    def _load(self, instruction: Instruction, condition: Lanes) -> None:
        target, source = instruction.operands
        modifiers = instruction.modifiers
        if "param" in modifiers:
            if not isinstance(source, Addr) or not isinstance(source.base, Sym):
                raise _Beyond
            name = self._names.name("parameter", source.base.name, source.offset, modifiers)
            self._write(target, [name] * self._kernel.threads, condition)
            return
        addresses = self._addresses(source)
        if "shared" in modifiers:
            type_ = type_of(modifiers[-1])
            if type_ is None:
                raise _Beyond
            self.events.append((instruction.opcode, modifiers))  # on which side of barriers
            count = len(target.elements) if isinstance(target, Vec) else 1
            read = [
                self._read(a, type_, count) if c else self._names.name("none")
                for a, c in zip(addresses, condition, strict=True)
            ]
            self._write(target, read, condition)
            return
        if "global" not in modifiers:
            raise _Beyond
        self._happens(instruction, condition, addresses)
        made = [self._names.name("load", modifiers, a, self._stores) for a in addresses]
        self._write(target, list(made), condition)

    def _read(self, address: Value, type_: Type, count: int) -> Value:
        parts = [self._element(address, place * type_.bytes, type_.bytes) for place in range(count)]
        return parts[0] if count == 1 else self._packed(parts)

    def _element(self, address: Value, past: int, size: int) -> Value:
        where = self._place_of(address, past, size)
        if where is None:
            if self.memory.written:
                raise _Beyond
            return self._names.name("shared", self._place, address, past, size)
        if self.memory.near(*where, size):
            raise _Beyond
        if where in self.memory.written:
            return self.memory.written[where][1]
        return self._names.name("shared", self._place, *where, size)

    def _place_of(self, address: Value, past: int, size: int) -> tuple[str, int] | None:
        """A shared variable and a byte of it; None for an address that is not known to be in one."""
        if not isinstance(address, Name):
            return None
        base, at = (address, past) if address.key[0] != "sum" else (address.key[3], address.key[2] + past)
        if base.key[0] != "symbol" or (address.key[0] == "sum" and len(address.key) != 4):
            return None
        variable = next(v for v in self._kernel.shared if v.name == base.key[1])
        if at + size > variable.size:
            raise _Beyond
        return variable.name, at

    def _store(self, instruction: Instruction, condition: Lanes) -> None:
        address, data = instruction.operands
        addresses = self._addresses(address)
        type_ = type_of(instruction.modifiers[-1])
        if type_ is None:
            raise _Beyond
        if "shared" in instruction.modifiers:
            self.events.append((instruction.opcode, instruction.modifiers))
            elements = data.elements if isinstance(data, Vec) else (data,)
            columns = [self._operand(e) for e in elements]
            for place, column in enumerate(columns):
                self._keep(addresses, column, condition, place * type_.bytes, type_.bytes)
            # Each thread's stores count, but where all are there: then what memory holds counts, at the end.
            if self._together == 1:
                self._happens(instruction, condition, addresses, *columns)
            return
        if "global" not in instruction.modifiers:
            raise _Beyond
        values = self._operand(data)
        self._happens(instruction, condition, addresses, values)
        self._stores += 1

    def _keep(self, addresses: Lanes, values: Lanes, condition: Lanes, offset: int, size: int) -> None:
        fresh: dict[tuple[str, int], Value] = {}
        for address, value, held in zip(addresses, values, condition, strict=True):
            where = self._place_of(address, offset, size)
            if where is None or self.memory.near(*where, size):
                raise _Beyond
            if held == 0:
                continue
            if isinstance(held, Name):
                value = self._chosen(held, value, self._element(address, offset, size))
            if fresh.setdefault(where, value) != value:
                raise _Beyond
        for where, value in fresh.items():
            self.memory.write(where, size, value)

    def _happens(self, instruction: Instruction, condition: Lanes, *columns: Lanes) -> None:
        """An access as what it does, of as many threads at once as are known to be here."""
        held = list(zip(condition, *columns, strict=True))
        step = self._together
        groups = []
        for start in range(0, len(held), step):
            groups.append(frozenset(each for each in held[start : start + step] if each[0] != 0))
        self.events.append((instruction.opcode, instruction.modifiers, tuple(groups)))
