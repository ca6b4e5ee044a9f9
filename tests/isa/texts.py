"""Instruction texts made from the table's patterns, and the module that holds many of them for ptxas."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Sequence

import llmptx.ptx
from llmptx.isa import table
from llmptx.isa.form import Form, OperandSpec
from llmptx.ptx.ast import Instruction
from llmptx.ptx.types import Type
from llmptx.toolchain.ptxas import assemble

HEADER = """.version {version}
.target {target}
.address_size 64
.global .align 16 .b8 variable[64];
.func nothing() {{ ret; }}
.func takes(.param .b32 x) {{ ret; }}
.func (.param .b32 y) gives() {{ st.param.b32 [y], 0; ret; }}
.func (.param .b32 y) both(.param .b32 x) {{ st.param.b32 [y], 0; ret; }}
.visible .entry k(.param .align 16 .b8 p0[64]) {{
.reg .pred %p<9>; .reg .b16 %h<32>; .reg .b32 %r<32>; .reg .b64 %rd<32>; .reg .f32 %f<32>; .reg .f64 %fd<32>;
{wide}
.param .b32 arg; .param .b32 res; .param .align 16 .b8 field[64];
table: .branchtargets there;
taking: .callprototype _ (.param .b32 _);
giving: .callprototype (.param .b32 _) _ (.param .b32 _);
"""
FOOTER = "there: ret;\n}\n"

CONTROL = {
    "bra[.uni]  label": ["bra there", "bra.uni there"],
    "brx.idx[.uni]  a:u32, label": ["brx.idx %r1, table", "brx.idx.uni %r1, table"],
    "call[.uni]  label": ["call nothing", "call.uni nothing"],
    "call[.uni]  label, (a)": ["call takes, (arg)", "call.uni takes, (arg)"],
    "call[.uni]  (r), label, (a)": ["call (res), both, (arg)", "call.uni (res), both, (arg)"],
    "call[.uni]  (r), label": ["call (res), gives", "call.uni (res), gives"],
    "call[.uni]  f:u64, (a), label": ["call %rd1, (arg), taking", "call.uni %rd1, (arg), taking"],
    "call[.uni]  (r), f:u64, (a), label": ["call (res), %rd1, (arg), giving"],
    "ret[.uni]": ["@%p1 ret", "@%p1 ret.uni"],
    "exit": ["@%p1 exit"],
}


def forms() -> list[Form]:
    return [row for rows in table().values() for row in rows]


def groups(pattern: str) -> list[list[str]]:
    """What each modifier of a pattern may be, '' where it may be left out."""
    head = pattern.partition(" ")[0]
    found = re.findall(r"\[\.([^\]]+)\]|\.([^.\[]+)", head)
    out = []
    for optional, required in found:
        text = optional or required
        _, colon, choices = text.partition(":")
        out.append([*([""] if optional else []), *(choices.split("|") if colon else [text])])
    return out


def modifiers(pattern: str, cap: int = 40) -> list[str]:
    """Modifier texts: every choice once at least, then a fixed random sample of the combinations."""
    choices = groups(pattern)
    total = 1
    for options in choices:
        total *= len(options)
    if total <= cap:
        picked = [list(combination) for combination in itertools.product(*choices)]
    else:
        draw = random.Random(pattern)
        picked = [[draw.choice(options) for options in choices] for _ in range(cap)]
        for i, options in enumerate(choices):
            for option in options:
                others = [draw.choice(o) for o in choices]
                picked.append([*others[:i], option, *others[i + 1 :]])
    unique = dict.fromkeys("".join("." + name for name in names if name) for names in picked)
    # an argument or result of a call may only be accessed beside that call
    return [text for text in unique if "param::func" not in text]


def texts(form: Form, cap: int = 40) -> Iterator[str]:
    """Instructions this row must match, without the semicolon."""
    if form.pattern in CONTROL:
        yield from CONTROL[form.pattern]
        return
    for suffix in modifiers(form.pattern, cap):
        text = form.opcode + suffix
        found = form.regex.match(suffix)
        assert found, (form.pattern, suffix)
        values = found.groupdict()
        yield text + " " + ", ".join(_operand(form, spec, i, values) for i, spec in enumerate(form.operands))


def _operand(form: Form, spec: OperandSpec, i: int, values: dict[str, str | None]) -> str:
    if spec.kind == "memory":
        space = values.get("space") or ""
        if space == "param" and form.opcode == "st":
            return "[field]"
        return "[p0]" if space.startswith("param") else "[%rd1]"
    if spec.kind == "sink":
        return "_"
    if spec.name == "imm":
        return str(random.Random(str(values)).choice(spec.integers or (5,)))
    if spec.type == "own":
        return random.Random(str(values)).choice(["%r5", "%p5", "2"])
    type = operand_type(spec, values)
    if spec.count:
        return "{" + ", ".join(_register(type, 8 * i + j) for j in range(spec.count)) + "}"
    if (vec := values.get("vec")) and spec.type == "type":
        return "{" + ", ".join(_register(type, 2 * i + j) for j in range(int(vec[1:]))) + "}"
    first = _register(type, i + 1)
    return f"{first}|%p{i + 1}" if spec.must_pair or (spec.pair and len(str(values)) % 2) else first


def operand_type(spec: OperandSpec, values: dict[str, str | None]) -> Type:
    if spec.type == "wide":
        base = Type.parse(values["type"] or "")
        return Type(base.kind, base.bits * 2)
    return Type.parse(values.get(spec.type) or spec.type)


def _register(type: Type, i: int) -> str:
    if type.kind == "pred":
        return f"%p{i}"
    if type.kind == "f" and type.width > 16 and type.lanes == 1:
        return f"%{'fd' if type.bits == 64 else 'f'}{i}"
    return f"%{ {16: 'h', 32: 'r', 64: 'rd', 128: 'q'}[max(type.width, 16)] }{i}"


def module(instructions: Sequence[str], version: str = "9.1", target: str = "sm_90") -> str:
    """A module with one instruction a line."""
    # before that version there were no such registers; a line all the same, so that lines stay where they are
    wide = ".reg .b128 %q<9>;" if tuple(map(int, version.split("."))) >= (8, 3) else ""
    return (
        HEADER.format(version=version, target=target, wide=wide)
        + "\n".join(f"{i};" for i in instructions)
        + "\n"
        + FOOTER
    )


def parsed(instructions: Sequence[str]) -> list[Instruction]:
    """The instructions' trees, in order."""
    body = llmptx.ptx.parse(module(instructions)).entries[0].body or ()
    found = [node for node in body if isinstance(node, Instruction)]
    assert len(found) == len(instructions) + 1, "an instruction was parsed as something else"
    return found[:-1]


def refusals(instructions: Sequence[str], version: str = "9.1", target: str = "sm_90") -> dict[str, str]:
    """ptxas's complaint about each instruction that it refuses."""
    first = HEADER.count("\n") + 1
    answer = assemble(module(instructions, version, target), target)
    placed = {instructions[line - first]: text for line, text in answer.errors if line >= first}
    unplaced = [text for line, text in answer.errors if line < first]
    assert answer.ok or placed, unplaced
    return placed
