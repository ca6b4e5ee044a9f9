"""PTX's fundamental types (PTX ISA 5.2), as values. Knows no instruction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

TypeKind = Literal["b", "s", "u", "f", "bf", "pred"]

_NAME = re.compile(r"(bf|b|s|u|f)(8|16|32|64|128)(x2)?\Z")


@dataclass(frozen=True, slots=True)
class Type:
    """One type: `f32` is kind f, 32 bits; `f16x2` kind f, 16 bits, 2 lanes; `pred` 1 bit."""

    kind: TypeKind
    bits: int
    lanes: int = 1

    @staticmethod
    @cache
    def parse(name: str) -> Type:
        """Raises ValueError for a name that is no type; a leading dot is allowed."""
        name = name.removeprefix(".")
        if name == "pred":
            return Type("pred", 1)
        match = _NAME.match(name)
        if not match:
            raise ValueError(f"no PTX type is named {name!r}")
        return Type(match[1], int(match[2]), 2 if match[3] else 1)  # type: ignore[arg-type]

    @property
    def width(self) -> int:
        """Bits of a register that holds it."""
        return self.bits * self.lanes

    @property
    def bytes(self) -> int:
        return max(1, self.width // 8)

    @property
    def is_float(self) -> bool:
        return self.kind in ("f", "bf")

    @property
    def signed(self) -> bool:
        return self.kind == "s"

    def __str__(self) -> str:
        if self.kind == "pred":
            return "pred"
        return f"{self.kind}{self.bits}{'x2' if self.lanes == 2 else ''}"


PRED = Type("pred", 1)
