"""Kernels of single instructions, made from the table's patterns, with the results tests.isa.scalar expects.

Every instruction gets its own columns of operand bits and of result bits; thread i computes element i.
Operands vary from thread to thread, or are the same for all, or consecutive, or immediate: the engine treats
each kind differently.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from llmptx.isa.form import Form, Modifiers, OperandSpec, modifier_values
from llmptx.ptx.types import PRED, Type
from llmptx.run.job import Buffer, Job, Launch
from tests.isa.run import SPECIAL, bits
from tests.isa.scalar import Lanes, Scalar, is_nan
from tests.isa.texts import forms, groups, operand_type

CHAPTERS = ("integer", "extended", "floating", "half", "compare", "logic", "convert", "narrow", "data")
ADDRESSES = ("cvta", "isspacep")  # what they give depends on where memory lies
BLOCK = 64
Kind = Literal["varying", "uniform", "consecutive", "immediate"]

HEAD = """.version 8.6
.target sm_90
.address_size 64
.visible .entry k(.param .u64 in0, .param .u64 out, .param .u64 n)
{
    .reg .b64 %in, %out, %i, %in1, %in2, %in4, %in8, %out1, %out2, %out4, %out8;
    .reg .b32 %tid, %cta, %t;
    .reg .b16 %flag;
    ld.param.u64 %in, [in0];
    ld.param.u64 %out, [out];
    mov.u32 %tid, %tid.x;
    mov.u32 %cta, %ctaid.x;
    mad.lo.u32 %t, %cta, 64, %tid;
    cvt.u64.u32 %i, %t;
"""
PLACES = "".join(
    f"    mad.lo.u64 %{name}{size}, %i, {size}, %{name};\n" for name in ("in", "out") for size in (1, 2, 4, 8)
)


def rows(chapter: str) -> list[Form]:
    """The chapter's rows whose meaning is in their registers alone."""
    return [
        f
        for f in forms()
        if f.chapter == chapter
        and f.opcode not in ADDRESSES
        and ".vec" not in f.pattern
        and all(o.kind == "value" for o in f.operands)
    ]


def suffixes(form: Form, cap: int) -> list[str]:
    """At most `cap` modifier texts of a row, drawn from all of them."""
    choices = groups(form.pattern)
    total = 1
    for options in choices:
        total *= len(options)
    draw = random.Random(form.pattern)
    if total <= 4096:
        all_of_them = [list(c) for c in itertools.product(*choices)]
        picked = draw.sample(all_of_them, min(cap, total))
    else:
        picked = [[draw.choice(o) for o in choices] for _ in range(cap)]
    texts = dict.fromkeys("".join("." + name for name in names if name) for names in picked)
    return [t for t in texts if form.regex.match(t) and ".b128" not in t]


# operands


def integers(width: int, draw: random.Random) -> int:
    """Extremes, small numbers (shift amounts among them), and any bits."""
    edges = [
        0,
        1,
        2,
        7,
        8,
        15,
        16,
        31,
        32,
        33,
        63,
        64,
        65,
        255,
        256,
        -1,
        -2,
        1 << width - 1,
        (1 << width - 1) - 1,
    ]
    value = draw.choice(edges) if draw.random() < 0.6 else draw.getrandbits(width)
    return value % (1 << width)


def _patterns(width: int) -> list[int]:
    """Bits of a float format's special values."""
    found = set()
    for value in [*SPECIAL, 2.0**31 - 1, 32767.5, -32768.5, 1 / 3]:
        try:
            found.add(bits(value, width))
        except OverflowError:
            continue
    top = 1 << width - 1
    infinite = bits(float("inf"), width)
    found |= {infinite | 1, infinite | top | 5, infinite - 1, infinite - 1 | top, 1, top | 1}
    return sorted(found)


PATTERNS = {width: _patterns(width) for width in (16, 32, 64)}
PATTERNS[17] = sorted({p >> 16 for p in PATTERNS[32]} | {0x7F81, 0x0001, 0x8001, 0x0080, 0x7F7F})  # bf16


def floats(width: int, draw: random.Random) -> int:
    """Special values, numbers near 1, and any bits; width 17 stands for bf16."""
    size = 16 if width == 17 else width
    choice = draw.random()
    if choice < 0.4:
        return draw.choice(PATTERNS[width])
    any_bits = draw.getrandbits(size)
    if choice < 0.7:
        return any_bits
    mantissa = {16: 10, 17: 7, 32: 23, 64: 52}[width]
    bias = (1 << size - mantissa - 2) - 1
    exponent = bias + draw.randint(-6, 40 if size > 16 else 6)
    return (any_bits & (1 << mantissa) - 1) | exponent << mantissa | draw.getrandbits(1) << size - 1


@dataclass(frozen=True)
class Source:
    """An operand: `bits`, one a thread, as they stand in the register; `text` where it is immediate."""

    spec: OperandSpec
    type: Type
    kind: Kind
    bits: tuple[int, ...]
    text: str = ""

    @property
    def register(self) -> Type:
        """The register that holds it: 16 bits at least."""
        return self.type if self.type == PRED else Type(self.type.kind, max(16, self.type.width))


def _format(suffix: str, type: Type) -> str:
    """How the bits of an operand are to be drawn."""
    names = suffix.split(".")
    if type.is_float:
        return f"f{type.bits}"
    for name in ("bf16x2", "f16x2"):
        if name in names and type.width == 32:
            return name
    if "bf16" in names and type.width == 16:
        return "bf16"
    return "int"


def _draw(form: str, width: int, draw: random.Random) -> int:
    if form in ("bf16x2", "f16x2"):
        half = 17 if form == "bf16x2" else 16
        return floats(half, draw) | floats(half, draw) << 16
    if form == "bf16":
        return floats(17, draw)
    return floats(width, draw) if form != "int" else integers(width, draw)


def source(
    spec: OperandSpec, suffix: str, type: Type, count: int, plain: bool, draw: random.Random
) -> Source:
    kinds: list[Kind] = ["varying"]
    if not plain:
        kinds = ["varying", "varying", "uniform"]
        if type.width >= 32:
            kinds.append("immediate")
        if type.kind in "bsu" and type.width >= 16:
            kinds.append("consecutive")
    kind = "immediate" if spec.name == "imm" else draw.choice(kinds)
    width = max(16, type.width) if type != PRED else 1
    form = _format(suffix, type)
    if kind == "varying":
        return Source(spec, type, kind, tuple(_draw(form, width, draw) for _ in range(count)))
    value = _draw(form, width, draw)
    if kind == "uniform":
        return Source(spec, type, kind, (value,) * count)
    if kind == "immediate":
        value &= 255 if spec.name == "imm" else (1 << width) - 1
        text = f"0{'f' if width == 32 else 'd'}{value:0{width // 4}X}" if type.is_float else str(value)
        return Source(spec, type, kind, (value,) * count, text)
    stride = draw.choice([1, 1, 2, 4, -1, 3, 256])
    steps = tuple((value + stride * (i % BLOCK)) % (1 << width) for i in range(count))
    return Source(spec, type, kind, steps, str(stride))


# instructions


@dataclass(frozen=True)
class Shot:
    """One instruction with its operands, and what it must give: for each destination, bits a thread.

    Where `guard` is false a destination keeps what it held `before`; its text is the guard's sign.
    """

    form: Form
    suffix: str
    sources: tuple[Source, ...]
    targets: tuple[Type, ...]
    paired: bool
    expected: tuple[tuple[int, ...], ...]
    guard: Source | None = None
    before: tuple[Source, ...] = ()

    def __str__(self) -> str:
        kinds = ", ".join(s.text or s.kind for s in self.sources)
        return f"{self.form.opcode}{self.suffix} ({kinds})"


def uses_carry(form: Form, suffix: str) -> tuple[bool, bool]:
    """(reads, writes) the condition code."""
    return form.opcode in ("addc", "subc", "madc"), "cc" in suffix.split(".")


def shot(form: Form, suffix: str, count: int, plain: bool, draw: random.Random) -> Shot:
    found = form.regex.match(suffix)
    assert found
    values = found.groupdict()
    specs = [o for o in form.operands if not o.destination]
    sources = [source(o, suffix, operand_type(o, values), count, plain, draw) for o in specs]
    first, *more = (o for o in form.operands if o.destination)
    paired = first.must_pair or (first.pair and draw.random() < 0.5)
    targets = [operand_type(first, values), *(operand_type(o, values) for o in more)]
    if paired:
        targets.append(PRED)
    reads, writes = uses_carry(form, suffix)
    if reads:
        carry = OperandSpec("carry", "value", "pred")
        sources.append(Source(carry, PRED, "varying", tuple(draw.getrandbits(1) for _ in range(count))))
    e = Scalar(lanes=count)
    if reads:
        e.set_carry(e.of(PRED, *sources[-1].bits))
    assert form.meaning
    arguments = [e.of(s.type, *s.bits) for s in sources if s.spec.name != "carry"]
    result = form.meaning(e, Modifiers(modifier_values(form, found)), *arguments)
    results: list[Lanes] = list(result) if isinstance(result, tuple) else [result]
    if first.pair and not paired:
        results = results[:1]
    if writes:
        targets.append(PRED)
        results.append(e.get_carry())
    bits_ = tuple(_extended(type, r) for type, r in zip(targets, results, strict=True))
    return Shot(form, suffix, tuple(sources), tuple(targets), paired, bits_)


def guarded(plain: Shot, draw: random.Random) -> Shot:
    """The same instruction under a predicate that holds for some threads."""
    count = len(plain.expected[0])
    spec = OperandSpec("guard", "value", "pred")
    sign = draw.choice(["", "!"])
    kind: Kind = draw.choice(["varying", "varying", "uniform"])
    flags = tuple(draw.getrandbits(1) for _ in range(count))
    guard = Source(spec, PRED, kind, flags if kind == "varying" else flags[:1] * count, sign)
    before = []
    expected = []
    for type, bits_ in zip(plain.targets, plain.expected, strict=True):
        width = 1 if type == PRED else max(16, type.width)
        old = Source(spec, type, "varying", tuple(draw.getrandbits(width) for _ in range(count)))
        before.append(old)
        taken = zip(guard.bits, bits_, old.bits, strict=True)
        expected.append(tuple(new if g != (sign == "!") else kept for g, new, kept in taken))
    return replace(plain, guard=guard, before=tuple(before), expected=tuple(expected))


def _extended(type: Type, value: Lanes) -> tuple[int, ...]:
    """As an at least 16-bit register holds it."""
    if type.width != 8:
        return value.bits
    return tuple(b | 0xFF00 if type.signed and b >> 7 else b for b in value.bits)


def shots(chapter: str, cap: int, count: int, seed: int = 0) -> Iterator[Shot]:
    """Every row, up to `cap` of its modifier texts: once with operands that vary, once with others too."""
    for form in rows(chapter):
        for suffix in suffixes(form, cap):
            draw = random.Random(f"{form.pattern}{suffix}{seed}")
            yield shot(form, suffix, count, True, draw)
            yield shot(form, suffix, count, False, draw)


# kernels


@dataclass
class Columns:
    """A buffer being laid out: columns of `count` elements, one after the other."""

    count: int
    size: int = 0
    parts: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)

    def add(self, width: int, data: tuple[int, ...] = ()) -> int:
        bytes_ = max(1, width // 8)
        at = self.size
        self.parts.append((at, bytes_, data))
        self.size += -(-bytes_ * self.count // 16) * 16
        return at

    def filled(self) -> np.ndarray:
        out = np.zeros(self.size, np.uint8)
        for at, bytes_, data in self.parts:
            column = np.array(data, f"<u{bytes_}")
            out[at : at + column.nbytes] = column.view(np.uint8)
        return out


def _class(type: Type) -> str:
    if type == PRED:
        return "pred"
    if type.kind == "f" and type.bits > 16:
        return f"f{type.bits}"
    return f"b{max(16, type.width)}"


class Kernel:
    """The text of one kernel and the buffers it wants."""

    def __init__(self, shots: Sequence[Shot], count: int) -> None:
        self.shots, self.count = list(shots), count
        self.inputs, self.outputs = Columns(count), Columns(count)
        self.columns: list[list[int]] = []
        self.lines: list[str] = []
        body = "".join(self._block(s) for s in self.shots)
        self.text = HEAD + PLACES + body + "    ret;\n}\n"

    def _block(self, shot: Shot) -> str:
        """The instruction between its loads and stores, in a scope of its own."""
        lines: list[str] = []
        names = []
        declared = []
        for i, s in enumerate(shot.sources):
            name = f"%s{i}"
            if s.kind == "immediate":
                names.append(s.text)
                continue
            declared.append(f".reg .{_class(s.type)} {name};")
            lines += self._fetch(s, name)
            names.append(name)
        targets = [f"%d{i}" for i in range(len(shot.targets))]
        declared += [f".reg .{_class(t)} {n};" for n, t in zip(targets, shot.targets, strict=True)]
        reads, writes = uses_carry(shot.form, shot.suffix)
        if reads:
            lines += [f"selp.u32 %t, 1, 0, {names.pop()};", "add.cc.u32 %t, %t, -1;"]
        plain = targets[:-1] if writes else targets
        first = f"{plain[0]}|{plain[1]}" if shot.paired else ", ".join(plain)
        guard = ""
        if shot.guard:
            declared.append(".reg .pred %g;")
            lines += self._fetch(shot.guard, "%g")
            for old, name in zip(shot.before, targets, strict=True):
                lines += self._fetch(old, name)
            guard = f"@{shot.guard.text}%g "
        if shot.guard and writes:
            # The flag is a destination like any other: before, it is what the guarded instruction must keep.
            lines += [f"selp.u32 %t, 1, 0, {targets[-1]};", "@!%g add.cc.u32 %t, %t, -1;"]
            lines[-1] = lines[-1].replace("!", "" if shot.guard.text else "!")
        lines.append(f"{guard}{shot.form.opcode}{shot.suffix} {', '.join([first, *names])};")
        if writes:
            lines += ["addc.u32 %t, 0, 0;", f"setp.ne.u32 {targets[-1]}, %t, 0;"]
        places = []
        for name, type in zip(targets, shot.targets, strict=True):
            store, at = self._store(name, type)
            lines += store
            places.append(at)
        self.columns.append(places)
        return "    {\n" + "".join(f"        {line}\n" for line in [*declared, *lines]) + "    }\n"

    def _fetch(self, s: Source, name: str) -> list[str]:
        width = s.register.width
        if s.kind == "consecutive":
            start, stride = s.bits[0], int(s.text)
            wide = "wide.s32" if width == 64 else "lo.u32"
            step = f"%s64_{name[2:]}" if width == 64 else "%t"
            lines = [f".reg .b64 {step};"] if width == 64 else []
            lines.append(f"mul.{wide} {step}, %tid, {stride};")
            if width == 16:
                return [*lines, f"add.u32 %t, %t, {start};", f"cvt.u16.u32 {name}, %t;"]
            return [*lines, f"add.u{width} {name}, {step}, {start};"]
        bytes_ = max(1, width // 8)
        at = self.inputs.add(width, s.bits)
        place = f"[%in{bytes_}+{at}]" if s.kind == "varying" else f"[%in+{at}]"
        if s.type == PRED:
            return [f"ld.global.u8 %flag, {place};", f"setp.ne.u16 {name}, %flag, 0;"]
        return [f"ld.global.{_class(s.type)} {name}, {place};"]

    def _store(self, name: str, type: Type) -> tuple[list[str], int]:
        width = 8 if type == PRED else max(16, type.width)
        at = self.outputs.add(width)
        place = f"[%out{width // 8}+{at}]"
        if type == PRED:
            return [f"selp.u16 %flag, 1, 0, {name};", f"st.global.u8 {place}, %flag;"], at
        return [f"st.global.{_class(type)} {place}, {name};"], at

    def job(self, width: Literal[1, 32], check: bool = False) -> Job:
        data = self.inputs.filled()
        buffers = (
            Buffer("in0", "uint8", data.size, "input", data),
            Buffer("out", "uint8", self.outputs.size, "output"),
        )
        launch = Launch("k", (self.count // BLOCK, 1, 1), (BLOCK, 1, 1), ("in0", "out", self.count))
        return Job(self.text, (launch,), buffers, width=width, check=check)

    def wrong(self, out: np.ndarray) -> list[str]:
        """What differs from the expected results: the first element of each instruction's destination."""
        found = []
        for shot, places in zip(self.shots, self.columns, strict=True):
            for at, type, want in zip(places, shot.targets, shot.expected, strict=True):
                bytes_ = 1 if type == PRED else max(2, type.bytes)
                got = out[at : at + bytes_ * self.count].view(f"<u{bytes_}").tolist()
                bad = [i for i in range(self.count) if not same(shot, i, type, got[i], want[i])]
                if bad:
                    i = bad[0]
                    operands = ", ".join(f"{s.bits[i]:#x}" for s in shot.sources)
                    found.append(f"{shot}: {len(bad)} wrong; of {operands} got {got[i]:#x}, not {want[i]:#x}")
        return found


EXACT_BITS = ("mov", "selp", "slct", "prmt")
# In f64 the manual promises a few ULP at most, and of the coarse forms the upper half only.
LOOSE = re.compile(r"rsqrt\.approx\.f64|r(sqrt|cp)\.approx\.ftz\.f64")
PROMISED = bits(314.0, 32)  # about 100 pi: sine and cosine of more are only some number in [-1, 1]


def same(shot: Shot, i: int, type: Type, got: int, want: int) -> bool:
    """Bit for bit; of f64, whose payloads a chip may keep, NaN by class where bits are not only moved."""
    if got == want:
        return True
    if shot.form.opcode in EXACT_BITS:
        return False
    if type.is_float:
        if is_nan(want, type.width):
            return type.width == 64 and is_nan(got, type.width)
        if shot.form.opcode in ("sin", "cos") and shot.sources[0].bits[i] & 0x7FFFFFFF > PROMISED:
            return got & 0x7FFFFFFF <= 0x3F800000
        text = shot.form.opcode + shot.suffix
        return bool(LOOSE.fullmatch(text)) and abs(got - want) <= (1 << 32 if "ftz" in text else 1)
    return False
