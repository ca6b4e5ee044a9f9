"""Functions of 32 bits tried on all 2^32 values beside one of them: where answers differ, and by how much.

All run side by side in one kernel, which counts the values itself and keeps, of 64 at a time, only how far
answers lie apart: a nanosecond or two a value. Where they differ at all, a second kernel tells the values.
Knows no routine, and not which function is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmptx.ptx.printer import print_statement
from llmptx.run.job import Array, Buffer, Job, Launch, Outcome, consecutive
from llmptx.verify.cut import Cut, renamed

TOTAL = 1 << 32
CHUNK = 1 << 20
GROUP = 64
SECONDS = 60.0
# How far apart answers are that no number of steps leads from one to the other: NaN, the other zero.
UNLIKE = 0xFFFFFFFF
_BLOCK = 256

Run = Callable[[Job, float], Outcome]
Approx = Literal["exact", "low", "high"]

# Floats are counted from zero, as `verify.exhaustive` does: neighbours differ by one.
_FLOATS_APART = """
    and.b32 %m, %given_a, 0x7FFFFFFF;
    and.b32 %w, %given_b, 0x7FFFFFFF;
    setp.gt.u32 %p, %m, 0x7F800000;
    setp.gt.u32 %q, %w, 0x7F800000;
    and.pred %both, %p, %q;
    or.pred %either, %p, %q;
    or.b32 %z, %m, %w;
    setp.eq.u32 %p, %z, 0;
    setp.ne.u32 %q, %given_a, %given_b;
    and.pred %p, %p, %q;
    or.pred %either, %either, %p;
    shr.s32 %s, %given_a, 31;
    xor.b32 %m, %m, %s;
    sub.s32 %m, %m, %s;
    shr.s32 %s, %given_b, 31;
    xor.b32 %w, %w, %s;
    sub.s32 %w, %w, %s;
    max.s32 %z, %m, %w;
    min.s32 %s, %m, %w;
    sub.s32 %d, %z, %s;
    selp.b32 %d, 0xFFFFFFFF, %d, %either;
    selp.b32 %d, 0, %d, %both;
"""
_BITS_APART = """
    and.b32 %m, %given_a, MASK;
    and.b32 %w, %given_b, MASK;
    setp.ne.u32 %p, %m, %w;
    selp.b32 %d, 0xFFFFFFFF, 0, %p;
"""
_COARSE = """
.version 8.0
.target sm_80
.address_size 64
TABLES
.visible .entry sweep(.param .u64 first, PARAMETERS)
{
    .reg .pred %p, %q, %both, %either, %more;
    .reg .b32 %t, %m, %w, %z, %s, %d, %value, %round;
    .reg .b64 %i, %at, %address;
DECLARED
    mov.u32 %t, %ctaid.x;
    mov.u32 %m, %tid.x;
    mad.lo.u32 %t, %t, BLOCK, %m;
    cvt.u64.u32 %i, %t;
    ld.param.u64 %at, [first];
    mad.lo.u64 %at, %i, GROUP, %at;
    cvt.u32.u64 %value, %at;
    shl.b64 %i, %i, 2;
    mov.u32 %round, GROUP;
NEXT_VALUE:
COMPUTED
    add.u32 %value, %value, 1;
    sub.u32 %round, %round, 1;
    setp.ne.u32 %more, %round, 0;
    @%more bra NEXT_VALUE;
STORED
    ret;
}
"""
_KERNEL = """
.version 8.0
.target sm_80
.address_size 64
TABLES
.visible .entry twins(.param .u64 apart, .param .u64 answers, .param .u64 first)
{
    .reg .pred %p, %q, %both, %either;
    .reg .b32 %t, %m, %w, %z, %s, %d, %value;
    .reg .b64 %i, %at, %address;
ONE
OTHER
    mov.u32 %t, %ctaid.x;
    mov.u32 %m, %tid.x;
    mad.lo.u32 %t, %t, BLOCK, %m;
    cvt.u64.u32 %i, %t;
    ld.param.u64 %at, [first];
    add.u64 %at, %at, %i;
    cvt.u32.u64 %value, %at;
    shl.b64 %i, %i, 2;
COMPUTED
APART
    ld.param.u64 %address, [apart];
    add.u64 %address, %address, %i;
    st.global.u32 [%address], %d;
    ld.param.u64 %address, [answers];
    add.u64 %address, %address, %i;
    st.global.u32 [%address], %given_b;
    ret;
}
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """Values on which two functions differ, a few of a chunk at a time.

    values   that were loaded, as the kernel's type
    answers  the other function's, as bits
    steps    floats between the two answers; UNLIKE where no number says it
    """

    values: Array
    answers: NDArray[np.uint32]
    steps: NDArray[np.uint32]


class NoAnswerError(Exception):
    """The two functions could not be run on all values; str() says why."""


def comparable(one: Cut, other: Cut) -> bool:
    """Whether two cuts are of one frame and of 32 bits, so that trying all values decides between them."""
    plain = one.takes_type.width == 32 and one.gives_type.width in (8, 32)
    return plain and _shared(one) == _shared(other)


def _shared(part: Cut) -> tuple[object, ...]:
    """What two cuts must agree in: where tables are read, which elements too, for nothing bounds them."""
    return part.frame, part.takes, part.before, part.tables, part.lookups


def text(one: Cut, other: Cut) -> str:
    """The kernel that tells where two differ, value by value."""
    declared, computed = _side_by_side([one, other])
    parts = {"TABLES": _tables(one), "ONE": declared, "OTHER": "", "COMPUTED": computed}
    parts["APART"] = _apart(one, "%given_a", "%given_b", "%d")
    return _filled(_KERNEL, parts)


def coarse(one: Cut, others: Sequence[Cut]) -> str:
    """The kernel that tells whether others differ from one in any of each 64 values."""
    declared, computed = _side_by_side([one, *others])
    names = [_suffix(number) for number in range(1, len(others) + 1)]
    declared += "".join(f"\n.reg .b32 %most{n};\nmov.u32 %most{n}, 0;" for n in names)
    computed += "".join(
        _apart(one, "%given_a", f"%given{n}", "%d") + f"\nmax.u32 %most{n}, %most{n}, %d;" for n in names
    )
    place = "add.u64 %address, %address, %i;"
    stored = "\n".join(
        f"ld.param.u64 %address, [out{n}];\n{place}\nst.global.u32 [%address], %most{n};" for n in names
    )
    parts = {"TABLES": _tables(one), "DECLARED": declared, "COMPUTED": computed, "STORED": stored}
    return _filled(_COARSE, parts).replace("PARAMETERS", ", ".join(f".param .u64 out{n}" for n in names))


def _suffix(number: int) -> str:
    return f"_{chr(ord('a') + number)}"


def _side_by_side(cuts: Sequence[Cut]) -> tuple[str, str]:
    """Registers, and statements that work out every cut's answer to %value."""
    declared: list[str] = []
    computed: list[str] = []
    for number, part in enumerate(cuts):
        registers, statements, takes = renamed(part, _suffix(number))
        declared += registers
        computed += [f"mov.b32 {takes}, %value;", *statements]
    return "\n".join(declared), "\n".join(computed)


def _apart(one: Cut, a: str, b: str, result: str) -> str:
    apart = _FLOATS_APART
    if not one.gives_type.is_float:
        apart = _BITS_APART.replace("MASK", "0xFF" if one.gives_type.width == 8 else "0xFFFFFFFF")
    return apart.replace("%given_a", a).replace("%given_b", b).replace("%d,", f"{result},")


def _tables(one: Cut) -> str:
    return "\n".join(print_statement(table) for table in one.tables)


def _filled(kernel: str, parts: Mapping[str, str]) -> str:
    kernel = kernel.replace("BLOCK", str(_BLOCK)).replace("GROUP", str(GROUP))
    for name, lines in parts.items():
        kernel = kernel.replace(f"\n{name}\n", f"\n{lines}\n")
    return kernel


def affected(
    one: Cut, others: Sequence[Cut], run: Run, approx: Approx = "exact", span: tuple[int, int] = (0, TOTAL)
) -> list[list[int]]:
    """For each of the others, the first patterns of the chunks in which it differs from `one` at all.

    span  of bit patterns, multiples of CHUNK * GROUP. Raises NoAnswerError.
    """
    kernel = coarse(one, others)
    names = [f"out{_suffix(number)}" for number in range(1, len(others) + 1)]
    buffers = tuple(Buffer(name, "uint32", CHUNK, "output") for name in names)
    found: list[list[int]] = [[] for _ in others]
    for first in range(*span, CHUNK * GROUP):
        launch = Launch("sweep", (CHUNK // _BLOCK, 1, 1), (_BLOCK, 1, 1), (first, *names))
        outcome = _answered(run(Job(kernel, (launch,), buffers, approx=approx, keep=True), SECONDS), first)
        for chunks, name in zip(found, names, strict=True):
            differ = outcome.buffers[name].reshape(GROUP, -1).any(axis=1)
            chunks += [first + CHUNK * int(place) for place in np.flatnonzero(differ)]
    return found


def differences(
    one: Cut, other: Cut, run: Run, chunks: Iterable[int], approx: Approx = "exact"
) -> Iterator[Difference]:
    """Every value of these chunks on which two comparable cuts differ. Raises NoAnswerError."""
    kernel = text(one, other)
    buffers = tuple(Buffer(name, "uint32", CHUNK, "output") for name in ("apart", "answers"))
    for first in chunks:
        launch = Launch("twins", (CHUNK // _BLOCK, 1, 1), (_BLOCK, 1, 1), ("apart", "answers", first))
        outcome = _answered(run(Job(kernel, (launch,), buffers, approx=approx, keep=True), SECONDS), first)
        apart = outcome.buffers["apart"]
        places = np.flatnonzero(apart)
        values = consecutive(first, CHUNK, _dtype(one))[places]
        yield Difference(values, outcome.buffers["answers"][places], apart[places])


def _answered(outcome: Outcome, first: int) -> Outcome:
    if outcome.status != "ok":
        said = outcome.findings[0].message if outcome.findings else outcome.status
        raise NoAnswerError(f"from 0x{first:08x}: {said}")
    return outcome


def _dtype(part: Cut) -> str:
    return "float32" if part.takes_type.is_float else "int32"
