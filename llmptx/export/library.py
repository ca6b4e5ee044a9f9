"""The kernels an exported package carries: read, checked byte by byte, chosen by routine and dtype.

Knows no numpy function: what a routine does with a kernel is for its siblings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from llmptx.export.kernel import Entry, Kernel

SCHEMA = "llmptx/export/1"


class TamperedError(ImportError):
    """A file of the package is not what was exported."""


class NoKernelError(TypeError):
    """No approved kernel for a dtype; the text names those there are."""


class Library:
    """Kernels by routine and dtype."""

    def __init__(self, kernels: Mapping[tuple[str, str], Kernel]) -> None:
        self._kernels = dict(kernels)

    @staticmethod
    def load(package: str, manifest_sha256: str) -> Library:
        """The kernels in `package`'s folder `kernels`. TamperedError where a byte of it was changed."""
        folder = resources.files(package) / "kernels"
        manifest = json.loads(_bytes(folder, "manifest.json", manifest_sha256))
        if manifest.get("schema") != SCHEMA:
            raise TamperedError(
                f"manifest of schema {manifest.get('schema')!r}; this version reads {SCHEMA!r}"
            )
        kernels = {}
        for row in manifest["kernels"]:
            text = _bytes(folder, row["ptx"], row["ptx_sha256"]).decode()
            _bytes(folder, row["certificate"], row["certificate_sha256"])
            entry = _entry(row)
            kernels[entry.routine, entry.dtype] = Kernel(entry, text)
        return Library(kernels)

    def dtypes(self, routine: str) -> tuple[str, ...]:
        """The dtypes a routine has kernels for, in the manifest's order."""
        return tuple(dtype for name, dtype in self._kernels if name == routine)

    def get(self, routine: str, dtype: Any) -> Kernel:
        """Raises NoKernelError, naming the dtypes there are."""
        kernel = self._kernels.get((routine, str(dtype)))
        if kernel is None:
            known = self.dtypes(routine)
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise NoKernelError(f"{routine} has no approved kernel for {dtype}: {has}")
        return kernel


def _entry(row: Mapping[str, Any]) -> Entry:
    inputs, outputs, extents = (tuple(row[name]) for name in ("inputs", "outputs", "extents"))
    return Entry(row["routine"], row["kind"], row["dtype"], inputs, outputs, extents)


def _bytes(folder: Traversable, path: str, sha256: str) -> bytes:
    file = folder.joinpath(*path.split("/"))
    try:
        data = file.read_bytes()
    except OSError as error:
        raise TamperedError(f"{file} is missing: {error}; install the package again") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise TamperedError(
            f"{file} is not what was exported: its SHA-256 differs; install the package again"
        )
    return data
