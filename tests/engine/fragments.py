"""Where the manual's figures put each element of mma's matrices (PTX ISA 9.7.14.5.1-13), a formula a figure.

Written from the figures' formulas as they stand, and shares nothing with the table. Elements are packed by
numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Place = Callable[[int, int, int], tuple[int, int]]  # (group, thread in group, i) -> (row, column)


def _rows(first: Callable[[int], bool]) -> Callable[[int, int], int]:
    return lambda g, i: g if first(i) else g + 8


def _a(first: Callable[[int], bool], col: Callable[[int, int], int]) -> Place:
    row = _rows(first)
    return lambda g, t, i: (row(g, i), col(t, i))


A: dict[tuple[str, str], Place] = {
    ("m16n8k8", "16"): _a(lambda i: i < 2, lambda t, i: t * 2 + (i & 1)),
    ("m16n8k16", "16"): _a(
        lambda i: i < 2 or 4 <= i < 6, lambda t, i: t * 2 + (i & 1) if i < 4 else t * 2 + (i & 1) + 8
    ),
    ("m16n8k4", "tf32"): _a(lambda i: i == 0, lambda t, i: t),
    ("m16n8k8", "tf32"): _a(lambda i: i in (0, 2), lambda t, i: t if i < 2 else t + 4),
    ("m8n8k4", "f64"): _a(lambda i: True, lambda t, i: t),
    ("m16n8k4", "f64"): _a(lambda i: i == 0, lambda t, i: t),
    ("m16n8k8", "f64"): _a(lambda i: i in (0, 2), lambda t, i: t if i < 2 else t + 4),
    ("m16n8k16", "f64"): _a(lambda i: i % 2 == 0, lambda t, i: i * 2 + t if i % 2 == 0 else i * 2 - 2 + t),
    ("m8n8k16", "8"): _a(lambda i: True, lambda t, i: t * 4 + i),
    ("m16n8k16", "8"): _a(lambda i: i < 4, lambda t, i: t * 4 + (i & 3)),
    ("m16n8k32", "8"): _a(
        lambda i: i < 4 or 8 <= i < 12, lambda t, i: t * 4 + (i & 3) if i < 8 else t * 4 + (i & 3) + 16
    ),
    ("m8n8k32", "4"): _a(lambda i: True, lambda t, i: t * 8 + i),
    ("m16n8k32", "4"): _a(lambda i: i < 8, lambda t, i: t * 8 + (i & 7)),
    ("m16n8k64", "4"): _a(
        lambda i: i < 8 or 16 <= i < 24, lambda t, i: t * 8 + (i & 7) if i < 16 else t * 8 + (i & 7) + 32
    ),
    ("m8n8k128", "1"): _a(lambda i: True, lambda t, i: t * 32 + i),
    ("m16n8k128", "1"): _a(lambda i: i < 32, lambda t, i: t * 32 + (i & 31)),
    ("m16n8k256", "1"): _a(
        lambda i: i < 32 or 64 <= i < 96, lambda t, i: t * 32 + (i & 31) + (0 if i < 64 else 128)
    ),
}

B: dict[tuple[str, str], Callable[[int, int], int]] = {
    ("m16n8k8", "16"): lambda t, i: t * 2 + i,
    ("m16n8k16", "16"): lambda t, i: t * 2 + (i & 1) if i < 2 else t * 2 + (i & 1) + 8,
    ("m16n8k4", "tf32"): lambda t, i: t,
    ("m16n8k8", "tf32"): lambda t, i: t if i == 0 else t + 4,
    ("m8n8k4", "f64"): lambda t, i: t,
    ("m16n8k4", "f64"): lambda t, i: t,
    ("m16n8k8", "f64"): lambda t, i: t if i == 0 else t + 4,
    ("m16n8k16", "f64"): lambda t, i: t + i * 4,
    ("m8n8k16", "8"): lambda t, i: t * 4 + i,
    ("m16n8k16", "8"): lambda t, i: t * 4 + i,
    ("m16n8k32", "8"): lambda t, i: t * 4 + (i & 3) if i < 4 else t * 4 + (i & 3) + 16,
    ("m8n8k32", "4"): lambda t, i: t * 8 + i,
    ("m16n8k32", "4"): lambda t, i: t * 8 + (i & 7),
    ("m16n8k64", "4"): lambda t, i: t * 8 + (i & 7) if i < 8 else t * 8 + (i & 7) + 32,
    ("m8n8k128", "1"): lambda t, i: t * 32 + i,
    ("m16n8k128", "1"): lambda t, i: t * 32 + i,
    ("m16n8k256", "1"): lambda t, i: t * 32 + (i & 31) if i < 32 else t * 32 + (i & 31) + 128,
}
CLASS = {
    "f16": "16", "bf16": "16", "e4m3": "8", "e5m2": "8", "u8": "8", "s8": "8", "u4": "4", "s4": "4",
    "b1": "1", "tf32": "tf32", "f64": "f64",
}  # fmt: skip
BITS = {"16": 16, "8": 8, "4": 4, "1": 1, "tf32": 32, "f64": 64}

# the bits of 0 to 4 in the 8-bit floats
SMALL = {"e4m3": (0x00, 0x38, 0x40, 0x44, 0x48), "e5m2": (0x00, 0x3C, 0x40, 0x42, 0x44)}


def sizes(shape: str) -> tuple[int, int, int]:
    m, n, k = (int(part) for part in shape[1:].replace("n", " ").replace("k", " ").split())
    return m, n, k


def spread(matrix: NDArray[Any], place: Callable[[int, int], tuple[int, int]], held: int) -> NDArray[Any]:
    """(32, held): what each lane holds of a matrix; place is of (lane, i)."""
    return np.array([[matrix[place(lane, i)] for i in range(held)] for lane in range(32)], matrix.dtype)


def a_of(shape: str, element: str, matrix: NDArray[Any]) -> NDArray[Any]:
    place = A[shape, CLASS[element]]
    return spread(matrix, lambda lane, i: place(lane >> 2, lane % 4, i), matrix.size // 32)


def b_of(shape: str, element: str, matrix: NDArray[Any]) -> NDArray[Any]:
    row = B[shape, CLASS[element]]
    return spread(matrix, lambda lane, i: (row(lane % 4, i), lane >> 2), matrix.size // 32)


def c_place(lane: int, i: int) -> tuple[int, int]:
    return (lane >> 2) + (0 if i < 2 else 8), lane % 4 * 2 + (i & 1)


def volta_place(part: str, layout: str, lane: int, i: int) -> tuple[int, int]:
    """Of mma.m8n8k4 with f16, within the matrix that the lane has a part in."""
    high = 0 if lane < 16 else 4
    if part == "a":
        return (lane % 4 + high, i) if layout == "row" else (i % 4 + high, lane % 4)
    if part == "b":
        return (lane % 4, i + high) if layout == "row" else (i, lane % 4 + high)
    if layout == "f16":
        return lane % 4 + high, i
    return (lane & 1) + (i & 2) + high, (i & 4) + (lane & 2) + (i & 1)


def packed(elements: NDArray[Any], element: str) -> NDArray[Any]:
    """(32, held) values to (32, registers) of uint32, or of float64."""
    if element == "f64":
        return elements.astype(np.float64)
    if element in ("u4", "s4"):
        nibbles = elements.astype(np.int64).astype(np.uint8) & 15
        return np.ascontiguousarray(nibbles[:, ::2] | nibbles[:, 1::2] << 4).view(np.uint32)
    if element == "b1":
        return np.packbits(elements.astype(np.uint8), axis=1, bitorder="little").view(np.uint32)
    if element in ("bf16", "tf32"):
        wide = np.ascontiguousarray(elements.astype(np.float32)).view(np.uint32)
        return (
            wide
            if element == "tf32"
            else np.ascontiguousarray((wide >> 16).astype(np.uint16)).view(np.uint32)
        )
    if element in SMALL:
        sign = np.where(elements < 0, 128, 0)
        bits = np.array(SMALL[element])[np.abs(elements).astype(int)] | sign
        return np.ascontiguousarray(bits.astype(np.uint8)).view(np.uint32)
    types = {"f16": np.float16, "f32": np.float32, "s32": np.int32, "u8": np.uint8, "s8": np.int8}
    return np.ascontiguousarray(elements.astype(types[element])).view(np.uint32)


def unpacked(registers: NDArray[Any], element: str) -> NDArray[Any]:
    """(32, registers) of uint32 or float64 to values."""
    types = {"f16": np.float16, "f32": np.float32, "s32": np.int32, "f64": np.float64}
    return np.ascontiguousarray(registers).view(types[element])
