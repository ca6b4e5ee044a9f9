"""Shuffles, votes, matches, reductions, atomics against the scalar reference, of whole and partial warps."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from llmptx.isa.form import Form, Modifiers, modifier_values
from llmptx.ptx.types import PRED, Type
from llmptx.run.job import Outcome
from tests.engine.launching import HEAD, entry, every_way, outcome, result
from tests.isa.scalar import Lanes, Scalar
from tests.isa.texts import forms, modifiers

B32, B64 = Type("b", 32), Type("b", 64)
ALL = 0xFFFFFFFF
OPCODES = ("shfl", "vote", "match", "redux", "activemask")


def meaning(text: str, sources: int) -> tuple[Form, Modifiers]:
    """The row of an instruction's head, by its number of sources."""
    opcode, _, rest = text.partition(".")
    for form in forms():
        found = form.regex.match(f".{rest}") if form.opcode == opcode else None
        if found and sum(not o.destination for o in form.operands) == sources:
            return form, Modifiers(modifier_values(form, found))
    raise AssertionError(text)


def expected(text: str, active: int, sources: list[Lanes]) -> list[Lanes]:
    form, values = meaning(text, len(sources))
    assert form.meaning
    got = form.meaning(Scalar(32, active), values, *sources)
    return list(got) if isinstance(got, tuple) else [got]


def heads() -> list[tuple[str, bool]]:
    """(instruction without operands, whether a pair may stand as its destination)."""
    out = {}
    for form in forms():
        if form.opcode in OPCODES:
            for suffix in modifiers(form.pattern):
                out[form.opcode + suffix] = form.operands[0].pair
    return sorted(out.items())


def operands(head: str, active: int, uniform: bool, draw: random.Random) -> list[tuple[Lanes, str]]:
    """Values for a row's sources and how each is written: `r` in a register, else as it stands."""
    e = Scalar(32)

    def lanes(type: Type, *bits: int) -> tuple[Lanes, str]:
        return e.of(type, *bits), "r"

    mask = (e.of(B32, active), "r" if draw.random() < 0.3 else str(active))
    wide = B64 if head.endswith("64") else B32
    few = [draw.getrandbits(wide.bits) for _ in range(2)]
    values = [draw.choice(few) for _ in range(32)]
    if head.startswith("activemask"):
        return []
    if head.startswith("vote"):
        given = [lanes(PRED, *(draw.choice([0, 0, 1]) for _ in range(32)))]
        return [*given, mask] if ".sync" in head else given
    if head.startswith("match"):
        return [lanes(wide, *(values if draw.random() < 0.7 else values[:1])), mask]
    if head.startswith("redux"):
        return [lanes(B32, *(draw.getrandbits(32) for _ in range(32))), mask]
    width = draw.choice([32, 32, 16, 8, 4, 2, 1])
    clamp = (32 - width) << 8 | (0 if ".up" in head else 31)
    step = draw.randrange(width) if uniform else 0
    steps = [step] * 32 if uniform else [draw.randrange(32) for _ in range(32)]
    if ".idx" in head and draw.random() < 0.5:
        steps = [s + 64 for s in steps]
    written = str(steps[0]) if uniform and draw.random() < 0.5 else "r"
    b = (e.of(B32, *steps), written)
    c = (e.of(B32, clamp), "r" if draw.random() < 0.5 else str(clamp))
    given = [lanes(B32, *(draw.getrandbits(32) for _ in range(32))), b, c]
    return [*given, mask] if ".sync" in head else given


CLASSES = {1: "pred", 32: "b32", 64: "b64"}


class Warp:
    """A kernel of one warp: instructions under masks, operands from columns of in0, results to out."""

    def __init__(self) -> None:
        self.body = ""
        self.data: list[int] = []
        self.wanted: list[tuple[str, int, list[int]]] = []

    def _column(self, values: Lanes, name: str) -> str:
        at = 8 * len(self.data)
        self.data += values.bits
        kind = CLASSES[values.type.width]
        if kind == "pred":
            return f"    ld.global.u32 %t, [%in0+{at}];\n    setp.ne.u32 {name}, %t, 0;\n"
        return f"    ld.global.{kind} {name}, [%in0+{at}];\n"

    def add(
        self, head: str, pair: bool, active: int, uniform: bool, branch: bool, draw: random.Random
    ) -> None:
        given = operands(head, active, uniform, draw)
        results = expected(head, active, [v for v, _ in given])
        results = results[: 2 if pair else 1]
        number = len(self.wanted)
        lines, names, declared = "", [], ""
        for i, (value, text) in enumerate(given):
            if text == "r":
                declared += f"    .reg .{CLASSES[value.type.width]} %s{i};\n"
                lines += self._column(value, f"%s{i}")
                text = f"%s{i}"
            names.append(text)
        first = results[0].type
        target = "%d0|%d1" if pair else "%d0"
        operation = f"{head} {', '.join([target, *names])};\n"
        declared += f"    .reg .{CLASSES[first.width]} %d0;\n    .reg .pred %d1;\n"
        lines += "    mov.pred %d1, 0;\n" if pair else ""
        if active != ALL:
            lines += f"    setp.ne.u32 %here, %lane, 99;\n    shr.u32 %t, {active}, %lane;\n"
            lines += "    and.b32 %t, %t, 1;\n    setp.eq.u32 %here, %t, 1;\n"
            lines += f"    @!%here bra L{number};\n    {operation}" if branch else f"    @%here {operation}"
        else:
            lines += f"    {operation}"
        for i, r in enumerate(results):
            at = 256 * len(self.wanted)
            if r.type == PRED:
                lines += f"    selp.u32 %t, 1, 0, %d{i};\n    st.global.u32 [%out+{at}], %t;\n"
            else:
                lines += f"    st.global.u32 [%out+{at}], %d{i};\n"
            self.wanted.append((f"{head} under {active:#x}", active, self._checked(head, active, given, r)))
        if active != ALL:
            lines += f"L{number}:\n" if branch else ""
        # Threads one at a time are together again only where they wait for each other.
        self.body += "    {\n    bar.warp.sync -1;\n" + declared + lines + "    }\n"

    @staticmethod
    def _out(ran: Outcome) -> np.ndarray:
        """Lanes that take no part store what nothing defines, which checked mode rightly says."""
        assert {f.kind for f in ran.findings} <= {"unset-register", "invalid-shuffle"}, ran.findings
        return ran.buffers["out"]

    def _checked(self, head: str, active: int, given: list[tuple[Lanes, str]], r: Lanes) -> list[int]:
        """-1 where the result is not defined: of lanes that do not take part, and from such lanes."""
        e = Scalar(32)
        defined = [bool(active >> i & 1) for i in range(32)]
        if head.startswith("shfl"):
            sources = [v for v, _ in given]
            number = e.of(B32, *range(32))
            whence = expected(head, active, [number, *sources[1:]])[0].bits
            defined = [d and bool(active >> j & 1) for d, j in zip(defined, whence, strict=True)]
        return [b if d else -1 for b, d in zip(r.bits, defined, strict=True)]

    def run(self, width: Any, check: bool) -> list[str]:
        text = entry(
            "    .reg .b32 %t, %lane;\n    .reg .pred %here;\n    .reg .b64 %w;\n"
            "    mov.u32 %lane, %laneid;\n    mul.wide.u32 %w, %tid, 8;\n    add.u64 %in0, %in0, %w;\n"
            "    mul.wide.u32 %w, %tid, 4;\n    add.u64 %out, %out, %w;\n" + self.body
        )
        data = np.array([*self.data, 0], np.uint64)
        out = np.zeros(64 * len(self.wanted), np.uint32)
        got = self._out(outcome(text, {"in0": data, "out": out}, 32, width, check)).reshape(-1, 64)
        wrong = []
        for (what, _, want), row in zip(self.wanted, got.tolist(), strict=True):
            bad = [i for i, w in enumerate(want) if w >= 0 and row[i] != w]
            if bad:
                wrong.append(f"{what}: lane {bad[0]} got {row[bad[0]]:#x}, not {want[bad[0]]:#x}")
        return wrong


@every_way
@pytest.mark.parametrize("opcode", OPCODES)
def test_threads_of_a_warp_exchange_what_the_reference_says(opcode: str, width: int, check: bool) -> None:
    draw = random.Random(opcode)
    warp = Warp()
    for head, paired in heads():
        if head.partition(".")[0] != opcode:
            continue
        for uniform in (True, False):
            for active in (ALL, 0x0F0FF3C1, 1 << draw.randrange(32)):
                pair = paired and draw.random() < 0.5
                warp.add(head, pair, active, uniform, draw.random() < 0.5, draw)
    assert warp.wanted
    wrong = warp.run(width, check)
    assert not wrong


# atomics: one warp, whose lanes go in turn


# Vectors, halves and 128 bits have tests of their own, and a cache policy changes nothing.
ELSEWHERE = (".vec", ".noftz", "cache_hint")


def atomics() -> list[tuple[Form, str]]:
    found = []
    for form in forms():
        if form.opcode in ("atom", "red") and not any(name in form.pattern for name in ELSEWHERE):
            seen = set()
            for suffix in modifiers(form.pattern, cap=200):
                parts = suffix.split(".")
                shared = any(p.startswith("shared") for p in parts)
                operation = (*parts[-2:], shared)
                if operation not in seen and "cluster" not in suffix and ".b128" not in suffix:
                    seen.add(operation)
                    found.append((form, suffix))
    return found


def initial(type: Type, draw: random.Random) -> int:
    if type.kind == "f":
        return Scalar().const(type, draw.choice([1.5, -2.25, 0.1, 1e30])).bits[0]
    return draw.choice([0, 1, 5, draw.getrandbits(type.bits), (1 << type.bits) - 1, 1 << type.bits - 1])


@every_way
@pytest.mark.parametrize("places", [1, 3, 32])
def test_atomics_give_what_was_there_and_leave_the_result(places: int, width: int, check: bool) -> None:
    """All types and operations, lanes on one place, on a few, each on its own."""
    draw = random.Random(places)
    body, data, wanted = "", [], []
    for number, (form, suffix) in enumerate(atomics()):
        found = form.regex.match(suffix)
        assert found
        assert form.meaning
        values = Modifiers(modifier_values(form, found))
        type = values.type
        space = "shared" if ".shared" in suffix else "global"
        e = Scalar(32)
        count = sum(not o.destination for o in form.operands) - 1
        start = [initial(type, draw) for _ in range(places)]
        for i, bits in enumerate(start):
            e._write((values.get("space") or "generic").partition("::")[0], 8 * i, type.bytes, bits)
        given = [
            e.of(type, *(draw.choice([*start, initial(type, draw)]) for _ in range(32))) for _ in range(count)
        ]
        old = form.meaning(e, values, e.of(B64, *(8 * (i % places) for i in range(32))), *given)
        kept = [
            e._read((values.get("space") or "generic").partition("::")[0], 8 * i, type.bytes)
            for i in range(places)
        ]
        register = "b16" if type.bits == 16 else f"b{type.bits}" if type.kind != "f" else f"f{type.bits}"
        at = 8 * len(data)
        data += [*start, *([0] * (32 - places))]
        names = [f"%s{i}" for i in range(count)]
        loads = ""
        for name, value in zip(names, given, strict=True):
            loads += f"    ld.global.{register} {name}, [%mine+{8 * len(data)}];\n"
            data += value.bits
        where = "[%w]" if space == "shared" else "[%place]"
        target = "%d, " if form.opcode == "atom" else ""
        out = 512 * number
        body += f"""    {{
    .reg .{register} %d, %v{"".join(", " + n for n in names)};
    .reg .b64 %place, %w;
    add.u64 %place, %base, {at};
    mov.u64 %w, cells;
    add.u64 %w, %w, %slot;
{loads}"""
        if space == "shared":
            body += f"    ld.global.{register} %v, [%place];\n    st.shared.{register} [%w], %v;\n"
            body += "    bar.warp.sync -1;\n"
        body += f"    {form.opcode}{suffix} {target}{where}, {', '.join(names)};\n    bar.warp.sync -1;\n"
        if target:
            body += f"    st.global.{register} [%result+{out}], %d;\n"
        body += f"    ld.{space}.{register} %v, {where};\n"
        body += f"    st.global.{register} [%result+{out + 256}], %v;\n    bar.warp.sync -1;\n    }}\n"
        mask = (1 << type.bits) - 1
        wanted.append((form.opcode + suffix, mask, list(old.bits) if target else None, kept))
    text = entry(
        f"""    .shared .align 8 .b64 cells[32];
    .reg .b64 %base, %slot, %mine, %result;
    .reg .b32 %t;
    rem.u32 %t, %tid, {places};
    mul.wide.u32 %slot, %t, 8;
    add.u64 %base, %in0, %slot;
    mul.wide.u32 %mine, %tid, 8;
    add.u64 %result, %out, %mine;
    add.u64 %mine, %in0, %mine;
{body}""".replace("%in0", "%out1"),
        "out out1",
    )
    arrays = {"out": np.zeros(64 * len(wanted), np.uint64), "out1": np.array(data, np.uint64)}
    got = result(text, arrays, 32, width, check).reshape(-1, 2, 32)
    for (what, mask, old_bits, kept), row in zip(wanted, got.tolist(), strict=True):
        if old_bits is not None:
            assert [b & mask for b in row[0]] == old_bits, what
        assert [b & mask for b in row[1][:places]] == kept, what


@every_way
def test_atomics_on_uniform_addresses_add_up_over_blocks(width: int, check: bool) -> None:
    text = entry("    red.global.add.u32 [%out], 3;\n    atom.add.u32 %tid, [%out+4], %tid;", "out")
    got = result(text, {"out": np.zeros(2, np.uint32)}, 45, width, check, blocks=7)
    assert got.tolist() == [3 * 45 * 7, 7 * sum(range(45))]


def test_the_header_is_one_ptxas_takes() -> None:
    assert HEAD.startswith(".version 8")
