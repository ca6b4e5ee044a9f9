"""Arithmetic on thread numbers, which the engine keeps as a start and a step as long as it can."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from tests.engine.launching import entry, result

THREADS, BLOCKS, STEPS = 96, 3, 120


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


class Sums:
    """A straight-line program of sums, products and conversions, and each register's value in each thread."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.values: dict[str, tuple[int, list[int]]] = {}
        self.lines: list[str] = []
        every = [(block, thread) for block in range(BLOCKS) for thread in range(THREADS)]
        self.count = len(every)
        for name, value in (
            ("tid.x", [t for _, t in every]),
            ("laneid", [t % 32 for _, t in every]),
            ("ctaid.x", [b for b, _ in every]),
            ("warpid", [t // 32 for _, t in every]),
        ):
            self._put(32, f"mov.u32 {{}}, %{name};", value)
        for _ in range(STEPS):
            self._step()

    def _put(self, bits: int, line: str, values: list[int]) -> None:
        name = f"%x{len(self.values)}"
        self.values[name] = (bits, [v % (1 << bits) for v in values])
        self.lines.append(f"    .reg .b{bits} {name};\n    {line.format(name)}")

    def _any(self, bits: int) -> tuple[str, list[int]]:
        """Recent registers sooner than old ones."""
        fit = [n for n, (b, _) in self.values.items() if b == bits]
        name = fit[max(0, len(fit) - 1 - int(self.draw.expovariate(0.3)))]
        return name, self.values[name][1]

    def _number(self) -> int:
        return self.draw.choice([1, 2, 3, 4, 8, 12, 31, 64, 1 << 20, 1 << 28, (1 << 31) - 1])

    def _step(self) -> None:
        wide = any(b == 64 for b, _ in self.values.values())
        bits = self.draw.choice([32, 32, 64]) if wide else 32
        a, x = self._any(bits)
        b, y = self._any(bits)
        k = self._number() * self.draw.choice([1, 1, -1])
        s = self.draw.choice([0, 1, 2, 3, 5, 16, 27, 28, 31])
        each: dict[str, Callable[[], tuple[int, str, list[int]]]] = {
            "add": lambda: (bits, f"add.s{bits} {{}}, {a}, {b};", [i + j for i, j in zip(x, y, strict=True)]),
            "sub": lambda: (bits, f"sub.s{bits} {{}}, {a}, {b};", [i - j for i, j in zip(x, y, strict=True)]),
            "add k": lambda: (bits, f"add.s{bits} {{}}, {a}, {k};", [i + k for i in x]),
            "mul k": lambda: (bits, f"mul.lo.s{bits} {{}}, {a}, {k};", [i * k for i in x]),
            "shl": lambda: (bits, f"shl.b{bits} {{}}, {a}, {s};", [i << s for i in x]),
            "neg": lambda: (bits, f"neg.s{bits} {{}}, {a};", [-i for i in x]),
            "mad": lambda: (
                bits,
                f"mad.lo.s{bits} {{}}, {a}, {k}, {b};",
                [i * k + j for i, j in zip(x, y, strict=True)],
            ),
            "and": lambda: (bits, f"and.b{bits} {{}}, {a}, 0xFFF0;", [i & 0xFFF0 for i in x]),
        }
        if bits == 32:
            u, v = self._any(32)
            narrow = self._number() % (1 << 31)
            each |= {
                "u64": lambda: (64, f"cvt.u64.u32 {{}}, {u};", v),
                "s64": lambda: (64, f"cvt.s64.s32 {{}}, {u};", [signed(i, 32) for i in v]),
                "wide u": lambda: (64, f"mul.wide.u32 {{}}, {u}, {narrow};", [i * narrow for i in v]),
                "wide s": lambda: (
                    64, f"mul.wide.s32 {{}}, {u}, {k};", [signed(i, 32) * k for i in v],
                ),
                "u16": lambda: (32, f"cvt.u32.u16 {{}}, {u};", [i & 0xFFFF for i in v]),
                "s16": lambda: (32, f"cvt.s32.s16 {{}}, {u};", [signed(i & 0xFFFF, 16) for i in v]),
            }  # fmt: skip
        else:
            each["cut"] = lambda: (32, f"cvt.u32.u64 {{}}, {a};", x)
        self._put(*each[self.draw.choice(list(each))]())

    def text(self) -> str:
        size = 8 * len(self.values)
        stores = ""
        for i, (name, (bits, _)) in enumerate(self.values.items()):
            stores += f"    st.global.b{bits} [%place+{8 * i}], {name};\n"
        return entry(
            "\n".join(self.lines)
            + f"""
    .reg .b32 %n, %c;
    .reg .b64 %place;
    mov.u32 %c, %ctaid.x;
    mad.lo.u32 %n, %c, {THREADS}, %tid;
    mul.wide.u32 %place, %n, {size};
    add.u64 %place, %place, %out;
{stores}""",
            "out",
        )

    def wanted(self) -> np.ndarray:
        return np.array([v for _, v in self.values.values()], np.uint64).T


@pytest.mark.parametrize("seed", range(12))
def test_sums_of_thread_numbers_wrap_around_in_every_lane_alone(seed: int) -> None:
    sums = Sums(seed)
    out = np.zeros(sums.count * len(sums.values), np.uint64)
    for width in (32, 1):
        got = result(sums.text(), {"out": out}, THREADS, width, False, blocks=BLOCKS)
        wrong = np.argwhere(got.reshape(sums.wanted().shape) != sums.wanted())
        assert not wrong.size, (width, sums.lines[: wrong[:, 1].min() + 1], wrong[0])
