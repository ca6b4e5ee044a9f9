"""LLVM text of arithmetic in a directed rounding mode. Knows texts only."""

from __future__ import annotations

from collections.abc import Sequence

# of llvm.set.rounding
_MODES = {"rz": 0, "rp": 2, "rm": 3}


def directed_text(helper: str, intrinsic: str, rnd: str, result: str, arguments: Sequence[str]) -> str:
    """A function of its own that sets the mode, computes and restores it: nothing else may move into it."""
    callee = f"@llvm.experimental.constrained.{intrinsic}"
    types = ", ".join(arguments)
    parameters = ", ".join(f"{a} %a{i}" for i, a in enumerate(arguments))
    return (
        f"declare {result} {callee}({types}, metadata, metadata)\n"
        f'define {result} @"{helper}"({parameters}) strictfp noinline {{\n'
        f"  call void @llvm.set.rounding(i32 {_MODES[rnd]}) strictfp\n"
        f"  %r = call {result} {callee}({parameters}, "
        f'metadata !"round.dynamic", metadata !"fpexcept.strict") strictfp\n'
        f"  call void @llvm.set.rounding(i32 1) strictfp\n"
        f"  ret {result} %r\n}}\n"
    )
