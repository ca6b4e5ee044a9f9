"""Indices beyond 32 bits: a few blocks of a call of more than 2^32 elements, run where only theirs are there.

Nobody waits for 2^32 elements, but the blocks that take the first, the last and those on both sides of 2^31
and 2^32 can run alone: memory that is not theirs is addresses without memory behind them. Which blocks take
which elements the plan's grid says, and a small call run just so, the control, says whether that is true of
this kernel. Where it is not, nothing is tried, and the stage's note tells why: a kernel whose blocks go round
cannot be run in part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from llmptx.ptx.errors import PtxError
from llmptx.record import Finding
from llmptx.verify.inputs import Case, plain
from llmptx.verify.plan_run import Part, Setup, outputs, results
from llmptx.verify.stages import Result, Tick
from llmptx.verify.trial import Trial

ELEMENTS = (1 << 32) + 777
EDGES = (1 << 31, 1 << 32)
SHORT, LONG = 5, (1 << 12) + 3  # rows: many short ones, and where those need too much scratch, fewer
PARTIAL_BYTES = 1 << 26
_MOST_BLOCKS = 60_000  # along y and z, where block numbers are 16 bits

Extents = Mapping[str, int]
Parts = tuple[tuple[int, int], ...]


class _Beyond(Exception):  # noqa: N818 (no error: a plan whose launches cannot be run in part)
    """Why the call is not tried."""


@dataclass(frozen=True, slots=True)
class _Tile:
    """Neighbouring results, the blocks that make them, and what of the buffers those need."""

    case: Case
    part: Part


@dataclass(frozen=True, slots=True)
class _Scene:
    """A kind of call: `extents` are those of one with so many items, which the blocks share.

    items    of the call that is too large to run
    centres  items that tiles are laid around there
    held     extents of the case that a range of items is, and the parts of each buffer, inputs first
    """

    items: int
    centres: tuple[int, ...]
    extents: Callable[[int], Extents]
    held: Callable[[Extents, int, int], tuple[Extents, tuple[Parts, ...]]]


def huge(trial: Trial, tick: Tick) -> Result:
    """Blocks of calls of more than 2^32 elements, each element of theirs compared."""
    count, tried = 0, set[str]()
    notes: dict[str, str] = {}
    for name, tiles in _calls(trial):
        if name in tried:
            continue
        rng = np.random.default_rng([trial.seed & 0xFFFFFFFFFFFFFFFF, ELEMENTS])
        try:
            control, whole = tiles(rng)
        except _Beyond as why:
            notes[name] = str(why)
            continue
        if any(_findings(trial, tile) for tile in control):
            notes[name] = "its blocks do not take elements in the order of their numbers"
            continue
        for tile in whole:
            tick(count + 1, 0)
            found = _findings(trial, tile)
            if found and found[0].kind in ("abi", "resource-limit"):
                # No such launch is possible, or no such addresses here: neither is a wrong answer.
                notes[name] = found[0].message
                break
            count += 1
            if found:
                return Result(found, count)
        else:
            tried.add(name)
    left = "; ".join(f"{name} not tried: {why}" for name, why in notes.items() if name not in tried)
    return Result((), count, left)


_Tiles = Callable[[np.random.Generator], tuple[list[_Tile], list[_Tile]]]


def _calls(trial: Trial) -> Iterator[tuple[str, _Tiles]]:
    """Calls by name, several of one name the best first, and what gives the tiles of the control and the call
    or raises _Beyond.
    """
    kind = trial.routine.kind
    if kind == "matmul":
        yield "m*n beyond 2^32", partial(_product, trial, 65_600, 65_500, 3)
        yield "m*k beyond 2^32", partial(_product, trial, 0, 5, 0)
    elif kind in ("elementwise", "dot"):
        yield "n beyond 2^32", partial(_shared, trial, _elements(trial))
    else:
        for length in (SHORT, LONG):
            yield "outer*n beyond 2^32", partial(_shared, trial, _rows(trial, length))
        for length in (SHORT, LONG) if kind != "sort" else ():
            yield "n*inner beyond 2^32", partial(_shared, trial, _columns(trial, length))


def _findings(trial: Trial, tile: _Tile) -> tuple[Finding, ...]:
    found, outcome = trial.execute(tile.case, Setup(check=True), tile.part)
    if outcome is None:
        return tuple(_within(f, tile) for f in found)
    return trial.compared(tile.case, results(trial.signature, outcome.buffers)).findings


def _within(finding: Finding, tile: _Tile) -> Finding:
    """Where the element is one of the buffer's, says so: it is there, but another block's."""
    parts = tile.part.parts.get(finding.buffer, ())
    if finding.kind != "out-of-bounds" or finding.element is None or not parts:
        return finding
    first, last = parts[0][0], sum(parts[-1]) - 1
    message = (
        f"element {finding.element} of {finding.buffer} is touched by a block whose elements are {first}"
    )
    return replace(finding, message=f"{message} to {last}: an index is wrong beyond 32 bits")


# -- calls whose blocks take items by turns: elements, rows, columns


def _elements(trial: Trial) -> _Scene:
    buffers = len(trial.signature.inputs) + len(trial.signature.outputs)
    size = max(np.dtype(dtype).itemsize for dtype in (*trial.signature.inputs, *trial.signature.outputs))

    def held(_: Extents, first: int, end: int) -> tuple[Extents, tuple[Parts, ...]]:
        return {"n": end - first}, (((first, end - first),),) * buffers

    edges = sorted({*EDGES, *(edge // size for edge in EDGES)})
    return _Scene(ELEMENTS, tuple(edges), lambda n: {"n": n}, held)


def _rows(trial: Trial, length: int) -> _Scene:
    inner = {} if trial.routine.kind == "sort" else {"inner": 1}

    def held(_: Extents, first: int, end: int) -> tuple[Extents, tuple[Parts, ...]]:
        taken = ((first * length, (end - first) * length),)
        made = taken if _keeps(trial) else ((first, end - first),)
        return {"outer": end - first, "n": length, **inner}, (taken, made)

    edges = tuple(edge // length for edge in EDGES)
    rows = -(-ELEMENTS // length)
    return _Scene(rows, edges, lambda outer: {"outer": outer, "n": length, **inner}, held)


def _columns(trial: Trial, length: int) -> _Scene:
    def held(call: Extents, first: int, end: int) -> tuple[Extents, tuple[Parts, ...]]:
        taken = tuple((j * call["inner"] + first, end - first) for j in range(length))
        made = taken if _keeps(trial) else ((first, end - first),)
        return {"outer": 1, "n": length, "inner": end - first}, (taken, made)

    columns = -(-ELEMENTS // length)
    return _Scene(columns, (), lambda inner: {"outer": 1, "n": length, "inner": inner}, held)


def _keeps(trial: Trial) -> bool:
    return trial.routine.sizes[-1] == trial.routine.sizes[0]


def _shared(trial: Trial, scene: _Scene, rng: np.random.Generator) -> tuple[list[_Tile], list[_Tile]]:
    shares = _shares(trial, scene.extents(scene.items), scene.items)
    step = max(items for items, _ in shares)
    if any(step % items for items, _ in shares):
        raise _Beyond("its launches share the elements out in sizes that do not go into each other")
    few = 5 * step + min(3, step)
    blocks = _blocks(trial, scene.extents(few))
    if blocks != [-(-few // each) * together for each, together in shares]:
        raise _Beyond("a block takes more where there are more elements, so none can run alone")
    control = list(_tiles(trial, rng, scene, few, (2 * step,), shares, step))
    return control, list(_tiles(trial, rng, scene, scene.items, scene.centres, shares, step))


def _shares(trial: Trial, extents: Extents, items: int) -> list[tuple[int, int]]:
    """Of each launch how many items a block takes, or 1 and how many blocks take an item together."""
    shares = []
    for blocks in _blocks(trial, extents):
        each = -(-items // max(1, blocks))
        if blocks < 2:
            raise _Beyond("one block takes all there is")
        if blocks % items == 0:
            shares.append((1, blocks // items))
        elif -(-items // each) == blocks:
            shares.append((each, 1))
        else:
            raise _Beyond("its grid is no share of the elements")
    return shares


def _blocks(trial: Trial, extents: Extents) -> list[int]:
    """Of each launch how many blocks it has."""
    try:
        for buffer in trial.plan.buffers:
            if buffer.size.evaluate(extents) * buffer.type.bytes > PARTIAL_BYTES:
                raise _Beyond(f"buffer {buffer.name} is too large then")
        return [math.prod(axis.evaluate(extents) for axis in launch.grid) for launch in trial.plan.launches]
    except PtxError as error:
        raise _Beyond(error.message) from error


def _tiles(
    trial: Trial,
    rng: np.random.Generator,
    scene: _Scene,
    items: int,
    centres: Sequence[int],
    shares: Sequence[tuple[int, int]],
    step: int,
) -> Iterator[_Tile]:
    """Around the first item, each centre and the last: the blocks that take it and what is just before."""
    call = scene.extents(items)
    for centre in (0, *centres, items - 1):
        first = max(0, (centre // step - 1) * step)
        end = min(items, (centre // step + 1) * step)
        extents, parts = scene.held(call, first, end)
        blocks = tuple(((first // each * together, -(-end // each) * together),) for each, together in shares)
        yield _tile(trial, rng, call, extents, parts, blocks)


def _tile(
    trial: Trial,
    rng: np.random.Generator,
    call: Extents,
    extents: Extents,
    parts: Sequence[Parts],
    blocks: tuple[Parts, ...],
) -> _Tile:
    names = (*(f"in{i}" for i in range(len(trial.signature.inputs))), *outputs(trial.signature))
    case = plain(trial.routine, trial.signature, extents, rng)
    sizes = " ".join(f"{name}={value}" for name, value in call.items())
    label = f"{sizes}, results from {parts[-1][0][0]}"
    held = dict(zip(names, parts, strict=True))
    return _Tile(replace(case, label=label), Part(call, held, blocks))


# -- products of matrices: a block takes a tile of results


def _product(
    trial: Trial, rows: int, columns: int, depth: int, rng: np.random.Generator
) -> tuple[list[_Tile], list[_Tile]]:
    """rows, depth: 0 for as many rows as the grid has room for, and then as deep as that asks for."""
    if len(trial.plan.launches) != 1 or trial.plan.buffers:
        raise _Beyond("it has several launches, or scratch")
    high, wide = (_side(trial, name) for name in ("m", "n"))
    most = _MOST_BLOCKS * high
    rows = rows or most
    depth = depth or -(-ELEMENTS // rows)
    if rows > most or columns > _MOST_BLOCKS * wide:
        raise _Beyond("its tiles are so small that the grid has no room for it")
    small = {"batch": 1, "m": 3 * high + 1, "n": 3 * wide + 1, "k": min(depth, 70)}
    whole = {"batch": 1, "m": rows, "n": columns, "k": depth}
    down, across = -(-rows // high), -(-columns // wide)
    middle = (EDGES[0] // max(columns, depth) // high, across // 2)
    control = [_block(trial, rng, small, high, wide, place) for place in ((1, 2), (3, 3))]
    return control, [_block(trial, rng, whole, high, wide, p) for p in (middle, (down - 1, across - 1))]


def _side(trial: Trial, name: str) -> int:
    """Rows or columns of a block's tile, as the grid tells."""
    length = 1 << 20
    extents = {"batch": 1, "m": 1, "n": 1, "k": 1, name: length}
    try:
        blocks = math.prod(axis.evaluate(extents) for axis in trial.plan.launches[0].grid)
    except PtxError as error:
        raise _Beyond(error.message) from error
    side = -(-length // max(1, blocks))
    if -(-length // side) != blocks or side > 256:
        raise _Beyond("its grid is no tiling of the results")
    return side


def _block(
    trial: Trial, rng: np.random.Generator, call: Extents, high: int, wide: int, place: tuple[int, int]
) -> _Tile:
    """The block at (row, column) among the tiles, columns fastest."""
    top, left = place[0] * high, place[1] * wide
    height, width = min(high, call["m"] - top), min(wide, call["n"] - left)
    number = place[0] * -(-call["n"] // wide) + place[1]
    parts = (
        ((top * call["k"], height * call["k"]),),
        tuple((j * call["n"] + left, width) for j in range(call["k"])),
        tuple((row * call["n"] + left, width) for row in range(top, top + height)),
    )
    extents = {"batch": 1, "m": height, "n": width, "k": call["k"]}
    return _tile(trial, rng, call, extents, parts, (((number, number + 1),),))
