"""Approved kernels as a folder that CuPy loads: `RawModule(path=...)` files with a loader beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmptx.export.files import check_request, put, shipped, table, write_kernels
from llmptx.review.desk import Verified

_INIT = '''\
"""Verified PTX kernels for CuPy: `kernels()[routine, dtype](*inputs, out=array, n=...)`."""

from pathlib import Path

from .cupy_loader import CupyKernel, load

__all__ = ["CupyKernel", "kernels"]


def kernels() -> dict[tuple[str, str], CupyKernel]:
    """Every kernel by routine and dtype. Raises TamperedError where a byte of a file was changed."""
    return load(Path(__file__).parent / "kernels", {manifest!r})
'''

_README = """\
# {name}

PTX kernels, each judged, reviewed by a person and certified. Put this folder's parent on Python's path:

```python
import cupy, {name}

kernel = {name}.kernels()[{routine!r}, {dtype!r}]
kernel.extents                   # what it must be told of its sizes
kernel.module                    # the cupy.RawModule of the file kernel.path
```

Arrays are flat and contiguous; the launch plan is in `kernels/manifest.json` and in the head of each file.
The certificate of a kernel is the `.json` beside it.

| routine | dtypes |
| --- | --- |
{table}
"""


def write(name: str, folder: Path, kernels: Sequence[Verified]) -> tuple[str, ...]:
    """Write the folder NAME into `folder`; the names of the routines in it.

    Raises ExportError for a bad name, for no kernels, and where `folder` holds something else.
    """
    home = folder / name
    check_request(name, folder, kernels, home / "kernels" / "manifest.json")
    manifest = write_kernels(home / "kernels", kernels)
    for module in ("standalone", "cupy_loader"):
        put(home / f"{module}.py", shipped(module))
    put(home / "__init__.py", _INIT.format(manifest=manifest))
    first = kernels[0]
    readme = _README.format(name=name, routine=first.routine, dtype=first.dtype, table=table(kernels))
    put(home / "README.md", readme)
    return tuple(dict.fromkeys(kernel.routine for kernel in kernels))
