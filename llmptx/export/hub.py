"""Approved kernels as a Hugging Face kernel repository of one universal build: torch tensors, any CUDA.

The layout is that of the Hub's kernel requirements: build/torch-universal is the package, and holds a folder
of the repository's name for older loaders. Writes files; uploads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from llmptx.export.files import check_request, put, shipped, table, write_kernels
from llmptx.review.desk import Verified

_INIT = '''\
"""Verified PTX kernels for torch: `kernels()[routine, dtype](*inputs, out=tensor, n=...)`."""

from functools import cache
from pathlib import Path

from .torch_loader import DriverError, TorchKernel, load

__all__ = ["DriverError", "TorchKernel", "kernels"]


@cache
def kernels() -> dict[tuple[str, str], TorchKernel]:
    """Every kernel by routine and dtype. Raises TamperedError where a byte of a file was changed."""
    return load(Path(__file__).parent / "kernels", {manifest!r})
'''

_OLDER = '''\
"""The same package for loaders that look for it under the repository's name."""

import importlib.util
import sys
from pathlib import Path

_folder = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location(
    f"{{__name__}}_universal", _folder / "__init__.py", submodule_search_locations=[str(_folder)]
)
_package = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _package
_spec.loader.exec_module(_package)

DriverError, TorchKernel, kernels = _package.DriverError, _package.TorchKernel, _package.kernels
__all__ = ["DriverError", "TorchKernel", "kernels"]
'''

_README = """\
---
license: apache-2.0
tags:
- kernel
- ptx
- numpy
---

# {name}

PTX kernels for {count} routines of numpy and scipy, each judged, reviewed by a person and certified.

```python
import torch
from kernels import get_kernel

kernel = get_kernel("OWNER/{repository}").kernels()[{routine!r}, {dtype!r}]
kernel.extents                   # what it must be told of its sizes
```

Tensors are contiguous, on one CUDA device, and launched on its current stream. A kernel's launch plan is in
the manifest, its certificate is the `.json` beside it, and a file whose bytes were changed is refused.

| routine | dtypes |
| --- | --- |
{table}
"""


def write(name: str, folder: Path, kernels: Sequence[Verified]) -> tuple[str, ...]:
    """Write a kernel repository into `folder`; the names of the routines in it.

    Raises ExportError for a bad name, for no kernels, and where `folder` holds something else.
    """
    home = folder / "build" / "torch-universal"
    check_request(name, folder, kernels, home / "kernels" / "manifest.json")
    manifest = write_kernels(home / "kernels", kernels)
    for module in ("standalone", "torch_loader"):
        put(home / f"{module}.py", shipped(module))
    put(home / "__init__.py", _INIT.format(manifest=manifest))
    put(home / name / "__init__.py", _OLDER.format())
    metadata = {"version": 1, "license": "Apache-2.0", "python-depends": []}
    put(home / "metadata.json", json.dumps(metadata, indent=2) + "\n")
    first, names = kernels[0], tuple(dict.fromkeys(kernel.routine for kernel in kernels))
    readme = _README.format(
        name=name,
        repository=name.replace("_", "-"),
        count=len(names),
        routine=first.routine,
        dtype=first.dtype,
        table=table(kernels),
    )
    put(folder / "README.md", readme)
    return names
