"""Matrices spread over a warp: products of fragments, and moves to and from rows in shared memory.

With a warp as a vector the registers go to memory, and a function made for the product does the rest. One
thread at a time they go to the mailbox, and `products` answers. Knows registers; layouts are the table's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from llmptx.engine.access import Address, space_name
from llmptx.engine.emit import I8, I32, I64, IR, Value, canonical
from llmptx.engine.lanes import B32
from llmptx.engine.library import LIBRARY
from llmptx.engine.product_code import EXACT_SUM, exact_sum_text, product_text, transpose_text
from llmptx.engine.twins import Twins
from llmptx.isa.fragment import WARP, Product
from llmptx.ptx.types import Type

B64 = Type("b", 64)
ROW = 16  # bytes of a row of an 8 x 8 matrix
ROOM = 8192  # bytes of the registers of a product
TRANSPOSE, READ_ROWS, WRITE_ROWS = (f"{LIBRARY}{name}" for name in ("transpose", "read_rows", "write_rows"))


class Matrices(Twins):
    """Adds products and the moves of matrices to the emitter.

    matrix_memory   room for the registers of one product, given by the lowering
    narrow          only lanes where a predicate holds take part from here on
    lane            %laneid
    """

    matrix_memory: Callable[[], IR]
    narrow: Callable[[Value], None]
    lane: Callable[[], Value]

    def multiply(self, product: Product, a: list[Value], b: list[Value], c: list[Value]) -> list[Value]:
        registers, count = product.d.type, product.d.registers
        if self._alone():
            bits = Type("b", registers.bits)
            found = self._exchange(("product", product), [*a, *b, *c], [bits] * count)
            return [self.bitcast(value, registers) for value in found]
        self._converge()
        end = self._put([*a, *b, *c])
        if product.d.element in ("f16", "f32"):
            self._provided(EXACT_SUM, exact_sum_text())
        name = f"{LIBRARY}{product.name}"
        self._provided(name, product_text(name, product))
        self.call(name, ir.VoidType(), [self._register(0)])
        return self._got(end, registers, count)

    def load_matrices(self, space: str, address: Address, count: int, transposed: bool) -> list[Value]:
        pointer = self.generic(space_name(space) or address.space, address.value)
        outer = self.mask, self.guarded
        self._only_rows(count)
        if self._alone():
            words = self.load("", B32, Address(pointer), 4)
            self.mask, self.guarded = outer
            return self._exchange(("load", count, transposed), words, [B32] * count)
        self._rows(READ_ROWS, "san_load", pointer)
        self.mask, self.guarded = outer
        self._converge()
        if transposed:
            self._transpose(count)
        return self._got(0, B32, count)

    def store_matrices(self, space: str, address: Address, values: list[Value], transposed: bool) -> None:
        pointer = self.generic(space_name(space) or address.space, address.value)
        outer = self.mask, self.guarded
        if self._alone():
            *words, place = self._exchange(
                ("store", len(values), transposed), [*values, pointer], [B32] * 4 + [B64]
            )
            # After the cut this thread runs: what its mask was is not at hand any more.
            self.mask = None
            self._only_rows(len(values))
            self.store("", B32, Address(place), words, 4)
        else:
            self._put(values)
            self._converge()
            if transposed:
                self._transpose(len(values))
            self._only_rows(len(values))
            self._rows(WRITE_ROWS, "san_store", pointer)
        self.mask, self.guarded = outer

    def transpose(self, a: Value) -> Value:
        if self._alone():
            return self._exchange(("transpose",), [a], [B32])[0]
        self._converge()
        self._put([a])
        self._transpose(1)
        return self._got(0, B32, 1)[0]

    def _exchange(self, what: tuple[Any, ...], values: list[Value], results: list[Type]) -> list[Value]:
        """All lanes give words and get words."""
        words = [self.bitcast(value, Type("b", value.type.width)) for value in values]
        return self.suspend(("matrix", what, True), [self.const(B32, -1), *words], results)

    # registers in memory, each as 32 lanes side by side

    def _register(self, at: int) -> IR:
        return self.b.gep(self.matrix_memory(), [ir.Constant(I64, at)], source_etype=I8)

    def _put(self, values: list[Value]) -> int:
        """Returns where they end."""
        at = 0
        for value in values:
            self.b.store(self.vector(value), self._register(at), align=4)
            at += WARP * value.type.bytes
        return at

    def _got(self, at: int, type: Type, count: int) -> list[Value]:
        kind, size = self.ir_type(canonical(type), "v"), WARP * type.bytes
        return [
            Value(canonical(type), "v", self.b.load(self._register(at + i * size), typ=kind, align=4))
            for i in range(count)
        ]

    # rows of 8 x 8 matrices: lane l's is at byte 16 l, which is where the registers have it too

    def _only_rows(self, count: int) -> None:
        """Only lanes that point at a row take part."""
        if count < 4:
            self.narrow(self.icmp("ult", self.lane(), self.const(B32, 8 * count)))

    def _rows(self, name: str, checked: str, pointer: Value) -> None:
        memory = self._register(0)
        if self.check:
            sizes = [ir.Constant(I32, n) for n in (ROW, 1, WARP)]
            self._checked(checked, pointer, [memory, *sizes])
            return
        self._provided(name, _rows_text(name))
        self._spill("addresses", self.vector(pointer))
        self.call(name, ir.VoidType(), [self.scratch["addresses"], self.bits(self.mask), memory])

    def _transpose(self, count: int) -> None:
        self._provided(TRANSPOSE, transpose_text(TRANSPOSE))
        self.call(TRANSPOSE, ir.VoidType(), [self._register(0), ir.Constant(I64, count)])

    def _provided(self, name: str, text: str) -> None:
        self.extras[name] = text


def _rows_text(name: str) -> str:
    """`void name(ptr addresses, i32 mask, ptr rows)`: 16 bytes from, or to, each active lane's address."""
    there, here = ("%row", "%place") if name == WRITE_ROWS else ("%place", "%row")
    return (
        f'define void @"{name}"(ptr %addresses, i32 %mask, ptr %rows) {{\n'
        "entry:\n  br label %lanes\n"
        "lanes:\n"
        "  %lane = phi i32 [ 0, %entry ], [ %lane1, %next ]\n"
        "  %shifted = lshr i32 %mask, %lane\n  %bit = trunc i32 %shifted to i1\n"
        "  br i1 %bit, label %go, label %next\n"
        "go:\n"
        "  %ap = getelementptr i64, ptr %addresses, i32 %lane\n  %a = load i64, ptr %ap\n"
        "  %place = inttoptr i64 %a to ptr\n"
        "  %row = getelementptr <4 x i32>, ptr %rows, i32 %lane\n"
        f"  %v = load <4 x i32>, ptr {there}, align 1\n  store <4 x i32> %v, ptr {here}, align 1\n"
        "  br label %next\n"
        "next:\n  %lane1 = add i32 %lane, 1\n  %more = icmp ult i32 %lane1, 32\n"
        "  br i1 %more, label %lanes, label %out\n"
        "out:\n  ret void\n}\n"
    )
