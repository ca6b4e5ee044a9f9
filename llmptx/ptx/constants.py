"""Constants and constant expressions, folded in 64 bits (PTX ISA 4.5). Knows no names but WARP_SZ.

The manual's evaluation rules (4.5.6), and ptxas's where the two part: `%` gives an unsigned result, `& | ^`
follow the usual conversions, `?:` gives the chosen operand as it is, and a shift takes its count modulo 64.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from llmptx.ptx.ast import Float, Int, Span
from llmptx.ptx.lexer import Cursor, Token

_MASK = (1 << 64) - 1
_DEPTH = 32
_WARP_SIZE = 32

_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("|",),
    ("^",),
    ("&",),
    ("==", "!="),
    ("<", ">", "<=", ">="),
    ("<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
)
_LEVEL = {operator: level for level, operators in enumerate(_LEVELS) for operator in operators}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def starts_constant(cursor: Cursor) -> bool:
    """Whether what stands here can only begin a constant expression."""
    token = cursor.token
    return token.kind in ("int", "float", "hexfloat") or token.text in ("-", "+", "~", "!", "(", "WARP_SZ")


def constant(cursor: Cursor) -> Int | Float:
    """The constant expression that stands here, folded. Raises PtxError."""
    start = cursor.token.start
    value = _ternary(cursor, 0)
    span = cursor.span(start)
    if isinstance(value, Int):
        return Int(value.value, value.unsigned, span)
    return Float(value.bits, value.width, span)


def integer(cursor: Cursor, what: str) -> int:
    """An integer constant expression's value, signed unless it only fits unsigned."""
    token = cursor.token
    value = constant(cursor)
    if isinstance(value, Float):
        raise cursor.error(f"{what} must be an integer", token)
    return value.value


def signed(value: int) -> int:
    """A 64-bit value as two's complement."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _ternary(cursor: Cursor, depth: int) -> Int | Float:
    if depth > _DEPTH:
        raise cursor.error(f"this expression is nested more than {_DEPTH} deep")
    token = cursor.token
    condition = _binary(cursor, 0, depth)
    if not cursor.accept("?"):
        return condition
    if isinstance(condition, Float):
        raise cursor.error("the condition before '?' must be an integer", token)
    yes = _ternary(cursor, depth + 1)
    cursor.expect(":", "between the two values of '?'")
    no = _ternary(cursor, depth + 1)
    if isinstance(yes, Int) != isinstance(no, Int):
        raise cursor.error("the values of '?:' must both be integers or both floating-point", token)
    return yes if condition.value else no


def _binary(cursor: Cursor, level: int, depth: int) -> Int | Float:
    left = _unary(cursor, depth)
    while (found := _LEVEL.get(cursor.text, -1)) >= level:
        operator = cursor.take()
        right = _binary(cursor, found + 1, depth)
        left = _apply(cursor, operator, left, right)
    return left


def _unary(cursor: Cursor, depth: int) -> Int | Float:
    if depth > _DEPTH:
        raise cursor.error(f"this expression is nested more than {_DEPTH} deep")
    token = cursor.token
    if token.text in ("-", "+", "!", "~"):
        cursor.take()
        return _negate(cursor, token, _unary(cursor, depth + 1))
    if cursor.accept("("):
        if cursor.text in (".s64", ".u64"):
            cast = cursor.take()
            cursor.expect(")", "after the type of a cast")
            operand = _unary(cursor, depth + 1)
            if isinstance(operand, Float):
                raise cursor.error("only an integer constant can be cast", token)
            return _wrap(operand.value, cast.text == ".u64")
        inner = _ternary(cursor, depth + 1)
        cursor.expect(")", "to close the parenthesis")
        return inner
    return literal(cursor)


def literal(cursor: Cursor) -> Int | Float:
    """One literal, or WARP_SZ. Raises PtxError for anything else and for a value that does not fit."""
    token = cursor.token
    if token.kind == "int":
        cursor.take()
        return _int(cursor, token)
    if token.kind == "float":
        cursor.take()
        value = float(token.text)
        if math.isinf(value):
            raise cursor.error("this number is too large for a double", token)
        return _double(value, cursor.span(token.start))
    if token.kind == "hexfloat":
        cursor.take()
        width = 32 if token.text[1] in "fF" else 64
        return Float(int(token.text[2:], 16), width, cursor.span(token.start))  # type: ignore[arg-type]
    if cursor.accept("WARP_SZ"):
        return Int(_WARP_SIZE, span=cursor.span(token.start))
    raise cursor.error(f"expected a constant, found {cursor.found()}")


def _int(cursor: Cursor, token: Token) -> Int:
    text = token.text.removesuffix("U")
    if len(text) > 80:
        raise cursor.error("this integer does not fit in 64 bits", token)
    prefix = text[:2].lower()
    if prefix == "0x":
        value = int(text[2:], 16)
    elif prefix == "0b":
        value = int(text[2:], 2)
    else:
        value = int(text, 8 if text[0] == "0" else 10)
    if value > _MASK:
        raise cursor.error("this integer does not fit in 64 bits", token)
    return Int(value, text != token.text or value >> 63 != 0, cursor.span(token.start))


def _wrap(value: int, unsigned: bool) -> Int:
    return Int(value & _MASK if unsigned else signed(value), unsigned)


def _double(value: float, span: Span | None = None) -> Float:
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    return Float(bits, 64, span) if span else Float(bits, 64)


def _real(cursor: Cursor, operator: Token, operand: Float) -> float:
    if operand.width == 32:
        raise cursor.error(
            f"{operator.text!r} cannot take a 0f constant: only decimal and 0d ones join expressions",
            operator,
        )
    value: float = struct.unpack("<d", struct.pack("<Q", operand.bits))[0]
    return value


def _negate(cursor: Cursor, operator: Token, operand: Int | Float) -> Int | Float:
    sign = operator.text
    if isinstance(operand, Float):
        if sign in ("!", "~"):
            raise cursor.error(f"{sign!r} takes an integer, not a floating-point constant", operator)
        _real(cursor, operator, operand)
        return Float(operand.bits ^ (1 << 63), 64) if sign == "-" else operand
    if sign == "!":
        return Int(int(not operand.value))
    if sign == "~":
        return _wrap(~operand.value, True)
    return _wrap(-operand.value if sign == "-" else operand.value, operand.unsigned)


def _apply(cursor: Cursor, operator: Token, left: Int | Float, right: Int | Float) -> Int | Float:
    if isinstance(left, Int) and isinstance(right, Int):
        return _integers(cursor, operator, left, right)
    if isinstance(left, Int) or isinstance(right, Int):
        raise cursor.error(f"{operator.text!r} cannot mix an integer and a floating-point constant", operator)
    a, b = _real(cursor, operator, left), _real(cursor, operator, right)
    if operator.text in _COMPARE:
        return Int(int(_COMPARE[operator.text](a, b)))
    if operator.text == "/" and b == 0:
        raise cursor.error("division by zero in a constant expression", operator)
    match operator.text:
        case "+":
            return _double(a + b)
        case "-":
            return _double(a - b)
        case "*":
            return _double(a * b)
        case "/":
            return _double(a / b)
    raise cursor.error(f"{operator.text!r} takes integers, not floating-point constants", operator)


def _integers(cursor: Cursor, operator: Token, left: Int, right: Int) -> Int:
    sign = operator.text
    unsigned = left.unsigned or right.unsigned
    a, b = _wrap(left.value, unsigned).value, _wrap(right.value, unsigned).value
    if sign in _COMPARE:
        return Int(int(_COMPARE[sign](a, b)))
    if sign in ("/", "%") and b == 0:
        raise cursor.error("division by zero in a constant expression", operator)
    match sign:
        case "+":
            return _wrap(a + b, unsigned)
        case "-":
            return _wrap(a - b, unsigned)
        case "*":
            return _wrap(a * b, unsigned)
        case "/":
            quotient = abs(a) // abs(b)
            return _wrap(quotient if (a < 0) == (b < 0) else -quotient, unsigned)
        case "%":
            return _wrap((left.value & _MASK) % (right.value & _MASK), True)
        case "<<":
            return _wrap(left.value << (right.value & 63), left.unsigned)
        case ">>":
            return _wrap(left.value >> (right.value & 63), left.unsigned)
        case "&":
            return _wrap(a & b, unsigned)
        case "|":
            return _wrap(a | b, unsigned)
        case "^":
            return _wrap(a ^ b, unsigned)
        case "&&":
            return Int(int(a != 0 and b != 0))
    return Int(int(a != 0 or b != 0))
