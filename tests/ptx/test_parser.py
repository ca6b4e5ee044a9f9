"""The parser: what each construct becomes, spans, and what is refused where ptxas refuses it."""

from __future__ import annotations

import pickle
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx.ptx import PtxError, ast, parse, print_module
from llmptx.ptx.ast import Addr, Float, Group, Guard, Instruction, Int, Pair, Reg, Sink, Span, Sym, Vec
from llmptx.ptx.types import Type

from .assembler import HEADER, cubin, needs_ptxas


def _body(code: str, module: str = "") -> str:
    return f"""{HEADER}{module}
.visible .entry k(.param .u64 p) {{
.reg .b32 %r<9>; .reg .u64 %rd<9>; .reg .f32 %f<9>; .reg .f64 %fd<9>; .reg .pred %p<9>; .reg .v4 .f32 %v;
ld.param.u64 %rd1, [p];
{code}
st.global.u32 [%rd1], %r1; st.global.f32 [%rd1], %f1; st.global.u64 [%rd1], %rd2; st.global.f64 [%rd1], %fd1;
ret;
}}
"""


def _statements(code: str, module: str = "") -> list[ast.Statement]:
    body = parse(_body(code, module)).entries[0].body
    assert body
    return list(body[7:-5])


def _operands(code: str, module: str = "") -> tuple[ast.Operand, ...]:
    (statement,) = _statements(code, module)
    assert isinstance(statement, Instruction)
    return statement.operands


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[%rd1]", Addr(Reg("%rd1"))),
        ("[%rd1+4]", Addr(Reg("%rd1"), 4)),
        ("[%rd1 + -16]", Addr(Reg("%rd1"), -16)),
        ("[%rd1+4*2]", Addr(Reg("%rd1"), 8)),
        ("[%rd1+0xFFFFFFFFFFFFFFF0]", Addr(Reg("%rd1"), -16)),
        ("[table+8]", Addr(Sym("table"), 8)),
        ("[12]", Addr(None, 12)),
        ("%tid.x", Reg("%tid.x")),
        ("%v.y", Reg("%v.y")),
        ("table", Sym("table")),
        ("table+8", Sym("table", 8)),
        ("{%r1, _, 3}", Vec((Reg("%r1"), Sink(), Int(3)))),
        ("%p1|%p2", Pair(Reg("%p1"), Reg("%p2"))),
        ("%p1|_", Pair(Reg("%p1"), Sink())),
        ("_|%p1", Pair(Sink(), Reg("%p1"))),
        ("!%p1", ast.Not(Reg("%p1"))),
        ("_", Sink()),
        ("-1", Int(-1)),
        ("0xFFFFFFFFFFFFFFFF", Int(2**64 - 1, True)),
        ("5U", Int(5, True)),
        ("010", Int(8)),
        ("0b101", Int(5)),
        ("WARP_SZ", Int(32)),
        ("0f3F800000", Float(0x3F800000, 32)),
        ("0D3FF0000000000000", Float(0x3FF0000000000000, 64)),
        ("-1.0", Float(0xBFF0000000000000, 64)),
    ],
)
def test_an_operand_is_read(text: str, expected: ast.Operand) -> None:
    assert _operands(f"any.op {text};") == (expected,)


def test_modifiers_are_split_at_dots_and_keep_their_colons() -> None:
    (load, tensor) = _statements("ld.global.L2::128B.v2.u32 {%r1,%r2}, [%rd1]; tex.1d .v4.f32.s32 %r1;")
    assert isinstance(load, Instruction)
    assert isinstance(tensor, Instruction)
    assert (load.opcode, load.modifiers) == ("ld", ("global", "L2::128B", "v2", "u32"))
    assert (tensor.opcode, tensor.modifiers) == ("tex", ("1d", "v4", "f32", "s32"))


def test_guards_are_read_with_and_without_a_negation() -> None:
    (yes, no) = _statements("@%p1 ret; @!%p1 ret;")
    assert isinstance(yes, Instruction)
    assert isinstance(no, Instruction)
    assert (yes.guard, no.guard) == (Guard(Reg("%p1")), Guard(Reg("%p1"), True))


def test_a_call_takes_groups_and_a_prototype() -> None:
    assert _operands("call.uni (%r1), %rd2, (%r2, 4), proto;") == (
        Group((Reg("%r1"),)),
        Reg("%rd2"),
        Group((Reg("%r2"), Int(4))),
        Sym("proto"),
    )


def test_a_name_without_a_percent_sign_is_a_register_once_declared() -> None:
    assert _statements(".reg .b32 a, b<2>; mov.b32 a, b1; mov.b32 b2, c;")[1:] == [
        Instruction("mov", ("b32",), (Reg("a"), Reg("b1"))),
        Instruction("mov", ("b32",), (Sym("b2"), Sym("c"))),
    ]


def test_a_register_of_an_inner_scope_ends_with_it() -> None:
    scope, after = _statements("{ .reg .b32 a; mov.b32 a, 1; } mov.b32 a, 1;")
    assert isinstance(scope, ast.Scope)
    assert scope.body[1] == Instruction("mov", ("b32",), (Reg("a"), Int(1)))
    assert after == Instruction("mov", ("b32",), (Sym("a"), Int(1)))


def test_a_variable_or_label_with_a_percent_sign_is_a_symbol() -> None:
    assert _operands("mov.u64 %rd2, %g;", ".global .b32 %g;") == (Reg("%rd2"), Sym("%g"))
    branch, label = _statements("bra %next; %next:")
    assert branch == Instruction("bra", (), (Sym("%next"),))
    assert label == ast.Label("%next")


def test_variables_are_read_with_all_they_may_say() -> None:
    module = parse(
        HEADER
        + ".visible .global .align 8 .b8 a[2][3] = {{1, 2, 3}, {4}};\n"
        + ".extern .shared .align 16 .b8 smem[];\n"
        + ".const .v4 .f32 c = {1.0, 0f3F800000, 0d3FF0000000000000, -1.0};\n"
        + ".global .u64 p[2] = {a+4, generic(a)}; .global .s32 x = -5, y;"
    )
    one = Float(0x3FF0000000000000, 64)
    a, smem, c, p, x, y = module.variables
    assert (a.linkage, a.align, a.shape, a.init) == ("visible", 8, (2, 3), (Int(1), Int(2), Int(3), Int(4)))
    assert (smem.linkage, smem.shape, smem.size) == ("extern", (0,), 0)
    assert (c.vec, c.init) == (4, (one, Float(0x3F800000, 32), one, Float(0xBFF0000000000000, 64)))
    assert p.init == (Sym("a", 4), Sym("a", 0, True))
    assert (x.init, y.init, y.type) == ((Int(-5),), None, Type.parse("s32"))


def test_functions_are_read_with_all_they_may_say() -> None:
    module = parse(
        HEADER
        + ".extern .func (.param .b32 r) printf_like (.param .b64 a, .param .align 8 .b8 b[16]) .noreturn ;\n"
        + ".visible .entry k(.param .u64 .ptr .global .align 16 p, .param .u64 .ptr q, .param .u32 n)\n"
        + ".maxntid 128, 1 .minnctapersm 2 { ret; }\n"
        + ".func (.reg .u32 r) f(.reg .u32 a) { mov.u32 r, a; ret; }"
    )
    extern, entry, func = module.functions
    assert (extern.kind, extern.linkage, extern.body) == ("func", "extern", None)
    assert extern.results[0].name == "r"
    assert extern.params[1].shape == (16,)
    assert [each.pointer for each in entry.params] == [("global", 16), ("", 4), None]
    assert entry.directives == (ast.Directive("maxntid", "128, 1"), ast.Directive("minnctapersm", "2"))
    assert func.body
    assert func.body[0] == Instruction("mov", ("u32",), (Reg("r"), Reg("a")))


def test_spans_are_exact() -> None:
    module = parse(f"{HEADER}.entry k()\n{{\n  .reg .b32 %r<2>;\n  add.s32 %r1,  %r0, // why\n    12;\n}}")
    body = module.entries[0].body
    assert body
    add = body[1]
    assert isinstance(add, Instruction)
    assert body[0].span == Span(6, 3, 6, 19)
    assert add.span == Span(7, 3, 8, 8)
    assert [each.span for each in add.operands] == [Span(7, 11, 7, 14), Span(7, 17, 7, 20), Span(8, 5, 8, 7)]
    assert module.entries[0].span == Span(4, 1, 9, 2)


@needs_ptxas
@pytest.mark.parametrize(
    "code",
    [
        "add .u32 %r1, %r2, 1;",
        "add.f32 %f1, %f2, -1.5;",
        "add.f32 %f1, %f2, .5;",
        "add.f32 %f1, %f2, 1.e5;",
        "add.f32 %f1, %f2, 0d3FF8000000000000;",
        "ld.global.u32 %r1, [%rd1+-16];",
        "ld.global.u32 %r1, [%rd1+4+4];",
        "ld.global.u32 %r1, [%rd1+(4*2)];",
        "setp.eq.u32 _|%p1, %r1, 1; selp.u32 %r1, 1, 2, %p1;",
        "bra %lab; %lab: add.u32 %r1, %r1, 1;",
        "{ bra L; L: add.u32 %r1, %r1, 1; } { bra L; L: add.u32 %r1, %r1, 1; }",
        "mov.f32 %f1, %v .x;",
        "// ends at LF only \radd.u32 %r1, nothing\n",
        "\f\r",
        ".reg .f32 q<4>; mov.f32 q3, 0f00000000; mov.f32 %f1, q3;",
        '.pragma "nounroll";',
        "bra add; add: add.u32 %r1, %r1, 1;",
        "@ %p1 add.u32 %r1,%r1,1; @! %p1 add.u32 %r1,%r1,1;",
        "ld.global.v2.u32 {_,%r1}, [%rd1];",
        "L : { } mov.u32 %r1, (1+2)*4<<2 | 1;",
    ],
)
def test_what_ptxas_takes_is_read_and_printed_to_the_same_machine_code(code: str) -> None:
    text = _body(code)
    expected = cubin(text)
    assert expected is not None
    assert cubin(print_module(parse(text))) == expected


@needs_ptxas
@pytest.mark.parametrize(
    "code",
    [
        "ld.global.u32 %r1, [%rd1-16];",
        "ld.global.u32 %r1, [4+%rd1];",
        "ld.global.u32 %r1, [%rd1+%rd2];",
        "ld.global.u32 %r1, [];",
        "add.f32 %f1, %f2, -0f3F800000;",
        "add.f32 %f1, %f2, 0f3F8;",
        "mov.u32 %r1, 089;",
        "mov.u32 %r1, 5u;",
        "mov.b64 %rd2, {{%r1, %r2}};",
        "mov.u32 %r1, -%r2;",
        ";",
        "@%p1 L: ret;",
        "@%p1 { }",
        "#line 5",
        "mov.u32 %r1, %r2",
        "\v",
        "\x01",
        "/* /* */ */",
        "/* never closed",
        ".reg .f32 q<2+2>;",
        "bra $; $: ret;",
    ],
)
def test_what_ptxas_refuses_is_refused(code: str) -> None:
    text = _body(code)
    assert cubin(text) is None
    with pytest.raises(PtxError):
        parse(text)


@pytest.mark.parametrize(
    ("code", "line", "column", "message"),
    [
        ("ld.global.u32 %r1, [%rd1-16];", 8, 25, r"an offset is added: write \+-16, not -16"),
        ("add.u32 %r1, %r2 %r3;", 8, 18, "expected ';' or ',' after an operand, found '%r3'"),
        ("add.u32 %r1, -%r2;", 8, 14, "cannot stand before a name"),
        ("mov.u32 %r1, table[4];", 8, 19, r"an address: name \+ bytes"),
        (".reg .q32 %x;", 8, 6, "expected the type of the registers"),
        (".global .u32 q[2][2] = {{1}, {2}};", 8, 30, "write them all"),
        (".global .u32 q[2] = {1, 2, 3};", 8, 21, "more than the array's 2"),
        (".global .u32 q[2][];", 8, 18, "only an array's first dimension"),
        (".shared .align 3 .b8 q;", 8, 16, "power of two"),
        (".global .attribute(.managed) .b32 q;", 8, 9, "not supported"),
        (".weird 5", 8, 1, "'.weird' is not known here"),
        (".entry k() {}", 8, 1, "is a '}' missing"),
        ("tex.2d.v4.f32.s32 {%f1}, [t, {%f1}];", 8, 28, "coordinates"),
        ('.pragma "x', 8, 9, "not closed on its line"),
        ("?", 8, 1, "expected an instruction, a label or a declaration, found '?'"),
        ("caf\u00e9", 8, 4, r"PTX is ASCII, comments included; found U\+00E9"),
    ],
)
def test_an_error_says_where_and_what(code: str, line: int, column: int, message: str) -> None:
    with pytest.raises(PtxError, match=message) as caught:
        parse(_body(code), "k.ptx")
    error = caught.value
    assert (error.span.line, error.span.column, error.file) == (line, column, "k.ptx")
    head, source, caret = str(error).split("\n")
    assert head.startswith(f"k.ptx:{line}:{column}: ")
    assert source.strip() == code.strip()
    assert caret.index("^") == 3 + column


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a PTX module starts with .version"),
        (".version 8.0", "expected .target"),
        (".version 8", "a version such as 8.0"),
        (".version 8.0 .target sm_80 .address_size 16", "32 or 64"),
        (HEADER + ".target sm_90", "stands once"),
        (HEADER + ".entry k() { ret;", "this '{' is never closed"),
        (HEADER + ".entry k() { } ;", "expected a function or a variable, found ';'"),
        (HEADER + ".entry k(.param .u64 a .param .u64 b) { }", r"expected '\)' or ',' after a parameter"),
        (HEADER + ".section .debug_x { .b8 1", "this section is never closed"),
        (HEADER + ".reg .b32 %r;", "inside a function"),
        (HEADER + ".entry k() " + "{" * 10_000, "nested more than"),
    ],
)
def test_a_broken_module_is_refused_with_its_reason(text: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        parse(text)


def test_an_error_on_a_very_long_line_shows_a_part_of_it_and_no_control_character() -> None:
    with pytest.raises(PtxError) as caught:
        parse(_body("mov.u32 %r1, 1; " * 10_000 + "\x1b[2J"))
    assert len(str(caught.value)) < 600
    assert "\x1b" not in str(caught.value).split("\n")[1]


def test_an_error_survives_the_way_between_processes() -> None:
    with pytest.raises(PtxError) as caught:
        parse(_body("?"), "k.ptx")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.span, again.message) == (
        str(caught.value),
        caught.value.span,
        caught.value.message,
    )


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(max_codepoint=255)))
def test_random_characters_give_ptx_errors_alone(text: str) -> None:
    for whole in (text, HEADER + text, _body(text)):
        with suppress(PtxError):
            parse(whole)


_PIECES = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    "@",
    "!",
    "%p1",
    "+",
    "-",
    "|",
    "=",
    "<",
    ">",
    ":",
    "?",
    "add.u32",
]
_PIECES += [
    ".reg",
    ".b32",
    ".param",
    ".global",
    ".entry",
    ".func",
    "k",
    "5",
    "1.5",
    "_",
    ".loc",
    ".align",
    ".v4",
    '"s"',
]
_PIECES += [
    ".section",
    ".branchtargets",
    ".callprototype",
    ".file",
    ".ptr",
    ".alias",
    "call",
    "generic",
    "0f3F800000",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=30))
def test_random_tokens_give_ptx_errors_alone_and_what_parses_prints(pieces: list[str]) -> None:
    for whole in (HEADER + " ".join(pieces), _body(" ".join(pieces))):
        try:
            module = parse(whole)
        except PtxError:
            continue
        assert parse(print_module(module)) == module


def test_a_megabyte_is_read_in_seconds() -> None:
    line = "@%p1 fma.rn.f32 %f1, %f2, 0f3F800000, %f3; ld.global.u32 %r1, [%rd1+16]; // a comment\n"
    text = _body(line * (1_000_000 // len(line)))
    start = time.process_time()
    parse(text)
    assert time.process_time() - start < 8  # about 1 s on one core of 2024; a quadratic reader needs minutes
