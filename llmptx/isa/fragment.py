"""Matrices spread over the registers of a warp: which element each lane holds where (PTX ISA 9.7.14.4-5).

Knows positions and types; nothing of memory or arithmetic. A fragment's elements are counted through a lane's
registers, low bits first: element i of 16 bits is half i % 2 of register i // 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from llmptx.ptx.types import Type

WARP = 32
BITS = {
    "f16": 16, "bf16": 16, "tf32": 32, "f32": 32, "f64": 64, "e4m3": 8, "e5m2": 8,
    "u8": 8, "s8": 8, "u4": 4, "s4": 4, "b1": 1, "s32": 32,
}  # fmt: skip
_REGISTERS = {"f32": Type("f", 32), "f64": Type("f", 64), "s32": Type("s", 32)}

Place = tuple[int, int, int]


@dataclass(frozen=True)
class Fragment:
    """A matrix of `rows` x `cols` (or `matrices` of them) in `registers` registers of each lane.

    place(lane, i) is (matrix, row, column) of a lane's element i; some layouts hold an element several times.
    """

    element: str
    rows: int
    cols: int
    registers: int
    place: Callable[[int, int], Place]
    matrices: int = 1

    @property
    def type(self) -> Type:
        """Of a register."""
        return _REGISTERS.get(self.element, Type("b", 32))

    @property
    def packed(self) -> int:
        """Elements in a register."""
        return self.type.bits // BITS[self.element]

    @property
    def held(self) -> int:
        """Elements a lane holds."""
        return self.registers * self.packed

    @cached_property
    def sources(self) -> dict[Place, tuple[int, int]]:
        """(lane, i) that holds an element: the first, where several do."""
        found: dict[Place, tuple[int, int]] = {}
        for lane in range(WARP):
            for i in range(self.held):
                found.setdefault(self.place(lane, i), (lane, i))
        return found


@dataclass(frozen=True)
class Product:
    """d = a b + c on fragments.

    name      tells it from every other
    op        what stands for a product: mul, or xor or and (of bits, counted)
    rnd       rounding of f64
    saturate  clamp integers instead of wrapping
    """

    name: str
    a: Fragment
    b: Fragment
    c: Fragment
    d: Fragment
    op: str = "mul"
    rnd: str = "rn"
    saturate: bool = False


def sizes(shape: str) -> tuple[int, int, int]:
    """(m, n, k) of `m16n8k16`."""
    m, _, rest = shape[1:].partition("n")
    n, _, k = rest.partition("k")
    return int(m), int(n), int(k)


# mma: one rule for every shape but Volta's. Group lane // 4 has a row of A and a column of B, of which each
# of its four lanes holds a register's worth side by side; 8 more rows, then more columns, in more registers.


def mma_a(shape: str, element: str) -> Fragment:
    m, _, k = sizes(shape)
    tall = m // 8
    packed = max(1, 32 // BITS[element])

    def place(lane: int, i: int) -> Place:
        register, within = divmod(i, packed)
        return 0, lane // 4 + 8 * (register % tall), (register // tall * 4 + lane % 4) * packed + within

    return Fragment(element, m, k, tall * k // (4 * packed), place)


def mma_b(shape: str, element: str) -> Fragment:
    _, n, k = sizes(shape)
    packed = max(1, 32 // BITS[element])

    def place(lane: int, i: int) -> Place:
        register, within = divmod(i, packed)
        return 0, (register * 4 + lane % 4) * packed + within, lane // 4

    return Fragment(element, k, n, k // (4 * packed), place)


def mma_c(shape: str, element: str) -> Fragment:
    m, n, _ = sizes(shape)

    def place(lane: int, i: int) -> Place:
        return 0, lane // 4 + 8 * (i // 2), lane % 4 * 2 + i % 2

    return Fragment(element, m, n, m // 4 // (2 if element == "f16" else 1), place)


# mma.m8n8k4 of f16: lanes 4q to 4q + 3 and the four 16 above them have matrices of their own, q = 0 to 3


def volta_a(layout: str) -> Fragment:
    def place(lane: int, i: int) -> Place:
        high = 4 * (lane // 16)
        row, col = (lane % 4, i) if layout == "row" else (i, lane % 4)
        return lane % 16 // 4, row + high, col

    return Fragment("f16", 8, 4, 2, place, 4)


def volta_b(layout: str) -> Fragment:
    def place(lane: int, i: int) -> Place:
        high = 4 * (lane // 16)
        row, col = (lane % 4, i) if layout == "row" else (i, lane % 4)
        return lane % 16 // 4, row, col + high

    return Fragment("f16", 4, 8, 2, place, 4)


def volta_c(element: str) -> Fragment:
    def place(lane: int, i: int) -> Place:
        high = 4 * (lane // 16)
        if element == "f16":
            return lane % 16 // 4, lane % 4 + high, i
        return lane % 16 // 4, (lane & 1) + (i & 2) + high, (i & 4) + (lane & 2) + (i & 1)

    return Fragment(element, 8, 8, 4 if element == "f16" else 8, place, 4)


# wmma: the manual leaves it open who holds what. Here elements are dealt out in the order of memory, as many
# to a lane as it has room for, again from the first where there is more room than elements; so a matrix that
# was loaded as .row and is multiplied as .col is wrong here too.


def _dealt(element: str, rows: int, cols: int, registers: int, layout: str) -> Fragment:
    held = registers * (64 if element == "f64" else 32) // BITS[element]

    def place(lane: int, i: int) -> Place:
        number = (lane * held + i) % (rows * cols)
        if layout == "row":
            return 0, *divmod(number, cols)
        col, row = divmod(number, rows)
        return 0, row, col

    return Fragment(element, rows, cols, registers, place)


def wmma(matrix: str, shape: str, element: str, layout: str = "row") -> Fragment:
    """matrix: a, b or c. Accumulators have no layout of their own."""
    m, n, k = sizes(shape)
    if matrix == "c":
        return _dealt(element, m, n, m * n // WARP // (2 if element == "f16" else 1), "row")
    rows, cols = (m, k) if matrix == "a" else (k, n)
    # f16 has eight registers whatever the shape
    registers = 8 if element == "f16" else max(1, rows * cols * BITS[element] // (32 * WARP))
    if element == "f64":
        registers = 1
    return _dealt(element, rows, cols, registers, layout)
