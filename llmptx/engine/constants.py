"""Vector types and constants, made once: building an object for every lane took a fifth of all lowering.

Knows LLVM's notation only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from llvmlite import ir


class _Written(ir.Constant):  # type: ignore[misc]
    """A constant by its text."""

    def __init__(self, type: ir.Type, text: str) -> None:
        self.type, self.constant = type, text

    def _get_reference(self) -> str:
        return str(self.constant)


@lru_cache(maxsize=256)
def vector_type(element: ir.Type, count: int) -> ir.VectorType:
    return ir.VectorType(element, count)


@lru_cache(maxsize=4096)
def lanes(element: ir.Type, values: tuple[int, ...]) -> Any:
    """A vector of integers."""
    return ir.Constant(vector_type(element, len(values)), values)


def splat(scalar: ir.Constant, count: int) -> Any:
    """One constant in every lane."""
    text = f"splat ({scalar.type} {scalar.get_reference()})"
    return _Written(vector_type(scalar.type, count), text)


@lru_cache(maxsize=256)
def undefined(element: ir.Type, count: int) -> Any:
    return ir.Constant(vector_type(element, count), ir.Undefined)
