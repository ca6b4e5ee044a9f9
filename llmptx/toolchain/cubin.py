"""What a cubin does, as one hash: two kernels with the same machine code are the same kernel.

Reads just enough of ELF-64 (System V gABI, chapter 4) to tell code, constants and relocations from names and
notes. Knows neither PTX nor SASS.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOBITS = 8
NOP = 0x918
# Notes, debugging and register counts change nothing that runs.
_ASIDE = (".note", ".debug", ".nv_debug", ".nv.info", ".nv.compat", ".shstrtab")


def code_hash(cubin: bytes) -> str:
    """SHA-256 over the name, size and contents of every section that bears on what runs.

    Raises ValueError for bytes that are no little-endian ELF-64 file.
    """
    digest = hashlib.sha256()
    for name, size, contents in _sections(cubin):
        if not name.startswith(_ASIDE):
            digest.update(f"{name} {size} ".encode())
            digest.update(contents)
    return digest.hexdigest()


def instructions(cubin: bytes) -> int:
    """Machine instructions in all its code, without the NOPs that fill the end of a section.

    An instruction is 16 bytes from sm_70 on; its opcode is the low 12 bits (as nvdisasm
    prints them). Raises ValueError for bytes that are no little-endian ELF-64 file.
    """
    total = 0
    for name, _, code in _sections(cubin):
        if name.startswith(".text"):
            count = len(code) // 16
            while (
                count and int.from_bytes(code[16 * count - 16 : 16 * count - 14], "little") & 0xFFF == 0x918
            ):
                count -= 1
            total += count
    return total


def _sections(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    if len(data) < _HEADER.size or data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not an ELF-64 file")
    fields = _HEADER.unpack_from(data)
    start, entry, count, names_at = fields[6], fields[11], fields[12], fields[13]
    try:
        headers = [_SECTION.unpack_from(data, start + i * entry) for i in range(count)]
        names = _contents(data, headers[names_at])
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError("an ELF file that ends too early") from error
    for header in headers:
        end = names.index(b"\0", header[0])
        yield names[header[0] : end].decode("ascii", "replace"), header[5], _contents(data, header)


def _contents(data: bytes, header: tuple[int, ...]) -> bytes:
    kind, offset, size = header[1], header[4], header[5]
    return b"" if kind == _NOBITS else data[offset : offset + size]
