"""Operands to values, a row's meaning, values to destinations: what lowering and shape analysis do alike.

`Shapes` runs the rows with a builder that builds nothing, to learn which registers are uniform, affine or
varying before
any code is made.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from llvmlite import ir

from llmptx.engine import nans
from llmptx.engine.access import B64, Address, space_name
from llmptx.engine.asynchronous import Asynchronous
from llmptx.engine.blocks import Block, Branch, Flow, Switch, Sync, slot_names, uses
from llmptx.engine.emit import BIG, I32, IR, Emit, Value, bits_to_float, canonical, float_to_bits
from llmptx.engine.flow import mark_divergence
from llmptx.engine.lanes import B32
from llmptx.engine.program import Ins, Program, Slot
from llmptx.ptx.ast import Addr, Float, Instruction, Int, Not, Operand, Pair, Reg, Sink, Sym, Vec
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import PRED, Type

STRONG = frozenset({"volatile", "relaxed", "acquire", "release", "mmio"})
ACQUIRING = frozenset({"acquire", "acq_rel"})


class Rows(Asynchronous):
    """The emitter with registers: `read` and `write` are the subclass's.

    block_dim    (x, y, z) threads of a block, known when compiling
    ctaid        IR of the block's indices
    predicate    the guard of the instruction at hand, None without one
    """

    program: Program
    flow: Flow
    block_dim: tuple[int, int, int]
    ctaid: dict[str, IR]
    current: Block
    predicate: Value | None = None

    def read(self, register: str) -> Value:
        raise NotImplementedError

    def write(self, register: str, value: Value) -> None:
        raise NotImplementedError

    def symbol(self, name: str) -> IR:
        raise NotImplementedError

    # one instruction

    def step(self, ins: Ins) -> None:
        """Emits an instruction that is no control flow."""
        self.pc, self.shadow = ins.pc, ins.shadow
        self.predicate = None
        outer = self.mask, self.guarded
        if ins.guard is not None:
            predicate = self.read(ins.guard.reg.name)
            self.predicate = self.not_(predicate) if ins.guard.negated else predicate
            self.narrow(self.predicate)
        try:
            self._apply(ins)
        except PtxError as error:
            raise error if error.span.line else PtxError(error.message, self.program.spans[ins.pc]) from None
        self.mask, self.guarded = outer
        self.predicate = None

    def narrow(self, predicate: Value) -> None:
        """Only lanes where the guard holds take part."""
        held = self.vector(predicate)
        self.mask = held if self.mask is None else self.b.and_(self.mask, held)
        self.guarded = True

    def _apply(self, ins: Ins) -> None:
        matched = ins.matched
        slot = _call_slot(self.program, matched.instruction)
        if slot is not None:
            self._call_parameter(ins, slot)
            return
        meaning = matched.form.meaning
        assert meaning is not None, matched.form.pattern
        sources: list[Any] = []
        targets = []
        count = self._count(matched.modifiers.get("vec"))
        for spec, operand, type in matched.operands:
            if spec.destination:
                targets.append((spec, operand, type))
            elif spec.kind == "memory":
                assert isinstance(operand, Addr)
                sources.append(self.address(operand, spec.type or matched.modifiers.get("space")))
            elif spec.kind == "value":
                assert type is not None
                if spec.type == "own" and isinstance(operand, Reg):
                    type = self.program.registers.get(operand.name, type)
                several = (count > 1 and spec.type == "type") or spec.count
                sources.append(self.fetch_list(operand, type) if several else self.fetch(operand, type))
        self.strong = not STRONG.isdisjoint(matched.instruction.modifiers)
        self.acquires = not ACQUIRING.isdisjoint(matched.instruction.modifiers)
        result = meaning(self, matched.modifiers, *sources)
        if targets:
            self._commit_all(targets, result, count)

    def _count(self, vec: str | None) -> int:
        return int(vec[1:]) if vec else 1

    def _commit_all(self, targets: list[Any], result: Any, count: int) -> None:
        spec, operand, type = targets[0]
        assert type is not None
        if isinstance(operand, Pair):
            self.commit(operand.first, result[0], type)
            self.commit(operand.second, result[1], PRED)
        elif spec.pair:
            self.commit(operand, result[0], type)
        elif isinstance(operand, Sink):
            return
        elif count > 1 or spec.count:
            assert isinstance(operand, Vec)
            for element, value in zip(operand.elements, result, strict=True):
                self.commit(element, value, type)
        elif len(targets) > 1:
            for (_, one, kind), value in zip(targets, result, strict=True):
                self.commit(one, value, kind)
        else:
            self.commit(operand, result, type)

    def _call_parameter(self, ins: Ins, slot: Slot) -> None:
        """ld.param and st.param of a call: moves between registers."""
        operands = ins.matched.instruction.operands
        type: Type = ins.matched.modifiers.get("type")
        names = [name for name, _ in slot_names(self.program, ins, slot)]
        other = next(o for o in operands if not isinstance(o, Addr))
        values = list(other.elements) if isinstance(other, Vec) else [other]
        for name, operand in zip(names, values, strict=True):
            if ins.opcode == "ld":
                self.commit(operand, self.adapt(self.read(name), type), type)
            else:
                self.write(name, self.bitcast(self.fetch(operand, type), Type("b", type.width)))

    # operands

    def fetch_list(self, operand: Operand, type: Type) -> Any:
        if isinstance(operand, Vec):
            return [self.fetch(e, type) for e in operand.elements]
        raise PtxError("a vector access takes a vector of registers {a, b, ...}")

    def fetch(self, operand: Operand, type: Type) -> Value:
        """The operand as a value of the type. Raises PtxError where its register is too narrow."""
        match operand:
            case Reg(name):
                value = self.read(name) if name in self.program.registers else self.special(name)
                return self.adapt(value, type, name)
            case Not(reg):
                return self.not_(self.read(reg.name))
            case Int(value):
                if type.is_float and type.lanes == 1:
                    return self.float_bits(canonical(type), value % (1 << type.bits))
                return self.const(type, value)
            case Float(bits, width):
                return self._float_constant(bits, width, type)
            case Sym(name, offset):
                return self._address_of(name, offset, type)
            case Vec(elements):
                return self._pack(elements, type)
            case _:
                raise PtxError(f"operand {operand} cannot be read here")

    def _float_constant(self, bits: int, width: int, type: Type) -> Value:
        machine = canonical(type)
        if not machine.is_float:
            if machine.bits != width:
                raise PtxError(f"a {width}-bit floating-point constant cannot be a {type}")
            return self.const(machine, bits)
        if machine.bits == width:
            return self.float_bits(machine, bits)
        number = bits_to_float(bits, width)
        try:
            return self.float_bits(machine, float_to_bits(number, machine.bits))
        except OverflowError:
            infinite = float("inf") if number > 0 else float("-inf")
            return self.float_bits(machine, float_to_bits(infinite, machine.bits))

    def adapt(self, value: Value, type: Type, name: str = "") -> Value:
        machine = canonical(type)
        if value.type == machine:
            return value
        if value.type.width == machine.width:
            return self.bitcast(value, machine)
        if value.type.width > machine.width and machine.kind != "pred":
            return self.bitcast(
                self.trunc(self.bitcast(value, Type("b", value.type.width)), machine.width), machine
            )
        raise PtxError(
            f"register {name.partition('@')[0]} has {value.type.width} bits where a {type} is read"
        )

    def _pack(self, elements: tuple[Operand, ...], type: Type) -> Value:
        part = Type("b", type.width // len(elements))
        total = self.const(Type("b", type.width), 0)
        for i, element in enumerate(elements):
            wide = self.zext(self.fetch(element, part), type.width)
            total = self.or_(total, self.shl(wide, self.const(total.type, i * part.bits)))
        return self.adapt(total, type)

    def commit(self, operand: Operand, value: Value, type: Type) -> None:
        """Writes a destination; a wider register is extended as the type's sign says."""
        if isinstance(operand, Sink):
            return
        if isinstance(operand, Vec):
            part = Type("b", type.width // len(operand.elements))
            whole = self.bitcast(value, Type("b", type.width))
            for i, element in enumerate(operand.elements):
                shifted = self.lshr(whole, self.const(whole.type, i * part.bits))
                self.commit(element, self.trunc(shifted, part.bits), part)
            return
        assert isinstance(operand, Reg)
        if operand.name not in self.program.registers:
            raise PtxError(f"{operand.name} is a special register and cannot be written")
        machine = canonical(self.program.registers[operand.name])
        if value.type.width > machine.width:
            raise PtxError(
                f"register {operand.name.partition('@')[0]} has {machine.width} bits, "
                f"the result {value.type.width}"
            )
        if value.type.width < machine.width:
            if value.type.kind == "pred" or machine.kind == "pred":
                raise PtxError(f"{operand.name} cannot hold a {type}")
            narrow = self.bitcast(value, Type("b", value.type.width))
            value = (self.sext if type.signed else self.zext)(narrow, machine.width)
        self.write(operand.name, self.bitcast(value, machine))

    # addresses

    def address(self, operand: Addr, space: str | None) -> Address:
        base = operand.base
        if base is None:
            return Address(self.const(B64, operand.offset))
        if isinstance(base, Sym):
            home = self._space_of(base.name)
            named = space_name(space)
            if named and named != home and home != "param":
                raise PtxError(f"{base.name.partition('@')[0]} is in .{home}, not in .{named}")
            value = self._address_of(base.name, base.offset + operand.offset, B64)
            return Address(value, home)
        value = self.read(base.name) if base.name in self.program.registers else self.special(base.name)
        if value.type.kind != "b" or value.type.bits not in (32, 64):
            raise PtxError(f"{base.name} has type {value.type}: an address register has 32 or 64 bits")
        return Address(self.add(value, self.const(value.type, operand.offset)))

    def _space_of(self, name: str) -> str:
        program = self.program
        for space, table in (("shared", program.shared), ("local", program.local), ("param", program.params)):
            if name in table:
                return space
        if name in program.module_variables:
            return program.module_variables[name].space
        raise PtxError(f"{name.partition('@')[0]} is no variable")

    def _address_of(self, name: str, offset: int, type: Type) -> Value:
        """A variable's address in its own window (shared, local, param) or the address itself (global,
        const).
        """
        program = self.program
        in_frame = self.in_frame(name)
        if in_frame is not None:
            moved = self.add(in_frame, self.const(B64, offset))
            return moved if type.width == 64 else self.trunc(moved, type.width)
        if name in program.functions:
            return self.const(type, program.functions[name] + offset)
        for table in (program.shared, program.local, program.params):
            if name in table:
                at = table[name].offset
                if at < 0:
                    at = -(-program.shared_size // 128) * 128
                return self.const(type, at + offset)
        if name in program.module_variables:
            if type.width != 64:
                raise PtxError(f"the address of {name} has 64 bits, not {type.width}")
            return self.add(Value(B64, "u", self.symbol(name)), self.const(B64, offset))
        raise PtxError(f"{name.partition('@')[0]} is a label: its address cannot be taken")

    def in_frame(self, name: str) -> Value | None:
        """The window offset of a variable of a function's activation: the lowering's, which has a stack."""
        return None

    # special registers

    def _first(self) -> Value:
        """The number of the first thread of the unit, within its block."""
        scaled = self.b.mul(self.unit, ir.Constant(I32, self.width))
        return Value(B32, "u", scaled, mult=self.width)

    def _linear_tid(self) -> Value:
        first = self._first()
        return first if self.width == 1 else replace(first, kind="a", stride=1)

    def special(self, name: str) -> Value:
        """The value of a special register (PTX ISA 10)."""
        stem, _, element = name.removeprefix("%").partition(".")
        axis = "xyz".find(element) if element else -1
        if stem == "tid":
            return self._tid(axis)
        if stem == "ntid":
            return self.const(B32, self.block_dim[axis])
        if stem == "ctaid":
            return Value(B32, "u", self.ctaid[element])
        if stem == "nctaid":
            return Value(B32, "u", self.b.trunc(self.word(f"grid_{element}"), I32))
        return self._special_lane(stem)

    def _tid(self, axis: int) -> Value:
        x, y, z = self.block_dim
        linear = self._linear_tid()
        if y * z == 1:
            return linear if axis == 0 else self.const(B32, 0)
        if x % self.width == 0:
            first = self._first()
            start = replace(self.rem(first, self.const(B32, x), False), mult=min(self.width, x & -x))
            if axis == 0:
                return start if self.width == 1 else replace(start, kind="a", stride=1)
            linear = first
        if axis == 0:
            return self.rem(linear, self.const(B32, x), False)
        row = self.div(linear, self.const(B32, x), False)
        if axis == 1:
            return self.rem(row, self.const(B32, y), False) if z > 1 else row
        return self.div(row, self.const(B32, y), False)

    def _special_lane(self, stem: str) -> Value:
        one, zero = self.const(B32, 1), self.const(B32, 0)
        if self.width == 1:
            lane = Value(B32, "u", self.b.and_(self.unit, ir.Constant(I32, 31)))
            warp = Value(B32, "u", self.b.lshr(self.unit, ir.Constant(I32, 5)))
        else:
            lane = Value(B32, "a", ir.Constant(I32, 0), 1, BIG)
            warp = Value(B32, "u", self.unit)
        if stem == "laneid":
            return lane
        if stem == "warpid":
            return warp
        if stem.startswith("lanemask_"):
            equal = self.shl(one, self._varying(lane))
            less = self.sub(equal, one)
            upto = self.or_(less, equal)
            return {"eq": equal, "lt": less, "le": upto, "ge": self.not_(less), "gt": self.not_(upto)}[
                stem[9:]
            ]
        threads = self.block_dim[0] * self.block_dim[1] * self.block_dim[2]
        known = {"nwarpid": self.const(B32, -(-threads // 32)), "smid": zero, "nsmid": one}
        if stem in known:
            return known[stem]
        if stem == "gridid":
            return self.const(B64, 0)
        if stem.endswith("smem_size"):
            word = "dynamic" if stem.startswith("dynamic") else "shared_size"
            return Value(B32, "u", self.b.trunc(self.word(word), I32))
        cycles = Value(B64, "u", self.call("llvm.readcyclecounter", ir.IntType(64), []))
        if stem in ("clock64", "globaltimer"):
            return cycles
        return self.trunc(self.lshr(cycles, self.const(B64, 32)) if stem.endswith("hi") else cycles, 32)

    def _varying(self, value: Value) -> Value:
        return value if value.kind != "a" else Value(value.type, "v", self.vector(value))

    def lane(self) -> Value:
        return self.special("%laneid")

    # carry

    def get_carry(self) -> Value:
        return self.carry if self.carry is not None else self.const(PRED, 0)

    def set_carry(self, value: Value) -> None:
        self.carry = value if self.predicate is None else self.select(self.predicate, value, self.get_carry())


def _call_slot(program: Program, instruction: Instruction) -> Slot | None:
    if instruction.opcode not in ("ld", "st"):
        return None
    for operand in instruction.operands:
        if isinstance(operand, Addr) and isinstance(operand.base, Sym) and operand.base.name in program.slots:
            return Slot(operand.base.name, operand.offset)
    return None


class _Nothing:
    """A builder that builds nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Shapes(Rows):
    """Finds every register's shape: a fixpoint over the flat code with `divergent` blocks marked on the
    way.
    """

    def __init__(
        self, program: Program, flow: Flow, width: int, block_dim: tuple[int, int, int], check: bool
    ) -> None:
        Emit.__init__(self, _Nothing(), width, {}, "exact")
        self.program, self.flow, self.block_dim, self.check = program, flow, block_dim, check
        self.shapes: dict[str, Value] = {}
        self.ctaid = dict.fromkeys("xyz")
        self.unit = self.ctx = None
        # By register, the blocks that read it: even after writing it, for a shape is of all its writes.
        self.readers: dict[str, set[int]] = defaultdict(set)
        for block in flow.blocks:
            for ins in block.body:
                for name in uses(program, ins):
                    self.readers[name].add(block.index)
        self.changed: set[str] = set()

    def find(self) -> dict[str, Value]:
        """Shape by register; one that is never written is uniform."""
        while True:
            self._fixpoint()
            if not mark_divergence(self.flow, self._varies):
                return self.shapes

    def _fixpoint(self) -> None:
        stale = set(self.flow.order)
        while stale:
            for index in self.flow.order:
                if index in stale:
                    stale.remove(index)
                    self._visit(self.flow.blocks[index])
                    stale.update(*(self.readers[name] for name in self.changed))

    def _visit(self, block: Block) -> None:
        self.current, self.carry, self.changed = block, None, set()
        for ins in block.body:
            self.step(ins)

    def _varies(self, block: Block) -> bool:
        end = block.end
        if isinstance(end, Branch):
            return self._kind(end.pred) == "v"
        if isinstance(end, Sync):
            return False
        assert isinstance(end, Switch)
        names = [o.name for o in end.ins.matched.instruction.operands if isinstance(o, Reg)]
        return any(self._kind(n) != "u" for n in names)

    def _kind(self, register: str) -> str:
        shape = self.shapes.get(register)
        return shape.kind if shape else "u"

    def read(self, register: str) -> Value:
        shape = self.shapes.get(register)
        if shape is not None:
            return shape
        # Nothing is known of it yet: the most hopeful guess, mended by the next round.
        return Value(canonical(self.program.registers[register]), "u", mult=BIG, nan="none")

    def write(self, register: str, value: Value) -> None:
        partial = self.predicate is not None and self.predicate.kind == "v"
        if partial or self.flow.keeps_others(register, self.current):
            value = Value(value.type, "v", nan=value.nan)
        old = self.shapes.get(register)
        new = replace(value, ir=None, turn=None) if old is None else join(old, value)
        if self.predicate is not None and new.const is not None:
            new = replace(new, const=None)
        if new != old:
            self.shapes[register] = new
            self.changed.add(register)

    def symbol(self, name: str) -> IR:
        return None

    def narrow(self, predicate: Value) -> None:
        self.guarded = True

    def each(self, type: Type, f: Any, *values: Value) -> Value:
        return Value(type, "u" if all(v.kind == "u" for v in values) else "v")

    def linear(self, f: Any, stride: int, mult: int, *values: Value) -> Value:
        return super().linear(lambda *_: None, stride, mult, *values)

    def vector(self, value: Value) -> IR:
        return None

    def splat(self, scalar: IR, type: ir.Type) -> IR:
        return None

    def call(self, name: str, result: ir.Type, arguments: Any) -> IR:
        return None

    def word(self, name: str) -> IR:
        return None

    def bits(self, mask: IR | None) -> IR:
        return None

    def any(self, mask: IR | None) -> IR:
        return None

    def lanes(self) -> IR:
        return None

    def _pick(self, vector: IR, lanes: Any) -> IR:
        return None

    def _spill(self, name: str, vector: IR, at: int = 0) -> IR:
        return None

    def load(self, space: str | None, type: Type, address: Address, count: int = 1) -> Any:
        machine = canonical(type)
        pointer = self.generic(space_name(space) or address.space, address.value)
        loaded = [Value(machine, "u" if pointer.kind == "u" else "v") for _ in range(count)]
        return loaded[0] if count == 1 else loaded

    def store(self, space: str | None, type: Type, address: Address, value: Any, count: int = 1) -> None:
        self.generic(space_name(space) or address.space, address.value)

    def atom(
        self,
        space: str | None,
        op: str,
        type: Type,
        address: Address,
        b: Any,
        c: Value | None = None,
        count: int = 1,
    ) -> Any:
        old = Value(canonical(type), "v")
        return old if count == 1 else [old] * count

    def matrix_memory(self) -> IR:
        return None

    def _rows(self, name: str, checked: str, pointer: Value) -> None:
        return

    def _checked(self, name: str, pointer: Value, tail: list[IR]) -> IR:
        return None

    def _spilled(self, name: str) -> IR:
        return None

    def vprintf(self, format: Value, arguments: Value) -> Value:
        return Value(B32, "v")

    def fail(self, kind: int, when: IR) -> None:
        return

    def _converge(self) -> None:
        return

    def compare_twins(self, a: Value, b: Value) -> None:
        return

    def store_twins(
        self, space: str | None, type: Type, address: Address, values: list[Value], twins: list[Value]
    ) -> None:
        return

    def living(self) -> IR:
        return None

    def _suspect(self, invalid: Value, source: Value) -> None:
        return

    def _divided(self, by_zero: Value) -> None:
        return


def join(a: Value, b: Value) -> Value:
    """The shape that holds both."""
    nan = nans.both(a.nan, b.nan)
    if "v" in (a.kind, b.kind) or (a.stride, a.wrap) != (b.stride, b.wrap):
        return Value(a.type, "v", nan=nan)
    const = a.const if a.const == b.const else None
    return Value(a.type, a.kind, None, a.stride, min(a.mult, b.mult), const, a.wrap, nan=nan)
