"""What an element is, as a formula over bit patterns: an entry's `meaning`, from which proofs are made.

A formula is written on an `Algebra`, as an instruction's meaning is on an emitter, so that a solver can read
it and tests can work it out with numpy and hold it against the entry's own oracle. Only routines whose answer
bits alone decide have one: whole numbers, comparisons, moved data. Knows no solver and no PTX.
"""

from __future__ import annotations

from typing import Any, Protocol

Term = Any
Condition = Any


class Algebra(Protocol):
    """Patterns of one dtype, `+ - * & | ^ ~ <<` wrapping on them, and conditions with `& | ~`."""

    floating: bool

    def number(self, value: int) -> Term:
        """The pattern of a small whole number."""

    def sign(self) -> Term:
        """The pattern of the top bit alone."""

    def where(self, condition: Condition, a: Term, b: Term) -> Term: ...

    def flag(self, condition: Condition) -> Term:
        """A byte, 1 or 0."""

    def same(self, a: Term, b: Term) -> Condition:
        """Whether the patterns are equal."""

    def equal(self, a: Term, b: Term) -> Condition:
        """Whether the numbers are equal; NaN is equal to none."""

    def less(self, a: Term, b: Term) -> Condition:
        """Whether one number is below the other; with NaN it is not."""

    def nan(self, a: Term) -> Condition: ...

    def within(self, count: Term) -> Condition:
        """Whether a count is at least 0 and below the width."""

    def shifted_right(self, a: Term, count: Term) -> Term:
        """With the sign kept, by a count within the width."""

    def quotient(self, a: Term, b: Term) -> Term:
        """Of whole numbers, rounded towards zero; by 0, anything."""


def add(s: Algebra, a: Term, b: Term) -> Term:
    return a + b


def subtract(s: Algebra, a: Term, b: Term) -> Term:
    return a - b


def multiply(s: Algebra, a: Term, b: Term) -> Term:
    return a * b


def square(s: Algebra, a: Term) -> Term:
    return a * a


def negative(s: Algebra, a: Term) -> Term:
    return a ^ s.sign() if s.floating else -a


def absolute(s: Algebra, a: Term) -> Term:
    return a & ~s.sign() if s.floating else s.where(s.less(a, s.number(0)), -a, a)


def sign(s: Algebra, a: Term) -> Term:
    zero = s.number(0)
    rest = s.where(s.nan(a), a, zero)
    return s.where(s.less(zero, a), s.number(1), s.where(s.less(a, zero), s.number(-1), rest))


def maximum(s: Algebra, a: Term, b: Term) -> Term:
    return s.where(s.nan(a), a, s.where(s.nan(b), b, s.where(s.less(a, b), b, a)))


def minimum(s: Algebra, a: Term, b: Term) -> Term:
    return s.where(s.nan(a), a, s.where(s.nan(b), b, s.where(s.less(b, a), b, a)))


def fmax(s: Algebra, a: Term, b: Term) -> Term:
    return s.where(s.nan(a), b, s.where(s.nan(b), a, s.where(s.less(a, b), b, a)))


def fmin(s: Algebra, a: Term, b: Term) -> Term:
    return s.where(s.nan(a), b, s.where(s.nan(b), a, s.where(s.less(b, a), b, a)))


def clip(s: Algebra, x: Term, low: Term, high: Term) -> Term:
    return minimum(s, maximum(s, x, low), high)


def equal(s: Algebra, a: Term, b: Term) -> Term:
    return s.flag(s.equal(a, b))


def less(s: Algebra, a: Term, b: Term) -> Term:
    return s.flag(s.less(a, b))


def isnan(s: Algebra, a: Term) -> Term:
    return s.flag(s.nan(a))


def where(s: Algebra, flag: Term, a: Term, b: Term) -> Term:
    return s.where(flag != 0, a, b)


def bitwise_and(s: Algebra, a: Term, b: Term) -> Term:
    return a & b


def bitwise_or(s: Algebra, a: Term, b: Term) -> Term:
    return a | b


def bitwise_xor(s: Algebra, a: Term, b: Term) -> Term:
    return a ^ b


def left_shift(s: Algebra, a: Term, b: Term) -> Term:
    return s.where(s.within(b), a << b, s.number(0))


def right_shift(s: Algebra, a: Term, b: Term) -> Term:
    gone = s.where(s.less(a, s.number(0)), s.number(-1), s.number(0))
    return s.where(s.within(b), s.shifted_right(a, b), gone)


def floor_divide(s: Algebra, a: Term, b: Term) -> Term:
    zero = s.number(0)
    quotient = s.quotient(a, b)
    rest = a - quotient * b
    down = ~s.same(rest, zero) & (s.less(rest, zero) ^ s.less(b, zero))
    return s.where(s.same(b, zero), zero, s.where(down, quotient - s.number(1), quotient))


def remainder(s: Algebra, a: Term, b: Term) -> Term:
    zero = s.number(0)
    rest = a - s.quotient(a, b) * b
    up = ~s.same(rest, zero) & (s.less(rest, zero) ^ s.less(b, zero))
    return s.where(s.same(b, zero), zero, s.where(up, rest + b, rest))
