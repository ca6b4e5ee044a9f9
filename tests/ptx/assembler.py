"""ptxas as the oracle: which texts it takes, and what it makes of them."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

from llmptx.toolchain.ptxas import find_ptxas

PTXAS = find_ptxas()
needs_ptxas = pytest.mark.skipif(PTXAS is None, reason="ptxas is not installed (package nvidia-cuda-nvcc)")
HEADER = ".version 8.0\n.target sm_80\n.address_size 64\n"


def cubin(text: str, arch: str = "sm_80") -> bytes | None:
    """The machine code ptxas makes of a text, None if it refuses it."""
    assert PTXAS
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "k.ptx"), Path(folder, "k.cubin")
        source.write_bytes(text.encode())
        done = subprocess.run(
            [PTXAS, f"-arch={arch}", source, "-o", out], capture_output=True, timeout=120, check=False
        )
        return out.read_bytes() if done.returncode == 0 else None


def initial_bytes(declaration: str) -> bytes | None:
    """The bytes an initialised `.visible .global` variable has; None if it is refused or all zero."""
    image = cubin(f"{HEADER}{declaration}\n")
    if image is None:
        return None
    start, count, names_at = (
        struct.unpack_from("<Q", image, 0x28)[0],
        struct.unpack_from("<H", image, 0x3C)[0],
        struct.unpack_from("<H", image, 0x3E)[0],
    )
    sections = [struct.unpack_from("<IIQQQQIIQQ", image, start + 64 * each) for each in range(count)]
    names = image[sections[names_at][4] :]
    for name, _, _, _, offset, size, *_ in sections:
        if names[name:].startswith(b".nv.global.init\0"):
            return image[offset : offset + size]
    return None
