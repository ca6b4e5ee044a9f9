"""What a person asks to run, as text, to a Job: a kernel's arguments, its grid, or the launch plan's.

Arguments are `u32:1000`, `f32:2.0`, `x.npy`, or an output `out.npy:f32[1000]`; `NAME=` before one binds it
to a parameter or buffer of that name. Knows files and dtypes; runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from llmptx.ptx import ast
from llmptx.ptx.errors import PtxError
from llmptx.ptx.plan import Expr, Plan, parse_header
from llmptx.ptx.types import Type
from llmptx.run.job import Array, Buffer, Job, Launch
from llmptx.run.module import Module, scalar_bytes, three

MAX_BYTES = 1 << 34
_NAMED = re.compile(r"(?P<name>[A-Za-z_%$][\w$]*)=(?P<rest>.*)\Z", re.DOTALL)
_OUTPUT = re.compile(r"(?P<path>.+\.npy):(?P<type>[a-z]+\d+)\[(?P<shape>\d+(?:,\d+)*)\]\Z")
_SCALAR = re.compile(r"(?P<type>[usbf](?:8|16|32|64)):(?P<value>[^:]+)\Z")
_KINDS = {"u": "uint", "b": "uint", "s": "int", "f": "float"}
_DTYPES = {
    Type.parse(f"{kind}{bits}"): f"{_KINDS[kind]}{bits}"
    for kind in "ubsf"
    for bits in (8, 16, 32, 64)
    if kind != "f" or bits > 8
}


class ArgumentError(ValueError):
    """What was asked for cannot be run: says which argument, and what would do."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number passed by value, as text gave it."""

    text: str
    type: Type
    value: int | float


@dataclass(frozen=True, slots=True)
class File:
    """An array passed by address. data None: an output, with no contents before the launch."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    data: Array | None


Argument = Scalar | File


@dataclass(frozen=True, slots=True)
class Request:
    """A Job, and the file each of its buffers came from or goes to, by buffer name."""

    job: Job
    files: Mapping[str, File]


def argument(text: str) -> tuple[str, Argument]:
    """(name or "", what it says). Raises ArgumentError; OSError for a file that cannot be read."""
    named = _NAMED.match(text)
    name, rest = (named["name"], named["rest"]) if named else ("", text)
    if found := _OUTPUT.match(rest):
        shape = tuple(int(n) for n in found["shape"].split(","))
        return name, File(Path(found["path"]), _dtype(found["type"], text), shape, None)
    if rest.endswith(".npy"):
        return name, _read(Path(rest))
    if found := _SCALAR.match(rest):
        return name, _scalar(text, found["type"], found["value"])
    raise ArgumentError(
        f"--arg {text}: write a number with its type (u32:1000, f32:2.0), a file (x.npy), or an output with "
        "its type and shape (out.npy:f32[1000])"
    )


def _dtype(name: str, text: str) -> str:
    try:
        return _DTYPES[Type.parse(name)]
    except (ValueError, KeyError):
        known = " ".join(str(type) for type in _DTYPES)
        raise ArgumentError(f"--arg {text}: no array is of type {name}; one of {known}") from None


def _read(path: Path) -> File:
    try:
        data = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArgumentError(f"{path} is no .npy file of numbers: {error}") from error
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "biufc":
        raise ArgumentError(f"{path} holds no plain array of numbers")
    data = np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
    return File(path, data.dtype.name, data.shape, data)


def _scalar(text: str, name: str, value: str) -> Scalar:
    if name not in {str(type) for type in _DTYPES}:
        raise ArgumentError(f"--arg {text}: there is no type {name}")
    type = Type.parse(name)
    try:
        number = float.fromhex(value) if type.is_float and "0x" in value.lower() else None
        if number is None:
            number = float(value) if type.is_float else int(value, 0)
    except (ValueError, OverflowError):
        raise ArgumentError(f"--arg {text}: {value!r} is no {name}") from None
    if not type.is_float:
        low = -(1 << (type.bits - 1)) if type.signed else 0
        high = (1 << (type.bits - type.signed)) - 1
        if not low <= number <= high:
            raise ArgumentError(f"--arg {text}: {name} goes from {low} to {high}")
    return Scalar(text, type, number)


def request(
    module: Module,
    given: Sequence[tuple[str, Argument]],
    *,
    entry: str | None = None,
    grid: tuple[int, ...] | None = None,
    block: tuple[int, ...] | None = None,
    shared: int | None = None,
    extents: Mapping[str, int] | None = None,
    check: bool = False,
) -> Request:
    """The job. Grid, block and what to pass are the plan's where not given; unnamed arguments go, in their
    order, to whatever no extent, scratch buffer or named argument is for.

    Raises ArgumentError, and PtxError where the plan itself is wrong.
    """
    extents = dict(extents or {})
    plan = parse_header(module.text, module.file)
    launches = list(_planned(module, plan, entry, grid is None, extents))
    if not launches:
        launches = [_by_hand(module, entry, grid, block)]
    if block is not None:
        launches = [replace(launch, block=_three(block, "block")) for launch in launches]
    if grid is not None:
        launches = [replace(launch, grid=_three(grid, "grid")) for launch in launches]
    if shared is not None:
        launches = [replace(launch, shared=shared) for launch in launches]
    scratch = _scratch(plan, extents) if plan else {}
    bound = _bind(launches, given, extents, scratch)
    launches = [_passed(module, launch, bound, extents, scratch) for launch in launches]
    launches = [launch for launch in launches if 0 not in launch.grid]
    used = {a for launch in launches for a in launch.args if isinstance(a, str)}
    files = {name: value for name, value in bound.items() if isinstance(value, File)}
    buffers = [_buffer(name, file) for name, file in files.items()]
    buffers += [buffer for name, buffer in scratch.items() if name in used]
    _fits(buffers)
    return Request(Job(module.text, tuple(launches), tuple(buffers), check=check), files)


def _planned(
    module: Module, plan: Plan | None, entry: str | None, with_grid: bool, extents: Mapping[str, int]
) -> Iterator[Launch]:
    """The plan's launches (of one entry where it is named): args are names and numbers."""
    for launch in plan.launches if plan else ():
        if entry is not None and launch.entry != entry:
            continue
        args: list[str | int] = []
        for value in launch.args if launch.args is not None else _names(module, launch.entry):
            name = str(value)
            plain = isinstance(value, str) or value.operator == "name"
            args.append(name if plain else _evaluate(value, extents))
        grid = tuple(_evaluate(axis, extents) for axis in launch.grid) if with_grid else (1, 1, 1)
        yield Launch(launch.entry, _three(grid, "grid"), launch.block, tuple(args), launch.shared)


def _by_hand(
    module: Module, entry: str | None, grid: tuple[int, ...] | None, block: tuple[int, ...] | None
) -> Launch:
    if entry is None and len(module.entries) != 1:
        known = ", ".join(module.entries) or "none"
        raise ArgumentError(f"say with --entry which kernel to run; {module.file} has: {known}")
    name = entry or module.entries[0]
    if grid is None or block is None:
        raise ArgumentError("--grid and --block are needed: there is no //@ launch line to take them from")
    return Launch(name, _three(grid, "grid"), _three(block, "block"), _names(module, name))


def _three(counts: tuple[int, ...], what: str) -> tuple[int, int, int]:
    try:
        return three(counts, what)
    except ValueError as error:
        raise ArgumentError(str(error)) from error


def _names(module: Module, entry: str) -> tuple[str, ...]:
    return tuple(p.name for p in module.get_function(entry).params)


def _evaluate(expression: Expr | str, extents: Mapping[str, int]) -> int:
    assert not isinstance(expression, str)
    try:
        return expression.evaluate(extents)
    except PtxError as error:
        raise ArgumentError(
            f"the plan's {expression} needs its extents: {error.message}; give --extent NAME=COUNT"
        ) from error


def _scratch(plan: Plan, extents: Mapping[str, int]) -> dict[str, Buffer]:
    made = {}
    for buffer in plan.buffers:
        dtype = _DTYPES.get(buffer.type, f"uint{buffer.type.bits}")
        size = _evaluate(buffer.size, extents) if buffer.size.names <= set(extents) else 0
        made[buffer.name] = Buffer(buffer.name, dtype, max(0, size), "scratch")
    return made


def _bind(
    launches: Sequence[Launch],
    given: Sequence[tuple[str, Argument]],
    extents: Mapping[str, int],
    scratch: Mapping[str, Buffer],
) -> dict[str, Argument]:
    """What each name of the launches stands for, extents and scratch aside."""
    wanted = list(dict.fromkeys(a for launch in launches for a in launch.args if isinstance(a, str)))
    bound: dict[str, Argument] = {}
    for name, value in given:
        if name and name not in wanted:
            raise ArgumentError(f"nothing is named {name} here; the kernel takes: {', '.join(wanted)}")
        if name:
            bound[name] = value
    open_ = [n for n in wanted if n not in bound and n not in extents and n not in scratch]
    unnamed = [value for name, value in given if not name]
    if len(unnamed) != len(open_):
        raise ArgumentError(
            f"{len(open_)} arguments are wanted ({', '.join(open_) or 'none'}), {len(unnamed)} were given "
            "with --arg"
        )
    return bound | dict(zip(open_, unnamed, strict=True))


def _passed(
    module: Module,
    launch: Launch,
    bound: Mapping[str, Argument],
    extents: Mapping[str, int],
    scratch: Mapping[str, Buffer],
) -> Launch:
    """The launch with every argument a buffer's name or the bits of a number."""
    params = module.get_function(launch.entry).params
    if len(params) != len(launch.args):
        raise ArgumentError(
            f"{launch.entry} takes {len(params)} parameters, the plan passes {len(launch.args)}"
        )
    args = tuple(
        value if isinstance(value, int) else _value(param, value, bound, extents, scratch)
        for param, value in zip(params, launch.args, strict=True)
    )
    return replace(launch, args=args)


def _value(
    param: ast.Variable,
    name: str,
    bound: Mapping[str, Argument],
    extents: Mapping[str, int],
    scratch: Mapping[str, Buffer],
) -> str | int:
    value = bound.get(name)
    if isinstance(value, Scalar):
        return _bits(param, value)
    if value is None and name in extents:
        return _bits(param, Scalar(f"{name}={extents[name]}", param.type, extents[name]))
    if value is None and name not in scratch:
        raise ArgumentError(f"nothing was given for {name}")
    if param.size != 8 or param.type.is_float:
        raise ArgumentError(f"parameter {param.name} is .{param.type}: an array needs a 64-bit pointer")
    return name


def _bits(param: ast.Variable, value: Scalar) -> int:
    """The parameter's bytes as a number."""
    if param.size != param.type.bytes:
        raise ArgumentError(f"parameter {param.name} has {param.size} bytes: no number is so wide")
    # .b32 parameters hold floats too: what counts is that the bytes are as many as the parameter has.
    loose = param.type.kind == "b" or value.type.kind == "b"
    if param.type.bits != value.type.bits or (param.type.is_float != value.type.is_float and not loose):
        raise ArgumentError(f"parameter {param.name} is .{param.type}: {value.text} does not fit")
    shaped = replace(param, type=value.type) if loose else param
    try:
        return int.from_bytes(scalar_bytes(shaped, value.value), "little")
    except (TypeError, OverflowError) as error:
        raise ArgumentError(str(error)) from error


def _buffer(name: str, file: File) -> Buffer:
    size = int(np.prod(file.shape, dtype=object))
    if file.data is None:
        return Buffer(name, file.dtype, size, "output")
    # A kernel may write to what it was given: it is no read-only input.
    return Buffer(name, file.dtype, size, "scratch", file.data.reshape(-1))


def _fits(buffers: Sequence[Buffer]) -> None:
    total = sum(b.size * np.dtype(b.dtype).itemsize for b in buffers)
    if total > MAX_BYTES:
        raise ArgumentError(f"the arrays have {total} bytes together; at most {MAX_BYTES} are run")
