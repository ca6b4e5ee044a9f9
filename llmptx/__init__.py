"""numpy and scipy routines as PTX, written by a model, judged here.

    Module        a PTX text whose kernels can be called with numpy arrays
    verify        judges a text as a routine: llmptx.verify(text, "numpy.add", "float32") -> Verdict
    PtxError      wrong PTX, with file, line, column and a caret
    SanitizerError  raised by a checked call; .findings

Names are imported when first used: the package itself costs nothing to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmptx.ptx.errors import PtxError
    from llmptx.run.module import Module, SanitizerError
    from llmptx.verify.judge import verify

__version__ = "0.1.0"
__all__ = ["Module", "PtxError", "SanitizerError", "__version__", "verify"]

_HOMES = {
    "Module": "llmptx.run.module",
    "SanitizerError": "llmptx.run.module",
    "PtxError": "llmptx.ptx.errors",
}


def __getattr__(name: str) -> Any:
    if name == "verify":
        return import_module("llmptx.verify")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'llmptx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
