"""Functions that kernels share: machine code made once in a process, which kernels call by name.

Knows texts and names only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm

# The start of every such name.
LIBRARY = "llmptx.library."

_lock = threading.Lock()
_engines: dict[str, Any] = {}


def provide(texts: dict[str, str], make: Callable[[Any], Any]) -> None:
    """Makes the functions of `texts` (by name; one that calls another comes after it) that are not there yet.

    make: a parsed LLVM module to an execution engine, finalised.
    """
    with _lock:
        for name, text in texts.items():
            if name not in _engines:
                _engines[name] = make(llvm.parse_assembly(text))
                llvm.add_symbol(name, _engines[name].get_function_address(name))
