"""Memory as the emitter sees it: one masked vector access where lanes are consecutive, gathers where they
are not.

In checked mode every access goes through the sanitizer instead. Knows addresses and masks; no registers, no
control flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from llmptx.engine import constants, nans, printing, warps
from llmptx.engine.atomics import STRIDE, atom_text
from llmptx.engine.constants import vector_type
from llmptx.engine.context import INDEX
from llmptx.engine.emit import I1, I8, I32, I64, IR, PTR, Emit, Value, canonical, scalar_type, suffix
from llmptx.engine.library import LIBRARY
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import PRED, Type

B64 = Type("b", 64)
SPACES = ("global", "shared", "local", "const", "param")


@dataclass(frozen=True, slots=True)
class Address:
    """A memory operand: `value` is an address in `space`'s own window, or a generic one where space is ''."""

    value: Value
    space: str = ""


def space_name(space: str | None) -> str:
    """`shared::cta` is shared; nothing is generic."""
    name = (space or "").partition("::")[0]
    return "" if name == "generic" else name


class Memory(Emit):
    """Adds memory to the emitter.

    ctx       the launch context; `pc` and `unit` (the warp's or thread's number) name who accesses in reports
    shadow    the instruction is not the text's: what it does besides its result was done
    strong    the access is volatile or names a memory order: it does not race with others that are
    acquires  what others did before they handed on is ordered before what comes after the access
    mask      the active lanes, None for all; `guarded` where it may be empty although the block runs
    """

    ctx: IR
    pc: int = 0
    unit: IR
    mask: IR | None = None
    guarded: bool = False
    check: bool = False
    strong: bool = False
    acquires: bool = False
    shadow: bool = False

    def word(self, name: str) -> IR:
        """A word of the context, loaded once at entry."""
        raise NotImplementedError

    def word_pointer(self, name: str) -> IR:
        return self.b.gep(self.ctx, [ir.Constant(I64, INDEX[name])], source_etype=I64)

    # arithmetic

    def _divide(self, a: Value, b: Value, signed: bool, f: Any, quotient: bool) -> Value:
        if self.check and not b.const and not self.shadow:
            self._divided(self.icmp("eq", b, self.const(b.type, 0)))
        return super()._divide(a, b, signed, f, quotient)

    def _divided(self, by_zero: Value) -> None:
        """Takes a note of the first lane that divides by zero: PTX leaves the result open."""
        lanes = self.b.and_(self.vector(by_zero), self.lanes())
        with self.b.if_then(self.any(lanes), likely=False):
            tail = [self.bits(lanes), ir.Constant(I32, self.pc), self._first_thread()]
            self.call("san_divided", ir.VoidType(), [self.ctx, *tail])

    # addresses

    def extended(self, value: Value) -> Value:
        """A window's 32-bit offset as 64 bits.

        A lane that is masked off may lie before the window: signed, the lanes after it still get into it.
        """
        if value.type.bits == 64:
            return value
        if value.kind == "a":
            return Value(B64, "a", self.b.sext(value.ir, I64), value.stride, value.mult)
        return self.zext(value, 64)

    def window(self, space: str) -> Value:
        """The generic address of the window's start: varying by lane for local memory."""
        if space == "shared":
            return Value(B64, "u", self.word("shared"))
        if space == "param":
            return Value(B64, "u", self.word("params"))
        stride = self.word("local_stride")
        first = self.b.mul(self.b.zext(self.unit, I64), self.b.mul(stride, ir.Constant(I64, self.width)))
        base = self.b.add(self.word("local"), first)
        if self.width == 1:
            return Value(B64, "u", base)
        steps = constants.lanes(I64, tuple(range(self.width)))
        offsets = self.b.mul(self.splat(stride, I64), steps)
        return Value(B64, "v", self.b.add(self.splat(base, I64), offsets))

    def generic(self, space: str, value: Value) -> Value:
        if space in ("shared", "local", "param"):
            return self.add(self.extended(value), self.window(space))
        if value.type.bits != 64:
            raise PtxError(
                f"a {space or 'generic'} address is 64 bits wide here, this one is {value.type.bits}"
            )
        return value

    def to_generic(self, space: str, a: Value) -> Value:
        return self.generic(space_name(space), a) if a.type.bits == 64 else a

    def from_generic(self, space: str, a: Value) -> Value:
        name = space_name(space)
        if name in ("shared", "local", "param"):
            return self.sub(a, self.window(name))
        return a

    def is_space(self, space: str, a: Value) -> Value:
        name = space_name(space)
        inside = {
            "shared": lambda: self._within(a, self.window("shared"), self.word("shared_size")),
            "local": lambda: self._within(a, self.window("local"), self.word("local_size")),
        }
        if name in inside:
            return inside[name]()
        if name in ("const", "param"):
            return self.const(PRED, 0)
        return self.not_(self.or_(inside["shared"](), inside["local"]()))

    def _within(self, a: Value, start: Value, size: IR) -> Value:
        return self.icmp("ult", self.sub(a, start), Value(B64, "u", size))

    # masks

    def lanes(self) -> IR:
        """The mask as a vector of i1 (i1 for one lane)."""
        if self.mask is not None:
            return self.mask
        one = ir.Constant(I1, 1)
        return constants.splat(one, self.width) if self.width > 1 else one

    def bits(self, mask: IR | None) -> IR:
        """A mask as i32 bits, lane 0 lowest."""
        if mask is None:
            return ir.Constant(I32, (1 << self.width) - 1)
        if self.width == 1:
            return self.b.zext(mask, I32)
        packed = self.b.bitcast(mask, ir.IntType(self.width))
        return packed if self.width == 32 else self.b.zext(packed, I32)

    def any(self, mask: IR | None) -> IR:
        if mask is None:
            return ir.Constant(I1, 1)
        if self.width == 1:
            return mask
        return self.b.icmp_unsigned(
            "!=", self.b.bitcast(mask, ir.IntType(self.width)), ir.Constant(ir.IntType(self.width), 0)
        )

    # accesses

    def load(self, space: str | None, type: Type, address: Address, count: int = 1) -> Any:
        pointer = self.generic(space_name(space) or address.space, address.value)
        machine = canonical(type)
        if pointer.wrap and pointer.stride == type.bytes * count:
            loaded = self._either(pointer, lambda p: self._any_load(machine, p, count))
        else:
            loaded = self._any_load(machine, pointer, count)
        return loaded[0] if count == 1 else loaded

    def _any_load(self, type: Type, pointer: Value, count: int) -> list[Value]:
        if not self.check:
            return self._load(type, pointer, count)
        if self.width == 1:
            return self._checked_load(type, pointer, count)
        outer = self.mask, self.guarded
        self.mask, self.guarded = self._granted(type, pointer, count), True
        loaded = self._load(type, pointer, count)
        self.mask, self.guarded = outer
        return loaded

    def _either(self, pointer: Value, access: Callable[[Value], list[Value]]) -> list[Value]:
        """As a row where no lane wrapped around, which is nearly always, else lane by lane."""
        b = self.b
        whole = b.icmp_unsigned("==", pointer.turn, ir.Constant(I32, self.width))
        found: list[tuple[list[Value], ir.Block]] = []
        with b.if_else(whole) as (then, otherwise):
            with then:
                found.append((access(replace(pointer, wrap=0, turn=None)), b.block))
            with otherwise:
                found.append((access(Value(pointer.type, "v", self.vector(pointer))), b.block))
        loaded = []
        for one, other in zip(found[0][0], found[1][0], strict=True):
            merged = b.phi(one.ir.type)
            merged.add_incoming(one.ir, found[0][1])
            merged.add_incoming(other.ir, found[1][1])
            loaded.append(replace(one, ir=merged))
        return loaded

    def store(self, space: str | None, type: Type, address: Address, value: Any, count: int = 1) -> None:
        pointer = self.generic(space_name(space) or address.space, address.value)
        values = [nans.settled(self, v) for v in ([value] if count == 1 else value)]
        machine = canonical(type)
        if pointer.wrap and pointer.stride == type.bytes * count:
            self._either(pointer, lambda p: self._any_store(machine, p, values))
        else:
            self._any_store(machine, pointer, values)

    def _any_store(self, type: Type, pointer: Value, values: list[Value]) -> list[Value]:
        """Loads nothing."""
        count = len(values)
        if not self.check:
            self._store(type, pointer, values)
        elif self.width == 1 or self.strong or type.bytes * count not in warps.TOTALS:
            self._checked_store(type, pointer, values)
        else:
            outer = self.mask, self.guarded
            self.mask, self.guarded = self._granted(type, pointer, count, values), True
            self._store(type, pointer, values)
            self.mask, self.guarded = outer
        return []

    def _store(self, type: Type, pointer: Value, values: list[Value]) -> None:
        if pointer.kind == "u" and all(v.kind == "u" for v in values):
            self._store_uniform(type, pointer, values)
        elif pointer.kind == "a" and pointer.stride == type.bytes * len(values):
            self._store_consecutive(type, pointer, values)
        else:
            self._scatter(type, pointer, values)

    def _pointer(self, address: IR) -> IR:
        return self.b.inttoptr(address, PTR)

    def _safe(self, address: IR) -> IR:
        """Where a guard may leave no lane active, a scalar access goes to the dummy instead."""
        if not self.guarded:
            return address
        return self.b.select(self.any(self.mask), address, self.word("dummy"))

    def _load(self, type: Type, pointer: Value, count: int) -> list[Value]:
        scalar = scalar_type(type)
        if pointer.kind == "u":
            base = self._safe(pointer.ir)
            steps = [self.b.add(base, ir.Constant(I64, i * type.bytes)) for i in range(count)]
            return [Value(type, "u", self.b.load(self._pointer(s), typ=scalar, align=1)) for s in steps]
        if pointer.kind == "a" and pointer.stride == type.bytes * count:
            return self._load_consecutive(type, pointer, count)
        vector = vector_type(scalar, self.width)
        if not _native("gather", type.bytes):
            return [self._gather_each(type, vector, pointer, i) for i in range(count)]
        out = []
        for i in range(count):
            pointers = self._pointers(pointer, i * type.bytes)
            name = f"llvm.masked.gather.{suffix(vector)}.v{self.width}p0"
            zero = ir.Constant(vector, None)
            out.append(
                Value(type, "v", self.call(name, vector, [pointers, ir.Constant(I32, 1), self.lanes(), zero]))
            )
        return out

    def _gather_each(self, type: Type, vector: IR, pointer: Value, index: int) -> Value:
        values = self._spill("values", ir.Constant(vector, None))
        self._each("gather", type, pointer, index, values)
        return Value(type, "v", self.b.load(values, typ=vector, align=1))

    def _each(self, verb: str, type: Type, pointer: Value, index: int, values: IR) -> None:
        """Element `index` of every active lane's access, one lane after the other, from or to memory."""
        name = f"{LIBRARY}{verb}.{type.bytes}"
        self.extras[name] = _each_text(name, verb, type.bytes)
        addresses = self._spill(
            "addresses", self.vector(self.add(pointer, self.const(B64, index * type.bytes)))
        )
        self.call(name, ir.VoidType(), [addresses, self.bits(self.mask), values])

    def _pointers(self, pointer: Value, offset: int) -> IR:
        addresses = self.vector(self.add(pointer, self.const(B64, offset)))
        return self.b.inttoptr(addresses, vector_type(PTR, self.width))

    def _load_consecutive(self, type: Type, pointer: Value, count: int) -> list[Value]:
        vector = vector_type(scalar_type(type), self.width * count)
        where = self._pointer(pointer.ir)
        if self.mask is None:
            whole = self.b.load(where, typ=vector, align=1)
        else:
            mask = self._repeat(self.mask, count)
            zero = ir.Constant(vector, None)
            name = f"llvm.masked.load.{suffix(vector)}.p0"
            whole = self.call(name, vector, [where, ir.Constant(I32, 1), mask, zero])
        if count == 1:
            return [Value(type, "v", whole)]
        return [
            Value(type, "v", self._pick(whole, range(i, self.width * count, count))) for i in range(count)
        ]

    def _pick(self, vector: IR, lanes: range | list[int]) -> IR:
        order = constants.lanes(I32, tuple(lanes))
        return self.b.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), order)

    def _repeat(self, mask: IR, count: int) -> IR:
        return mask if count == 1 else self._pick(mask, [i // count for i in range(self.width * count)])

    def _store_uniform(self, type: Type, pointer: Value, values: list[Value]) -> None:
        base = self._safe(pointer.ir)
        for i, value in enumerate(values):
            self.b.store(value.ir, self._pointer(self.b.add(base, ir.Constant(I64, i * type.bytes))), align=1)

    def _store_consecutive(self, type: Type, pointer: Value, values: list[Value]) -> None:
        count = len(values)
        whole = self._interleave([self.vector(v) for v in values])
        where = self._pointer(pointer.ir)
        if self.mask is None:
            self.b.store(whole, where, align=1)
            return
        name = f"llvm.masked.store.{suffix(whole.type)}.p0"
        self.call(name, ir.VoidType(), [whole, where, ir.Constant(I32, 1), self._repeat(self.mask, count)])

    def _interleave(self, vectors: list[IR]) -> IR:
        if len(vectors) == 1:
            return vectors[0]
        half = len(vectors) // 2
        first, second = self._concatenate(vectors[:half]), self._concatenate(vectors[half:])
        total = self.width * len(vectors)
        order = [(i % len(vectors)) * self.width + i // len(vectors) for i in range(total)]
        return self.b.shuffle_vector(first, second, constants.lanes(I32, tuple(order)))

    def _concatenate(self, vectors: list[IR]) -> IR:
        if len(vectors) == 1:
            return vectors[0]
        size = self.width * 2
        order = constants.lanes(I32, tuple(range(size)))
        return self.b.shuffle_vector(vectors[0], vectors[1], order)

    def _scatter(self, type: Type, pointer: Value, values: list[Value]) -> None:
        for i, value in enumerate(values):
            vector = self.vector(value)
            if not _native("scatter", type.bytes):
                self._each("scatter", type, pointer, i, self._spill("values", vector))
                continue
            name = f"llvm.masked.scatter.{suffix(vector.type)}.v{self.width}p0"
            pointers = self._pointers(pointer, i * type.bytes)
            self.call(name, ir.VoidType(), [vector, pointers, ir.Constant(I32, 1), self.lanes()])

    # checked accesses: operands go through memory to the sanitizer

    scratch: dict[str, IR]

    def _spill(self, name: str, vector: IR, at: int = 0) -> IR:
        where = self.b.gep(self.scratch[name], [ir.Constant(I64, at)], source_etype=I8)
        self.b.store(vector, where, align=1)
        return where

    def _first_thread(self) -> IR:
        return self.b.mul(self.unit, ir.Constant(I32, self.width))

    def _granted(
        self, type: Type, pointer: Value, count: int, values: list[Value] | None = None
    ) -> IR | None:
        """The lanes that make an access, by the sanitizer. values: of a store, in case it makes it itself."""
        total = type.bytes * count
        if total not in warps.TOTALS or self.strong:
            sizes = [ir.Constant(I32, total), ir.Constant(I32, self.width)]
            return self._flags(
                self._checked("san_granted_strong" if self.strong else "san_granted", pointer, sizes)
            )
        row = pointer.kind == "a" and pointer.stride == total
        form = "one" if pointer.kind == "u" else "row" if row else "any"
        name = warps.check_name(form, values is not None, total)
        self.extras[name] = warps.check_text(form, values is not None, total)
        if form == "any":
            self._spill("addresses", self.vector(pointer))
        for i, value in enumerate(values or ()):
            self._spill("values", self.vector(value), i * self.width * type.bytes)
        base = ir.Constant(I64, 0) if form == "any" else pointer.ir
        who = [self.bits(self.mask), ir.Constant(I32, self.pc), self._first_thread()]
        data = [self.scratch["values"], ir.Constant(I32, type.bytes), ir.Constant(I32, count)]
        return self._flags(self.call(name, I32, [self.ctx, base, self.scratch["addresses"], *who, *data]))

    def _flags(self, bits: IR) -> IR:
        return self.b.bitcast(bits, ir.VectorType(I1, self.width))

    def _checked(self, name: str, pointer: Value, tail: list[IR]) -> IR:
        self._spill("addresses", self.vector(pointer))
        arguments = [self.ctx, self.scratch["addresses"], self.bits(self.mask), ir.Constant(I32, self.pc)]
        asks = name.startswith(("san_atomic", "san_granted"))
        result = I32 if asks else ir.VoidType()
        given = self.call(name, result, [*arguments, self._first_thread(), *tail])
        if self.acquires:
            lanes = [self.scratch["addresses"], self.bits(self.mask), ir.Constant(I32, self.width)]
            self.call("san_acquire", ir.VoidType(), [self.ctx, *lanes])
        return given

    def _checked_load(self, type: Type, pointer: Value, count: int) -> list[Value]:
        sizes = [ir.Constant(I32, n) for n in (type.bytes, count, self.width)]
        kind = self.ir_type(type, "v")
        values = self.scratch["values"]
        zero = ir.Constant(kind, None if self.width > 1 else 0)
        for i in range(count):
            self._spill("values", zero, i * self.width * type.bytes)
        self._checked("san_load_strong" if self.strong else "san_load", pointer, [values, *sizes])
        out = []
        for i in range(count):
            where = self.b.gep(values, [ir.Constant(I64, i * self.width * type.bytes)], source_etype=I8)
            out.append(Value(type, "u" if self.width == 1 else "v", self.b.load(where, typ=kind, align=1)))
        return out

    def _checked_store(self, type: Type, pointer: Value, values: list[Value]) -> None:
        sizes = [ir.Constant(I32, n) for n in (type.bytes, len(values), self.width)]
        for i, value in enumerate(values):
            self._spill("values", self.vector(value), i * self.width * type.bytes)
        name = "san_store_strong" if self.strong else "san_store"
        self._checked(name, pointer, [self.scratch["values"], *sizes])

    def vprintf(self, format: Value, arguments: Value) -> Value:
        """Every active lane's call goes to the host, one after the other."""
        self.extras[printing.HELPER] = printing.TEXT
        formats = self._spill("addresses", self.vector(format))
        blocks = self._spill("values", self.vector(arguments))
        zero = ir.Constant(self.ir_type(Type("b", 32), "v"), None if self.width > 1 else 0)
        counts = self._spill("values", zero, 512)
        pc, width = ir.Constant(I32, self.pc), ir.Constant(I32, self.width)
        tail = [self.bits(self.mask), pc, self._first_thread(), width]
        self.call(printing.HELPER, ir.VoidType(), [self.ctx, formats, blocks, counts, *tail])
        loaded = self.b.load(counts, typ=zero.type, align=1)
        return Value(Type("b", 32), "u" if self.width == 1 else "v", loaded)

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
        pointer = self.generic(space_name(space) or address.space, address.value)
        mask = self.bits(self.mask)
        if self.check:
            sizes = [ir.Constant(I32, type.bytes * count), ir.Constant(I32, self.width)]
            mask = self._checked("san_atomic", pointer, sizes)
        old = []
        for i, value in enumerate([b] if count == 1 else b):
            where = self.add(pointer, self.const(B64, i * type.bytes))
            self._spill("addresses", self.vector(where))
            old.append(self._atom(op, type, mask, nans.settled(self, value), c))
        return old[0] if count == 1 else old

    def _atom(self, op: str, type: Type, mask: IR, b: Value, c: Value | None) -> Value:
        """At the addresses that are spilled."""
        machine = canonical(type)
        helper = f"llmptx.atom.{op}.{type}.{self.width}"
        if helper not in self.extras:
            self.extras[helper] = atom_text(helper, op, type, self.width)
        kind = self.ir_type(machine, "v")
        first = self._spill("values", self.vector(b))
        second = self._spill("values", self.vector(c if c is not None else b), STRIDE)
        old = self.b.gep(self.scratch["values"], [ir.Constant(I64, 2 * STRIDE)], source_etype=I8)
        self.call(helper, ir.VoidType(), [self.scratch["addresses"], mask, first, second, old])
        return Value(machine, "u" if self.width == 1 else "v", self.b.load(old, typ=kind, align=1))


@cache
def _native(verb: str, size: int) -> bool:
    """Whether the host gathers or scatters elements of `size` bytes by an instruction.

    Where it does not, LLVM writes out every lane: slow to compile, and no faster than a loop.
    """
    features = llvm.get_host_cpu_features()
    return size in (4, 8) and bool(features.get("avx512f") or (verb == "gather" and features.get("avx2")))


def _each_text(name: str, verb: str, size: int) -> str:
    """A loop over the active lanes."""
    moved = ("%at", "%p") if verb == "scatter" else ("%p", "%at")
    return (
        f'define void @"{name}"(ptr %addresses, i32 %mask, ptr %values) {{\n'
        "entry:\n  %none = icmp eq i32 %mask, 0\n  br i1 %none, label %out, label %lanes\n"
        "lanes:\n"
        "  %left = phi i32 [ %mask, %entry ], [ %less, %lanes ]\n"
        "  %lane = call i32 @llvm.cttz.i32(i32 %left, i1 true)\n"
        "  %ap = getelementptr i64, ptr %addresses, i32 %lane\n  %a = load i64, ptr %ap, align 1\n"
        "  %p = inttoptr i64 %a to ptr\n"
        f"  %at = getelementptr i{8 * size}, ptr %values, i32 %lane\n"
        f"  %x = load i{8 * size}, ptr {moved[0]}, align 1\n"
        f"  store i{8 * size} %x, ptr {moved[1]}, align 1\n"
        "  %one = sub i32 %left, 1\n  %less = and i32 %left, %one\n"
        "  %more = icmp ne i32 %less, 0\n  br i1 %more, label %lanes, label %out\n"
        "out:\n  ret void\n}\n"
        "declare i32 @llvm.cttz.i32(i32, i1)\n"
    )
