"""Writes approved kernels as a Python package: texts, certificates, a manifest, and thin functions.

The functions only say which runtime of llmptx.export serves them; nothing here compiles or runs a kernel.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmptx.export.faces import call, documentation
from llmptx.export.files import check_request, put, table, write_kernels
from llmptx.review.desk import Verified

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


def write(name: str, folder: Path, kernels: Sequence[Verified], version: str = "0.1.0") -> tuple[str, ...]:
    """Write the package `name` into `folder`; the names of the routines in it.

    Raises ExportError for a bad name, for no kernels, and where `folder` holds something else.
    """
    home = folder / "src" / name
    check_request(name, folder, kernels, home / "kernels" / "manifest.json")
    if home.exists():
        shutil.rmtree(home)
    manifest = write_kernels(home / "kernels", kernels)
    modules = _modules(kernels)
    for module, routines in modules.items():
        put(home / f"{module or '__init__'}.py", _module(name, module, routines, sorted(modules)))
    put(home / "_kernels.py", _loader(name, manifest))
    put(home / "py.typed", "")
    put(folder / "pyproject.toml", _PYPROJECT.format(name=name, version=version))
    put(folder / "README.md", _readme(name, kernels))
    return tuple(dict.fromkeys(kernel.routine for kernel in kernels))


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
    count = len({kernel.routine for kernel in kernels})
    path = kernels[0].routine.partition(".")[2]
    return _README.format(name=name, count=count, table=table(kernels), example=f"help({name}.{path})")
