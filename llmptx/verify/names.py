"""Values of a kernel that are numbers, or names for what is not known: the same name for the same thing.

Numbers are computed, sums of whole numbers are put in one order, operands that commute too; of all else only
equality is known. Knows neither threads nor memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from llmptx.ptx.ast import Instruction
from llmptx.verify.terms import computed, extended, types_of, widths


class Name:
    """What is not known, or comes of what is not: the same object for the same thing."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[Any, ...]) -> None:
        self.key = key


Value = int | Name
# Of one register, thread by thread.
Lanes = list[Value]


class Names:
    """Every name there is, so that equal things are one object."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Name] = {}
        self.order: dict[Name, int] = {}

    def name(self, *key: Any) -> Name:
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Name(key)
            self.order[found] = len(self.order)
        return found

    def sum(self, width: int, values: Sequence[Value]) -> Value:
        """Of whole numbers, in any order."""
        terms: list[Name] = []
        constant = 0
        for value in values:
            if isinstance(value, int):
                constant += value
            elif value.key[0] == "sum" and value.key[1] == width:
                constant += value.key[2]
                terms += value.key[3:]
            else:
                terms.append(value)
        constant &= (1 << width) - 1
        if not terms:
            return constant
        if len(terms) == 1 and not constant:
            return terms[0]
        return self.name("sum", width, constant, *sorted(terms, key=self.order.__getitem__))

    def gathered(self, what: tuple[str, tuple[str, ...]], values: Sequence[Value]) -> Value:
        """Of an operation on whole numbers that asks neither for order nor for how often."""
        parts: list[Value] = []
        for value in values:
            same = isinstance(value, Name) and value.key[:2] == what
            parts += value.key[2:] if same else [value]  # type: ignore[union-attr]
        once = tuple(dict.fromkeys(self.ordered(parts)))
        return once[0] if len(once) == 1 else self.name(*what, *once)

    def ordered(self, values: Sequence[Value]) -> tuple[Value, ...]:
        return tuple(sorted(values, key=lambda v: (0, v) if isinstance(v, int) else (1, self.order[v])))


def source_lane(how: str, lane: int, distance: int, segment: int) -> tuple[int, bool]:
    """The lane a shuffle reads, and whether it is within the segment."""
    mask, clamp = segment >> 8 & 31, segment & 31
    last, first = (lane & mask) | (clamp & ~mask), lane & mask
    source = {
        "up": lane - distance,
        "down": lane + distance,
        "bfly": lane ^ distance,
        "idx": first | (distance & ~mask & 31),
    }[how]
    within = source >= last if how == "up" else source <= last
    return (source, True) if within else (lane, False)


@lru_cache(maxsize=1 << 18)
def number(opcode: str, modifiers: tuple[str, ...], values: tuple[int, ...], width: int) -> int | None:
    """The result of whole numbers, by the rules of `terms`; None where those say nothing."""
    import z3

    instruction = Instruction(opcode, modifiers, ())
    types = types_of(instruction)
    if any(t.is_float for t in types):
        return values[0] if opcode == "mov" else None
    sizes = widths(instruction, types[-1], len(values))
    terms = [z3.BitVecVal(v, w) for v, w in zip(values, sizes, strict=True)]
    result = extended(computed(instruction, types, terms), types[0], width)
    if opcode == "setp":
        result = computed(instruction, types, terms)
    if result is None:
        return None
    simple = z3.simplify(result)
    return int(simple.as_long()) if z3.is_bv_value(simple) else None
