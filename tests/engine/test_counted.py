"""Comparisons of numbers that are one more in each lane."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.launching import entry, result

OPS = ("eq", "ne", "lt", "le", "gt", "ge")
EDGES = (0, 1, 31, 32, 33, 96, 127, 128)


def _text(type: str, bits: int) -> str:
    """Four starts for `tid` that are multiples of 32, and one that is none, each against `in0`'s numbers."""
    top = 1 << bits - 1
    starts = (0, top, top - 128, 2 * top - 64, 5)
    widen = "cvt.u64.u32 %i, %tid;" if bits == 64 else "mov.b32 %i, %tid;"
    lines = [f".reg .b{bits} %i, %x, %b; .reg .pred %p; .reg .b32 %r; .reg .b64 %at, %o; {widen}"]
    lines.append(f"mul.wide.u32 %o, %tid, 4; add.u64 %at, %out, %o; ld.global.b{bits} %b, [%in0];")
    row = 0
    for start in starts:
        lines.append(f"add.u{bits} %x, %i, {start};")
        for op in OPS:
            for one, other in (("%x", "%b"), ("%b", "%x")):
                sign = type if op not in ("eq", "ne") else f"b{bits}"
                lines.append(f"setp.{op}.{sign} %p, {one}, {other}; selp.u32 %r, 1, 0, %p;")
                lines.append(f"st.global.u32 [%at+{row * 512}], %r;")
                row += 1
    return entry("\n".join(lines), "in0 out")


def _wanted(type: str, bits: int, number: int) -> np.ndarray:
    kind = np.dtype(f"{'int' if type[0] == 's' else 'uint'}{bits}")
    top = 1 << bits - 1
    lanes = np.arange(128, dtype=np.uint64)
    given = np.array([number % (1 << bits)], np.uint64).astype(f"uint{bits}").view(kind)[0]
    rows = []
    for start in (0, top, top - 128, 2 * top - 64, 5):
        x = (lanes + np.uint64(start)).astype(f"uint{bits}").view(kind)
        whole = {"eq": x == given, "ne": x != given, "lt": x < given, "le": x <= given}
        whole |= {"gt": x > given, "ge": x >= given}
        for op in OPS:
            rows.append(whole[op])
            rows.append(whole[{"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}.get(op, op)])
    return np.array(rows, np.uint32).reshape(-1)


@pytest.mark.parametrize(("type", "bits"), [("s32", 32), ("u32", 32), ("s64", 64), ("u64", 64)])
def test_rows_of_numbers_compare_as_each_of_them(type: str, bits: int) -> None:
    text = _text(type, bits)
    top = 1 << bits - 1
    for start in (0, top, 2 * top):
        for edge in EDGES:
            for number in (start + edge, start - edge):
                given = np.array([number % (1 << bits)], f"uint{bits}")
                want = _wanted(type, bits, number)
                arrays = {"in0": given, "out": np.zeros(want.size, np.uint32)}
                got = result(text, arrays, 128, 32, False)
                np.testing.assert_array_equal(got, want, f"{type} {number}")
