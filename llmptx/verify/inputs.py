"""Test cases for a routine: shapes around every edge, filled with numbers that find faults.

Deterministic in the seed, which the process that runs a candidate never sees.
Knows neither PTX nor expected values.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from llmptx.record import Level, Routine, Signature
from llmptx.routines.truth import Array
from llmptx.verify import series
from llmptx.verify.tolerance import Structure
from llmptx.verify.values import Draw, distributions, lattice, mixture, short_lattice

# Elements of one distribution's case, and of the pool a large case is drawn from.
_SAMPLE = 3000
_USUAL_BLOCK = 256
_MOST_EDGES = 6
_LONG_ROW = 512
_DEEP = (1, 35, 1, 16411)  # a product long enough for roundings that all lean one way to show
_MANY = 1 << 17  # rows, and so blocks of many kernels: 16 bits do not count them, and would make 0 of them


@dataclass(frozen=True, slots=True)
class Case:
    """One call: `inputs` are flat arrays, one an input of the signature, of the sizes that `extents` give.

    structure   random; structured (constants: errors add up); exact (the result has no rounding at all)
    """

    label: str
    extents: Mapping[str, int]
    inputs: tuple[Array, ...]
    structure: Structure = "random"


def cases(
    routine: Routine, signature: Signature, level: Level, seed: int, interesting: Sequence[int] = ()
) -> Iterator[Case]:
    """The cases of a level, cheapest first. `exhaustive` has those of `full`.

    interesting  block sizes and tile constants of the candidate's plan: shapes are laid around them
    """
    name = zlib.crc32(f"{routine.name}/{signature.dtype}".encode())
    rng = np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, name])
    edges = _edges(interesting)
    quick = level == "quick"
    if routine.kind == "elementwise":
        return _elementwise(routine, signature, rng, edges, quick)
    if routine.kind in ("reduction", "scan"):
        return _along_axis(routine, signature, rng, edges, quick)
    if routine.kind == "dot":
        return _dot(signature, rng, edges, quick)
    if routine.kind == "matmul":
        return _matmul(signature, rng, edges, quick)
    return _sort(signature, rng, edges, quick)


def plain(routine: Routine, signature: Signature, extents: Mapping[str, int], rng: Generator) -> Case:
    """One case of those extents, of the numbers that shapes at large are filled with."""
    if routine.kind == "elementwise":
        types = zip(signature.inputs, routine.domain, strict=True)
        n = extents["n"]
        return Case(f"n={n}", extents, tuple(mixture(rng, n, *t) for t in types))
    if routine.kind == "sort":
        fills = series.fills("keys", signature.dtype)
        return _rows(fills[next(iter(fills))], "plain", extents["outer"], extents["n"], rng)
    if routine.kind in ("dot", "matmul"):
        fill = series.factors(signature.dtype)["whole numbers"]
        batch, m, n, k = (extents.get(name, 1) for name in ("batch", "m", "n", "k"))
        a, b = fill.draw(rng, batch, m, k, n)
        return Case(f"m={m} n={n} k={k}", extents, (a.ravel(), b.ravel()), fill.structure)
    rows = series.fills(routine.domain[0], signature.dtype)
    shape = (extents["outer"], extents["n"], extents["inner"])
    return _filled(rows[next(iter(rows))], "plain", shape, rng)


def _edges(interesting: Sequence[int]) -> list[int]:
    useful = sorted({t for t in interesting if 1 < t <= 8192})
    return useful[-_MOST_EDGES:] or [_USUAL_BLOCK]


def _lengths(edges: Sequence[int], quick: bool) -> list[int]:
    """Lengths around every edge, 0 first."""
    if quick:
        around = {n for t in edges[-1:] for n in (t - 1, t + 1)}
        return sorted({1, 33, 1003} | around)
    around = {n for t in edges for n in (t - 1, t, t + 1, 2 * t + 1)}
    return sorted({0, 1, 2, 31, 32, 33} | around)


def _large(rng: Generator) -> int:
    """70 to 100 thousand, odd."""
    return int(70_001 + 2 * rng.integers(0, 15_000))


def _twofold(edges: Sequence[int], rng: Generator) -> list[int]:
    """A length that keeps threads of a second pass busy, some twice, where tiles and blocks tell of one."""
    if len(edges) < 2:
        return []
    product = edges[-1] * edges[-2]
    return [product + 32 * edges[-1] + int(rng.integers(1, 500))] if 100_000 < product <= 1 << 21 else []


# -- elementwise


def _elementwise(
    routine: Routine, signature: Signature, rng: Generator, edges: Sequence[int], quick: bool
) -> Iterator[Case]:
    types = list(zip(signature.inputs, routine.domain, strict=True))
    for n in _lengths(edges, quick):
        yield Case(f"n={n}, mixed", {"n": n}, tuple(mixture(rng, n, *t) for t in types))
    special = _grid(_special_axes(types, quick))
    yield Case("special values", {"n": special[0].size}, special)
    size = _SAMPLE // 3 if quick else _SAMPLE
    for label, inputs in _scenarios(types, rng, size):
        yield Case(label, {"n": size}, inputs)
    if not quick:
        n = _large(rng)
        pool = tuple(mixture(rng, _SAMPLE, *t) for t in types)
        pick = rng.integers(0, _SAMPLE, n)
        yield Case(f"n={n}, mixed", {"n": n}, tuple(x[pick] for x in pool))


def _special_axes(types: Sequence[tuple[str, str]], quick: bool) -> list[Array]:
    """The lattice of one or two inputs, the short one of more. Powers cost most to know: few exponents."""
    if len(types) == 1:
        return [lattice(*types[0])]
    if quick or len(types) > 2:
        return [short_lattice(*t) for t in types]
    return [short_lattice(*t) if t[1] == "exponent" else lattice(*t) for t in types]


def _grid(axes: Sequence[Array]) -> tuple[Array, ...]:
    """Every combination of values, one flat array an axis."""
    places = np.indices([len(a) for a in axes]).reshape(len(axes), -1)
    return tuple(a[p] for a, p in zip(axes, places, strict=True))


def _scenarios(
    types: Sequence[tuple[str, str]], rng: Generator, size: int
) -> Iterator[tuple[str, tuple[Array, ...]]]:
    """Each distribution by name, the same for every input, and then what only a pair can show."""
    columns = [distributions(*t) for t in types]
    main = max(columns, key=len)
    for name in main:
        yield name, tuple(_named(column, name)(rng, size) for column in columns)
    if len(types) > 1 and types[-1][0] != "bool":
        yield from _pairs(types, rng, size)


def _named(column: Mapping[str, Draw], name: str) -> Draw:
    return column.get(name) or next(iter(column.values()))


def _pairs(
    types: Sequence[tuple[str, str]], rng: Generator, size: int
) -> Iterator[tuple[str, tuple[Array, ...]]]:
    """Equal and nearly equal operands; whole multiples for division; powers that stay in range."""
    dtype, domain = types[-1]
    front = tuple(mixture(rng, size, *t) for t in types[:-2])
    if domain in ("shift", "exponent") and dtype.startswith("int"):
        return
    x = mixture(rng, size, *types[-2])
    if domain == "exponent":
        for label, base, power in _powers(rng, size, dtype):
            yield label, (base, power)
        return
    yield "equal operands", (*front, x, x.copy())
    if dtype.startswith("int"):
        with np.errstate(all="ignore"):
            yield "neighbours", (*front, x, x + rng.integers(-1, 2, size).astype(dtype))
        return
    with np.errstate(all="ignore"):
        near = x * (1 + rng.integers(-4, 5, size) * np.finfo(dtype).eps).astype(dtype)
        yield "nearly cancelling", (*front, x, np.where(rng.random(size) < 0.5, near, -near).astype(dtype))
        step = distributions(dtype, "real")["moderate"](rng, size)
        multiple = (step * rng.integers(-2000, 2001, size)).astype(dtype)
        yield "multiples", (*front, multiple, step)


def _powers(rng: Generator, size: int, dtype: str) -> Iterator[tuple[str, Array, Array]]:
    reach = 150 if dtype == "float32" else 1075
    base = np.abs(distributions(dtype, "real")["moderate"](rng, size))
    with np.errstate(all="ignore"):
        power = rng.uniform(-reach, reach, size) / np.log2(base.astype(np.float64))
    yield "results in range", base, power.astype(dtype)
    near = 1 + rng.integers(-200, 201, size) * float(np.finfo(dtype).eps) / 2
    with np.errstate(all="ignore"):
        power = rng.uniform(-reach, reach, size) / np.log2(near)
    yield "bases near 1", near.astype(dtype), power.astype(dtype)
    signed = distributions(dtype, "real")["moderate"](rng, size)
    yield "whole exponents", signed, rng.integers(-20, 21, size).astype(dtype)
    yield "half exponents", signed, (rng.integers(-40, 41, size) / 2).astype(dtype)


# -- along an axis


def _along_axis(
    routine: Routine, signature: Signature, rng: Generator, edges: Sequence[int], quick: bool
) -> Iterator[Case]:
    fills = series.fills(routine.domain[0], signature.dtype)
    names = list(fills)
    for turn, shape in enumerate(_axis_shapes(edges, routine.domain[0], rng, quick)):
        # Random data and exact data by turns; every other fill has its own cases below.
        yield _filled(fills[names[turn % 2]], names[turn % 2], shape, rng)
    for name in names:
        for shape in ((1, 700, 1),) if quick else ((1, 1031, 1), (3, 37, 5)):
            yield _filled(fills[name], name, shape, rng)
    for n in () if quick else _twofold(edges, rng):
        yield _filled(fills[names[1]], names[1], (1, n, 1), rng)


def _filled(fill: series.Fill, name: str, shape: tuple[int, int, int], rng: Generator) -> Case:
    outer, n, inner = shape
    rows = fill.draw(rng, outer * inner, n)
    data = np.ascontiguousarray(np.moveaxis(rows.reshape(outer, inner, n), 2, 1)).ravel()
    label = f"outer={outer} n={n} inner={inner}, {name}"
    structure = fill.structure if n & (n - 1) == 0 or not fill.power_of_two else "random"
    return Case(label, {"outer": outer, "n": n, "inner": inner}, (data,), structure)


def _axis_shapes(
    edges: Sequence[int], domain: str, rng: Generator, quick: bool
) -> list[tuple[int, int, int]]:
    """(outer, n, inner). Logits in fewer rows: their truth in float64 costs most."""
    if quick:
        return [(1, 1, 1), (3, 5, 7), (1, edges[-1] + 1, 1), (2, 33, 3)]
    lengths = [(1, n, 1) for n in _lengths(edges, quick=False) if n > 0]
    across = [(t + 1, 3, 1) for t in edges[-2:]] + [(2, 3, t + 1) for t in edges[-2:]]
    fixed = [(0, 5, 3), (4, 5, 0), (3, 1, 4), (3, 5, 7)]
    if domain == "logits":
        fixed += [(65, 33, 3), (300, 1, 1), (1, 67, 60), (16, 257, 1)]
    else:
        fixed += [(257, 33, 3), (1000, 1, 1), (1, 67, 300), (64, 257, 1)]
    empty = [(3, 0, 2), (1, 0, 1)] if domain in ("terms", "averaged") else []
    return [*empty, *lengths, *across, *fixed, (1, _large(rng), 1), (_MANY, 1, 1)]


# -- products


def _dot(signature: Signature, rng: Generator, edges: Sequence[int], quick: bool) -> Iterator[Case]:
    for n in [*_lengths(edges, quick), *([] if quick else [_large(rng), *_twofold(edges, rng)])]:
        for name, fill in series.factors(signature.dtype).items():
            if name in ("random", "whole numbers") or n in (33, 1003):
                a, b = fill.draw(rng, 1, 1, n, 1)
                yield Case(f"n={n}, {name}", {"n": n}, (a.ravel(), b.ravel()), fill.structure)


def _matmul(signature: Signature, rng: Generator, edges: Sequence[int], quick: bool) -> Iterator[Case]:
    fills = series.factors(signature.dtype)
    if quick:
        shapes = [(1, 1, 1, 1), (2, 3, 5, 4), (1, 33, 17, 31)]
    else:
        shapes = [
            (1, 1, 1, 1),
            (3, 5, 7, 9),
            (2, 16, 16, 0),
            (1, 0, 5, 3),
            (0, 4, 4, 4),
            (1, 1, 300, 1),
            (1, 128, 1, 37),
        ]
        shapes += [(1, 1, 1, 517), (1, 64, 64, 64), (3, 33, 17, 65), (1, 70, 67, 97), (1, 2, 3, 1030)]
        for t in [t for t in edges if t <= 64]:
            shapes += [(1, t, t, t), (1, t + 1, t - 1, 2 * t + 1), (1, t - 1, t + 1, t - 1)]
    if not quick and "positive" in fills:
        shapes.append(_DEEP)
    for shape in shapes:
        every = shape in ((1, 33, 17, 31), (3, 33, 17, 65))
        for name in fills if every else ("positive",) if shape == _DEEP else ("random", "whole numbers"):
            batch, m, n, k = shape
            a, b = fills[name].draw(rng, batch, m, k, n)
            label = f"batch={batch} m={m} n={n} k={k}, {name}"
            extents = {"batch": batch, "m": m, "n": n, "k": k}
            yield Case(label, extents, (a.ravel(), b.ravel()), fills[name].structure)


# -- sorting


def _sort(signature: Signature, rng: Generator, edges: Sequence[int], quick: bool) -> Iterator[Case]:
    fills = series.fills("keys", signature.dtype)
    if quick:
        shapes = [(1, 1), (1, 2), (3, 5), (1, 33), (2, 700)]
    else:
        around = {n for t in [*edges, 512, 1024, 2048, 4096] for n in (t - 1, t, t + 1) if n <= 4097}
        shapes = [(3, 0), (0, 5), (_MANY, 2), (33, 37), (5, 1), (7, 2), (3, 3001), (1, 6007)]
        shapes += [(1, n) for n in sorted({1, 2, 3, 4, 7, 31, 32, 33} | around)]
    names = list(fills)
    for turn, (outer, n) in enumerate(shapes):
        name = names[turn % len(fills)]
        if n > _LONG_ROW:
            # Kernels sort long rows another way than short ones, and constant rows hide how.
            for chosen in (names[0], "special values"):
                yield _rows(fills[chosen], chosen, outer, n, rng)
        yield _rows(fills[name], name, outer, n, rng)
    for name, fill in fills.items():
        yield _rows(fill, name, 3, 129 if quick else 517, rng)


def _rows(fill: series.Fill, name: str, outer: int, n: int, rng: Generator) -> Case:
    data = fill.draw(rng, outer, n).ravel()
    return Case(f"outer={outer} n={n}, {name}", {"outer": outer, "n": n}, (data,))
