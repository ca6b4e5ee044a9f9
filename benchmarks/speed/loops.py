"""The C loops of loops.c as functions on arrays, compiled into a folder that is gone afterwards."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .kernel import HERE
from .timing import Run

COMMAND = ("gcc", "-O3", "-march=native", "-shared", "-fPIC")


def compiled() -> ctypes.CDLL | None:
    """None where there is no gcc."""
    if shutil.which(COMMAND[0]) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "loops.so"
        subprocess.run([*COMMAND, str(HERE / "loops.c"), "-o", str(out)], check=True)
        return ctypes.CDLL(str(out))


def bound(library: ctypes.CDLL, name: str, args: tuple[Any, ...]) -> Run:
    """A call of a loop. args: arrays, ints and numpy float32s."""
    function = getattr(library, name)
    function.restype = None
    given = [
        ctypes.c_void_p(a.ctypes.data)
        if isinstance(a, np.ndarray)
        else ctypes.c_float(float(a))
        if isinstance(a, np.floating)
        else ctypes.c_int(a)
        for a in args
    ]
    return lambda: function(*given)
