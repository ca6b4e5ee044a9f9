"""Writes approved kernels as a Python package: texts, certificates, a manifest, and thin functions.

The functions only say which runtime of llmptx.export serves them; nothing here compiles or runs a kernel.
"""

from __future__ import annotations

import hashlib
import json
import keyword
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmptx.export.faces import call, documentation
from llmptx.export.library import SCHEMA
from llmptx.review.desk import Verified
from llmptx.routines import find

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
description = "Verified PTX kernels with numpy's and scipy's names."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["llmptx>=0.1", "numpy>=2.2"]

[tool.hatch.build]
ignore-vcs = true

[tool.hatch.build.targets.wheel]
packages = ["src/{name}"]
"""

_README = """\
# {name}

Kernels in PTX for {count} routines, each judged, reviewed by a person and certified. They run on numpy arrays
on any CPU, and on CuPy arrays on an NVIDIA GPU, and take and give what numpy and scipy do.

```python
import {name}

{example}
```

| routine | dtypes |
| --- | --- |
{table}

The texts and their certificates are in `src/{name}/kernels`. A file that was changed after the export is
refused when the package is imported.
"""


class ExportError(ValueError):
    """A package that cannot be written; str() says why and what to do."""


def write(name: str, folder: Path, kernels: Sequence[Verified], version: str = "0.1.0") -> tuple[str, ...]:
    """Write the package `name` into `folder`; the names of the routines in it.

    Raises ExportError for a bad name, for no kernels, and where `folder` holds something else.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii() or name.startswith("_"):
        raise ExportError(f"{name!r} cannot name a package: write a Python identifier, in ASCII, like vk")
    if name in ("llmptx", "numpy", "scipy", "cupy") or name in sys.stdlib_module_names:
        raise ExportError(f"{name!r} would hide the package of that name; choose another")
    if not kernels:
        raise ExportError("there is no approved kernel to export; see llmptx review list")
    home = folder / "src" / name
    if folder.exists() and any(folder.iterdir()) and not (home / "kernels" / "manifest.json").exists():
        raise ExportError(f"{folder} holds files that are no export of {name!r}; name another folder")
    if home.exists():
        shutil.rmtree(home)
    manifest = _write_kernels(home / "kernels", kernels)
    modules = _modules(kernels)
    for module, routines in modules.items():
        _put(home / f"{module or '__init__'}.py", _module(name, module, routines, sorted(modules)))
    _put(home / "_kernels.py", _loader(name, manifest))
    _put(home / "py.typed", "")
    _put(folder / "pyproject.toml", _PYPROJECT.format(name=name, version=version))
    _put(folder / "README.md", _readme(name, kernels))
    return tuple(dict.fromkeys(kernel.routine for kernel in kernels))


def _write_kernels(folder: Path, kernels: Sequence[Verified]) -> str:
    """The SHA-256 of the manifest."""
    rows = []
    for kernel in kernels:
        package, _, name = kernel.routine.rpartition(".")
        stem = f"{package}/{name}/{kernel.dtype}"
        ptx = _put(folder / f"{stem}.ptx", kernel.text)
        certificate = _put(
            folder / f"{stem}.json", json.dumps(kernel.content, indent=2, sort_keys=True) + "\n"
        )
        routine = find(kernel.routine)
        signature = routine.signature(kernel.dtype)
        rows.append(
            {
                "routine": kernel.routine,
                "kind": routine.kind,
                "dtype": kernel.dtype,
                "inputs": signature.inputs,
                "outputs": signature.outputs,
                "extents": routine.extents,
                "ptx": f"{stem}.ptx",
                "ptx_sha256": ptx,
                "certificate": f"{stem}.json",
                "certificate_sha256": certificate,
            }
        )
    return _put(folder / "manifest.json", json.dumps({"schema": SCHEMA, "kernels": rows}, indent=2) + "\n")


def _modules(kernels: Sequence[Verified]) -> Mapping[str, Mapping[str, list[Verified]]]:
    """Kernels by routine by module: numpy's at the top (""), scipy.special's in special."""
    modules: dict[str, dict[str, list[Verified]]] = {"": {}}
    for kernel in kernels:
        module = kernel.routine.rpartition(".")[0].partition(".")[2].replace(".", "_")
        modules.setdefault(module, {}).setdefault(kernel.routine, []).append(kernel)
    return modules


def _module(name: str, module: str, routines: Mapping[str, list[Verified]], modules: Sequence[str]) -> str:
    names = [routine.rpartition(".")[2] for routine in routines]
    submodules = [m for m in modules if m] if not module else []
    served = sorted({call(routine).module for routine in routines})
    lines = [f'"""Verified PTX kernels: {", ".join(names) or "see the modules"}."""', ""]
    lines += ["from typing import Any as _Any", ""] if names else []
    lines += [f"from llmptx.export import {m} as _{m}" for m in served]
    lines += ["", f"from {name}._kernels import LIBRARY as _LIBRARY"]
    lines += [f"from {name} import {', '.join(submodules)}"] if submodules else []
    lines += ["", f"__all__ = {sorted([*names, *submodules])!r}"]
    for routine, kernels in routines.items():
        lines += ["", "", *_function(routine, kernels)]
    return "\n".join(lines) + "\n"


def _function(routine: str, kernels: Sequence[Verified]) -> list[str]:
    face = call(routine)
    text = documentation(routine, [kernel.certificate for kernel in kernels])
    body = "\n".join(f"    {line}".rstrip() for line in text.splitlines()).strip()
    return [
        f"def {routine.rpartition('.')[2]}({face.parameters}) -> _Any:",
        f'    """{body}\n    """',
        f"    return _{face.module}.{face.function}(_LIBRARY, {routine!r}, {face.arguments})",
    ]


def _loader(name: str, manifest: str) -> str:
    return (
        '"""The kernels, read and checked against the SHA-256 they were exported with."""\n\n'
        "from llmptx.export.library import Library\n\n"
        f"LIBRARY = Library.load({name!r}, {manifest!r})\n"
    )


def _readme(name: str, kernels: Sequence[Verified]) -> str:
    dtypes: dict[str, list[str]] = {}
    for kernel in kernels:
        dtypes.setdefault(kernel.routine, []).append(kernel.dtype)
    table = "\n".join(f"| {routine} | {', '.join(known)} |" for routine, known in dtypes.items())
    path = next(iter(dtypes)).partition(".")[2]
    return _README.format(name=name, count=len(dtypes), table=table, example=f"help({name}.{path})")


def _put(path: Path, text: str) -> str:
    """Write a file with its folders; the SHA-256 of its bytes."""
    data = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
