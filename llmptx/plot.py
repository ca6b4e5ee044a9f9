"""Inline SVG of ULP error over the line of floats. Knows a verdict's curve; knows no routine and no page.

The line is drawn as floats lie on it: equal steps in the count of representable numbers, so that every
exponent has the same room and zero is in the middle.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 16, 34

_MARKS = {
    "float32": (1e-30, 1e-20, 1e-10, 1.0, 1e10, 1e20, 1e30, 3e38),
    "float64": (1e-200, 1e-100, 1.0, 1e100, 1e200, 1e300),
}
Curve = Sequence[tuple[float, float]]


def position(x: float, dtype: str) -> float:
    """Where x lies on the line of `dtype`: -1 at the most negative float, 0 at zero, 1 at the largest."""
    pack, unpack = ("<f", "<I") if dtype == "float32" else ("<d", "<Q")
    largest = struct.pack(pack, 3.4028234663852886e38 if dtype == "float32" else 1.7976931348623157e308)
    try:
        bits = struct.unpack(unpack, struct.pack(pack, abs(x)))[0]
    except OverflowError:
        return math.copysign(1.0, x)
    return math.copysign(min(1.0, bits / struct.unpack(unpack, largest)[0]), x)


def error_plot(curve: Curve, dtype: str, limit: float | None, title: str) -> str:
    """The picture of a curve of (x, error in ULP); `limit`, where there is one, is a line across it."""
    top = _ceiling(max([y for _, y in curve] + [limit or 0.0]))
    step = _step(top)
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for n in range(round(top / step) + 1):
        y = _down(n * step, top)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{n * step:g}</text>'
        )
    parts += _marks(dtype)
    parts.append(f'<path class="bars" d="{_bars(curve, dtype, top)}"/>')
    if limit:
        y = _down(limit, top)
        parts.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        x = WIDTH - RIGHT - 4
        parts.append(
            f'<text class="limit" x="{x}" y="{y - 5:.1f}" text-anchor="end">limit {limit:g} ULP</text>'
        )
    parts.append(f'<text class="tick" x="{LEFT + 4}" y="{TOP - 3}">error in ULP</text></svg>')
    return "".join(parts)


def sparkline(curve: Curve, dtype: str, limit: float | None) -> str:
    """The same, the size of a word, without labels."""
    width, height = 96, 20
    top = max([y for _, y in curve] + [limit or 0.0]) or 1.0
    points = []
    for x, y in curve:
        across = (position(x, dtype) + 1) / 2 * width
        points.append(f"M{across:.1f} {height}V{height - y / top * (height - 2):.1f}")
    line = ""
    if limit:
        y = height - limit / top * (height - 2)
        line = f'<line class="limit" x1="0" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>'
    bars = f'<path class="bars" d="{"".join(points)}"/>'
    return f'<svg class="spark" viewBox="0 0 {width} {height}" aria-hidden="true">{bars}{line}</svg>'


def _bars(curve: Curve, dtype: str, top: float) -> str:
    floor = _down(0.0, top)
    return "".join(
        f"M{_across(x, dtype):.1f} {floor:.1f}V{_down(max(y, 0.004 * top), top):.1f}" for x, y in curve
    )


def _marks(dtype: str) -> list[str]:
    parts = []
    signed = [-x for x in reversed(_MARKS[dtype])] + [0.0, *_MARKS[dtype]]
    for x in signed:
        across = _across(x, dtype)
        y = HEIGHT - BOTTOM
        parts.append(f'<line class="axis" x1="{across:.1f}" x2="{across:.1f}" y1="{y}" y2="{y + 4}"/>')
        parts.append(
            f'<text class="tick" x="{across:.1f}" y="{y + 17}" text-anchor="middle">{_label(x)}</text>'
        )
    y = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="tick" x="{middle}" y="{HEIGHT - 3}" text-anchor="middle">'
        "input x, equal steps in representable floats</text>"
    )
    return parts


def _label(x: float) -> str:
    if x == 0:
        return "0"
    sign = "−" if x < 0 else ""
    exponent = round(math.log10(abs(x)))
    if exponent == 0:
        return f"{sign}1"
    return f'{sign}10<tspan class="up" dy="-4">{str(exponent).replace("-", "−")}</tspan>'


def _across(x: float, dtype: str) -> float:
    return LEFT + (position(x, dtype) + 1) / 2 * (WIDTH - LEFT - RIGHT)


def _down(y: float, top: float) -> float:
    return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)


def _step(top: float) -> float:
    power = 10.0 ** math.floor(math.log10(top))
    return next((k * power for k in (0.1, 0.2, 0.25, 0.5, 1.0) if top / (k * power) <= 5.001), power)


def _ceiling(largest: float) -> float:
    """The top of the axis: at least a little above the largest value, and a whole number of steps."""
    if not largest > 0:
        return 1.0
    step = _step(largest * 1.05)
    return math.ceil(largest * 1.05 / step) * step
