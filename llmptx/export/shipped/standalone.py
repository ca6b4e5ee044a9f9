"""Exported kernels, read from their folder and checked byte by byte. Needs Python alone.

Knows manifests and launch plans; nothing of arrays or devices.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = "llmptx/export/1"
_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "ceil_div": lambda a, b: -(-a // b),
    "min": min,
    "max": max,
}


class TamperedError(ImportError):
    """A file is not what was exported."""


@dataclass(frozen=True)
class Launch:
    """One launch for given extents: grid in blocks, block in threads, shared in bytes.

    args  buffers by name, and integers to be passed as 64 bits
    """

    entry: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    args: tuple[str | int, ...]


@dataclass(frozen=True)
class Kernel:
    """A kernel: flat contiguous buffers of `inputs` and `output` dtypes, then its extents by name."""

    routine: str
    dtype: str
    path: Path
    inputs: tuple[str, ...]
    output: str
    extents: tuple[str, ...]
    row: Mapping[str, Any]

    @property
    def align(self) -> int | None:
        """Bytes that every address must be a multiple of; None: the element's size."""
        found: int | None = self.row["plan"]["align"]
        return found

    @property
    def noalias(self) -> bool:
        """Whether the output must not overlap an input."""
        return bool(self.row["plan"]["noalias"])

    def sizes(self, extents: Mapping[str, int]) -> tuple[int, ...]:
        """Elements of every input, then of the output."""
        return tuple(_value(size, self._whole(extents)) for size in self.row["sizes"])

    def scratch(self, extents: Mapping[str, int]) -> dict[str, int]:
        """Bytes of each scratch buffer, by name."""
        extents = self._whole(extents)
        return {b["name"]: _value(b["bytes"], extents) for b in self.row["plan"]["buffers"]}

    def launches(self, extents: Mapping[str, int]) -> tuple[Launch, ...]:
        """What to launch, in order; a launch with a zero in its grid is left out."""
        extents = self._whole(extents)
        launches = []
        for launch in self.row["plan"]["launches"]:
            x, y, z = (_value(axis, extents) for axis in launch["grid"])
            args = tuple(
                a if isinstance(a, str) and a not in extents else _value(a, extents) for a in launch["args"]
            )
            bx, by, bz = launch["block"]
            if x and y and z:
                launches.append(Launch(launch["entry"], (x, y, z), (bx, by, bz), launch["shared"], args))
        return tuple(launches)

    def _whole(self, extents: Mapping[str, int]) -> dict[str, int]:
        whole = {name: int(value) for name, value in extents.items()}
        if set(whole) != set(self.extents) or min(whole.values()) < 0:
            names = ", ".join(self.extents)
            raise TypeError(f"{self.routine} takes the extents {names}, none negative; given: {whole}")
        return whole


def load(folder: Path, manifest_sha256: str) -> dict[tuple[str, str], Kernel]:
    """The kernels in `folder`, by routine and dtype. TamperedError where a byte of a file was changed."""
    manifest = json.loads(_bytes(folder / "manifest.json", manifest_sha256))
    if manifest.get("schema") != SCHEMA:
        raise TamperedError(f"manifest of schema {manifest.get('schema')!r}; this loader reads {SCHEMA!r}")
    kernels = {}
    for row in manifest["kernels"]:
        _bytes(folder / row["ptx"], row["ptx_sha256"])
        _bytes(folder / row["certificate"], row["certificate_sha256"])
        (output,) = row["outputs"]
        kernels[row["routine"], row["dtype"]] = Kernel(
            row["routine"],
            row["dtype"],
            folder / row["ptx"],
            tuple(row["inputs"]),
            output,
            tuple(row["extents"]),
            row,
        )
    return kernels


def _value(tree: Any, extents: Mapping[str, int]) -> int:
    if isinstance(tree, str):
        return extents[tree]
    if isinstance(tree, int):
        return tree
    operator, left, right = tree
    return _OPERATORS[operator](_value(left, extents), _value(right, extents))


def _bytes(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TamperedError(f"{path} is missing: {error}; export the kernels again") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise TamperedError(f"{path} is not what was exported: its SHA-256 differs; export the kernels again")
    return data
