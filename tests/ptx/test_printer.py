"""The printer against the parser: what is printed reads back as the same tree."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from llmptx.ptx import ast, parse, print_module
from llmptx.ptx.normalize import normalized
from llmptx.ptx.printer import print_statement
from llmptx.ptx.types import Type

from .trees import modules


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(modules)
def test_a_printed_module_parses_to_itself(module: ast.Module) -> None:
    assert parse(print_module(module)) == module


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(modules)
def test_the_canonical_text_of_a_canonical_text_is_itself(module: ast.Module) -> None:
    once = normalized(print_module(module))
    assert normalized(once) == once


def test_an_initialiser_is_laid_out_by_rows_as_assemblers_want_it() -> None:
    values = tuple(ast.Int(value) for value in range(5))
    variable = ast.Variable("const", Type.parse("s32"), "t", (2, 3), init=values)
    assert print_statement(variable) == ".const .s32 t[2][3] = {{0, 1, 2}, {3, 4}};"


def test_the_least_integer_prints_as_an_expression_that_stays_signed() -> None:
    instruction = ast.Instruction("mov", ("s64",), (ast.Reg("%r"), ast.Int(-(2**63))))
    assert print_statement(instruction) == "mov.s64 %r, -9223372036854775807-1;"
