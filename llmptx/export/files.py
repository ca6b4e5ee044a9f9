"""Approved kernels as files: texts, certificates, and a manifest that names each file with its SHA-256.

Every form of export starts from these. Knows no array library, and what nobody launches from Python.
"""

from __future__ import annotations

import hashlib
import json
import keyword
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any

from llmptx.export.library import SCHEMA
from llmptx.ptx.plan import Expr, Plan, parse_plan
from llmptx.record import Routine
from llmptx.review.desk import Verified
from llmptx.routines import find

_TAKEN = ("llmptx", "numpy", "scipy", "cupy", "torch")


class ExportError(ValueError):
    """An export that cannot be written; str() says why and what to do."""


def check_request(name: str, folder: Path, kernels: Sequence[Verified], manifest: Path) -> None:
    """Raises ExportError for a bad name, for no kernels, and where `folder` holds something else.

    manifest  where an earlier export of the same kind has its own: such a folder may be written over
    """
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii() or name.startswith("_"):
        raise ExportError(f"{name!r} cannot name a package: write a Python identifier, in ASCII, like vk")
    if name in _TAKEN or name in sys.stdlib_module_names:
        raise ExportError(f"{name!r} would hide the package of that name; choose another")
    if not kernels:
        raise ExportError("there is no approved kernel to export; see llmptx review list")
    if folder.exists() and any(folder.iterdir()) and not manifest.exists():
        raise ExportError(f"{folder} holds files that are no export of {name!r}; name another folder")


def write_kernels(folder: Path, kernels: Sequence[Verified]) -> str:
    """Write `package/name/dtype.ptx` and `.json` for each, and manifest.json; the manifest's SHA-256."""
    rows = []
    for kernel in kernels:
        stem = kernel.routine.rpartition(".")[0] + f"/{short(kernel)}/{kernel.dtype}"
        ptx = put(folder / f"{stem}.ptx", kernel.text)
        certificate = put(
            folder / f"{stem}.json", json.dumps(kernel.content, indent=2, sort_keys=True) + "\n"
        )
        row = {
            "ptx": f"{stem}.ptx",
            "ptx_sha256": ptx,
            "certificate": f"{stem}.json",
            "certificate_sha256": certificate,
        }
        rows.append(described(kernel) | row)
    return put(folder / "manifest.json", json.dumps({"schema": SCHEMA, "kernels": rows}, indent=2) + "\n")


def described(kernel: Verified) -> dict[str, Any]:
    """What a caller must know of a kernel: its signature, the sizes of its buffers, and its launch plan.

    Expressions over the extents are trees: an integer, a name, or [operator, left, right].
    """
    routine = find(kernel.routine)
    signature = routine.signature(kernel.dtype)
    return {
        "routine": kernel.routine,
        "kind": routine.kind,
        "dtype": kernel.dtype,
        "inputs": signature.inputs,
        "outputs": signature.outputs,
        "extents": routine.extents,
        "sizes": [_product(size) for size in routine.sizes],
        "plan": _plan(parse_plan(kernel.text), routine, kernel.dtype),
    }


def short(kernel: Verified) -> str:
    """The routine's name without its package."""
    return kernel.routine.rpartition(".")[2]


def shipped(module: str) -> str:
    """The text of a module that exports carry with them."""
    return (resources.files("llmptx.export.shipped") / f"{module}.py").read_text(encoding="utf-8")


def table(kernels: Sequence[Verified]) -> str:
    """Rows of a Markdown table: routine, dtypes."""
    dtypes: dict[str, list[str]] = {}
    for kernel in kernels:
        dtypes.setdefault(kernel.routine, []).append(kernel.dtype)
    return "\n".join(f"| {routine} | {', '.join(known)} |" for routine, known in dtypes.items())


def put(path: Path, text: str) -> str:
    """Write a file with its folders; the SHA-256 of its bytes."""
    data = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _plan(plan: Plan, routine: Routine, dtype: str) -> Mapping[str, Any]:
    return {
        "align": plan.align,
        "noalias": plan.noalias,
        "buffers": [{"name": b.name, "bytes": ["*", _tree(b.size), b.type.bytes]} for b in plan.buffers],
        "launches": [
            {
                "entry": launch.entry,
                "grid": [_tree(axis) for axis in launch.grid],
                "block": launch.block,
                "shared": launch.shared,
                "args": [
                    {"in": "in0", "out0": "out"}.get(a, a) if isinstance(a, str) else _tree(a)
                    for a in (routine.parameters(dtype) if launch.args is None else launch.args)
                ],
            }
            for launch in plan.launches
        ],
    }


def _tree(expression: Expr) -> Any:
    match expression.operator:
        case "int":
            return expression.value
        case "name":
            return expression.name
    return [expression.operator, *(_tree(operand) for operand in expression.operands)]


def _product(size: str) -> Any:
    factors: list[Any] = [int(factor) if factor.isdigit() else factor for factor in size.split("*")]
    return reduce(lambda left, right: ["*", left, right], factors)
