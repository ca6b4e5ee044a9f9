"""Constant expressions against ptxas, and what is refused."""

from __future__ import annotations

import random
import struct

import pytest

from llmptx.ptx import PtxError, ast, parse

from .assembler import HEADER, initial_bytes, needs_ptxas

# chosen so that signed and unsigned reading, precedence and associativity each show in the result
EXPRESSIONS = """
-7/2 ; 7/-2 ; -7/2U ; -7 % 3 ; (-7 % 3 - 1) >> 1 ; -7>>1 ; -7U>>1 ; ~0>>1 ; ~5 ; !0 ; -5U
1<<63 ; 1<<65 ; -1>>64 ; 1<<-1 ; -1<1 ; (5&3)-9>>1 ; (5|3)-9>>1 ; (5U>>1)-9>>1
(1 ? 5 : 2U)-9 >> 1 ; (0 ? 5 : 2U)-9 >> 1 ; 0?-1:1U ; (.u64)-7>>1 ; (.s64)~0>>1 ; 5&3|4^1
-7/2*2 ; 1==1 ; 2||0 ; 0x8000000000000000>>1 ; -0x8000000000000000/2 ; 0x7fffffffffffffff+1
1-2-3 ; 2*3+4 ; 1+2<<3 ; 1<2==1 ; 1|2==2 ; - -5 ; -~5 ; (1<2)-2>>1 ; 07777 ; 0b11U ; 0X1fU
5 ? -7 : 2U >> 1 ; 1?2:3?4:5 ; -9223372036854775808/1 ; -9223372036854775807-1 ; WARP_SZ-33 >>1
+5 ; 1+2U-9>>1
"""


def _folded(expression: str) -> int:
    variable = parse(f"{HEADER}.visible .global .u64 q = {expression};").variables[0]
    assert variable.init
    value = variable.init[0]
    assert isinstance(value, ast.Int)
    assert (0 <= value.value < 2**64) if value.unsigned else (-(2**63) <= value.value < 2**63)
    return value.value % 2**64


def _assembled(expressions: list[str]) -> list[int]:
    data = initial_bytes(f".visible .global .u64 q[{len(expressions)}] = {{{', '.join(expressions)}}};")
    assert data
    return list(struct.unpack(f"<{len(expressions)}Q", data))


def _random_expression(draw: random.Random, depth: int) -> str:
    if depth == 0 or draw.random() < 0.2:
        return draw.choice(
            ["1", "7", "5U", "0x8000000000000000", "63", "0xffffffffffffffff", "0b10", "017", "2U"]
        )
    inner = [_random_expression(draw, depth - 1) for _ in range(3)]
    kind = draw.random()
    if kind < 0.2:
        return draw.choice(["-", "~", "!", "+", "(.s64)", "(.u64)"]) + " " + inner[0]
    if kind < 0.3:
        return f"({inner[0]} ? {inner[1]} : {inner[2]})"
    if kind < 0.5:
        return f"({inner[0]})"
    operators = [
        "+",
        "-",
        "*",
        "/",
        "%",
        "<<",
        ">>",
        "<",
        ">",
        "<=",
        ">=",
        "==",
        "!=",
        "&",
        "^",
        "|",
        "&&",
        "||",
    ]
    return f"{inner[0]} {draw.choice(operators)} {inner[1]}"


@needs_ptxas
def test_expressions_fold_as_ptxas_folds_them() -> None:
    expressions = [each.strip() for each in EXPRESSIONS.strip().replace("\n", ";").split(";")]
    assert [_folded(each) for each in expressions] == _assembled(expressions)


@needs_ptxas
def test_random_expressions_fold_as_ptxas_folds_them() -> None:
    draw = random.Random(7)
    expressions, ours = [], []
    while len(expressions) < 400:
        expression = _random_expression(draw, 4)
        try:
            ours.append(_folded(expression))
        except PtxError as error:
            if "division by zero" in error.message:
                continue
            raise
        expressions.append(expression)
    wrong = [
        each for each in zip(expressions, ours, _assembled(expressions), strict=True) if each[1] != each[2]
    ]
    assert not wrong


@needs_ptxas
def test_floating_point_literals_have_the_bits_ptxas_gives_them() -> None:
    literals = [
        "1.5",
        ".5",
        "1.",
        "1e5",
        "1.e-5",
        "0.1",
        "-2.5e-300",
        "1.5 + 2.25",
        "3.0 / 7.0",
        "0d3FF8000000000000",
    ]
    data = initial_bytes(f".visible .global .f64 q[{len(literals)}] = {{{', '.join(literals)}}};")
    assert data
    module = parse(f"{HEADER}.global .f64 q[{len(literals)}] = {{{', '.join(literals)}}};")
    init = module.variables[0].init
    assert init
    assert [each.bits for each in init if isinstance(each, ast.Float)] == list(
        struct.unpack(f"<{len(literals)}Q", data)
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1/0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("18446744073709551616", "does not fit in 64 bits"),
        ("9" * 5000, "does not fit in 64 bits"),
        ("1e400", "too large for a double"),
        ("-0f3F800000", "cannot take a 0f constant"),
        ("1.5 + 1", "cannot mix"),
        ("1.5 << 1.0", "takes integers"),
        ("!1.5", "takes an integer"),
        ("089", "octal"),
        ("0x", "hexadecimal digits"),
        ("0f3F8", "8 hexadecimal digits"),
        ("5u", "no suffix but U"),
        ("(" * 5000 + "1", "nested more than"),
        ("-" * 5000 + "1", "nested more than"),
        ("1?" * 5000 + "1", "nested more than"),
        ("1 ? 2", "expected ':'"),
        ("1 ? 2 : 3.0", "must both be"),
        ("(1", "to close the parenthesis"),
        ("1 +", "expected a constant, found ';'"),
    ],
)
def test_a_wrong_constant_is_refused_with_its_reason(expression: str, message: str) -> None:
    with pytest.raises(PtxError, match=message.replace("(", r"\(")):
        parse(f"{HEADER}.global .u64 q = {expression};")
