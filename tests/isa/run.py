"""Runs one row of the table on the scalar emitter: bits in, bits out."""

from __future__ import annotations

import re
import struct

from hypothesis import strategies as st

from llmptx.isa import table
from llmptx.isa.form import Form, Modifiers, modifier_values
from llmptx.ptx.types import Type
from tests.isa.scalar import Lanes, Scalar
from tests.isa.texts import operand_type

ADDRESS = Type("b", 64)


def row(head: str, sources: int) -> tuple[Form, re.Match[str]]:
    """The one row of an opcode with modifiers (`add.sat.s32`) and that many sources."""
    opcode, _, rest = head.partition(".")
    suffix = f".{rest}" if rest else ""
    rows = [
        (form, found)
        for form in table()[opcode]
        if (found := form.regex.match(suffix)) and sum(not o.destination for o in form.operands) == sources
    ]
    assert len(rows) == 1, (head, [form.pattern for form, _ in rows])
    return rows[0]


def run_lanes(head: str, *sources: Lanes, emitter: Scalar) -> Lanes | tuple[Lanes, ...] | list[Lanes] | None:
    """The meaning's own result."""
    form, found = row(head, len(sources))
    assert form.meaning
    return form.meaning(emitter, Modifiers(modifier_values(form, found)), *sources)  # type: ignore[no-any-return]


def run(head: str, *sources: int, emitter: Scalar | None = None) -> int | tuple[int, ...]:
    """Of one lane: from the sources' bits (negative ones too) to the destination's, or both destinations'."""
    e = emitter or Scalar()
    form, found = row(head, len(sources))
    specs = [spec for spec in form.operands if not spec.destination]
    types = [ADDRESS if spec.kind == "memory" else operand_type(spec, found.groupdict()) for spec in specs]
    values = [e.of(type, bits) for type, bits in zip(types, sources, strict=True)]
    result = run_lanes(head, *values, emitter=e)
    targets = [spec for spec in form.operands if spec.destination]
    if isinstance(result, tuple):
        return tuple(v.bits[0] for v in result)
    assert isinstance(result, Lanes), f"{head} gave {result}"
    wanted = operand_type(targets[0], found.groupdict())
    assert (result.type.width, result.type.is_float) == (wanted.width, wanted.is_float), (
        f"{head}: {result.type}"
    )
    return result.bits[0]


# floats by their bits

_CODES = {16: "<e", 32: "<f", 64: "<d"}


def bits(value: float, width: int) -> int:
    """Of a float that the format holds exactly."""
    return int.from_bytes(struct.pack(_CODES[width], value), "little")


def number(pattern: int, width: int) -> float:
    return float(struct.unpack(_CODES[width], pattern.to_bytes(width // 8, "little"))[0])


SPECIAL = [
    0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.0, 0.1, 127.5, 255.5, 256.0, -129.0, 65504.0,
    2.0**31, -(2.0**31), 2.0**32, 2.0**63, -(2.0**63), 2.0**64, 2.0**-14, 2.0**-24, 2.0**-126, 2.0**-127,
    -(2.0**-149), 2.0**126, 2.0**127, 3.4028234663852886e38, 2.0**-1022, 5e-324, 1.7976931348623157e308,
    float("inf"), float("-inf"), float("nan"),
]  # fmt: skip


def floats(width: int) -> st.SearchStrategy[int]:
    """Bits of floats: the ones that break things, and any."""
    special = set()
    for value in SPECIAL:
        try:
            special.add(bits(value, width))
        except OverflowError:
            continue
    special |= {bits(float("nan"), width) | 1, bits(float("-inf"), width) | 5}
    return st.one_of(st.sampled_from(sorted(special)), st.integers(0, (1 << width) - 1))


def integers(width: int) -> st.SearchStrategy[int]:
    """Bits of integers: the extremes, and any."""
    edges = [
        0,
        1,
        2,
        (1 << width) - 1,
        (1 << width) - 2,
        1 << width - 1,
        (1 << width - 1) - 1,
        (1 << width - 1) + 1,
    ]
    return st.one_of(st.sampled_from(edges), st.integers(0, (1 << width) - 1))


def signed(value: int, width: int) -> int:
    value &= (1 << width) - 1
    return value - (1 << width) if value >> width - 1 else value
