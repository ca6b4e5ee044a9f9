"""printf of the device: the call in the code, and what the host makes of a format and a block of arguments.

A thread's call comes back to the host at once, so its arguments are read while they are there; the text is
kept until the launch is over, up to a limit. CUDA C++ Programming Guide, formatted output: conversions are
the C library's, at most 32 arguments, every argument aligned to its own size.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable

from llmptx.engine.context import INDEX
from llmptx.engine.memory import ADDRESSABLE, INITIALISED, Arena
from llmptx.isa.form import Form, OperandSpec
from llmptx.ptx.ast import Instruction, Operand
from llmptx.ptx.types import Type

MAX_ARGUMENTS = 32
MAX_TEXT = 1 << 20
MAX_STRING = 1 << 16
_WIDEST = 4096
_READABLE = ADDRESSABLE | INITIALISED

_SPECS = (
    OperandSpec("d", "value", "b32"),
    OperandSpec("a", "value", "b64"),
    OperandSpec("b", "value", "b64"),
)
# No row of the table: no text is matched to it, only a call of vprintf becomes it.
VPRINTF = Form(
    pattern="call vprintf",
    opcode="call",
    regex=re.compile(""),
    groups=(),
    choices=(),
    operands=_SPECS,
    chapter="control",
    meaning=lambda e, m, a, b: e.vprintf(a, b),
    doc="Prints; gives the number of arguments, or -1.",
)


def vprintf_operands(instruction: Instruction) -> tuple[tuple[OperandSpec, Operand, Type | None], ...]:
    """Typed, as a matched row has them."""
    return tuple(
        (spec, operand, Type.parse(spec.type))
        for spec, operand in zip(_SPECS, instruction.operands, strict=True)
    )


# (pc, thread, address of the format, address of the arguments) -> number of arguments
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_int32, ctypes.c_uint64, ctypes.c_uint64)

HELPER = "llmptx.vprintf"
TEXT = f"""
define void @{HELPER}(ptr %ctx, ptr %formats, ptr %arguments, ptr %counts, i32 %mask, i32 %pc, i32 %first, i32
%width)
noinline {{
entry:
  %word = getelementptr i64, ptr %ctx, i64 {INDEX["printer"]}
  %address = load i64, ptr %word
  %printer = inttoptr i64 %address to ptr
  br label %lanes
lanes:
  %lane = phi i32 [ 0, %entry ], [ %lane1, %next ]
  %shifted = lshr i32 %mask, %lane
  %bit = trunc i32 %shifted to i1
  br i1 %bit, label %print, label %next
print:
  %fp = getelementptr i64, ptr %formats, i32 %lane
  %format = load i64, ptr %fp, align 1
  %ap = getelementptr i64, ptr %arguments, i32 %lane
  %argument = load i64, ptr %ap, align 1
  %thread = add i32 %first, %lane
  %count = call i32 %printer(i32 %pc, i32 %thread, i64 %format, i64 %argument)
  %cp = getelementptr i32, ptr %counts, i32 %lane
  store i32 %count, ptr %cp, align 1
  br label %next
next:
  %lane1 = add i32 %lane, 1
  %more = icmp ult i32 %lane1, %width
  br i1 %more, label %lanes, label %out
out:
  ret void
}}
"""

_CONVERSION = re.compile(
    rb"%(?:%|(?P<flags>[-+ #0]*)(?P<width>\*|\d*)(?P<dot>\.(?P<precision>\*|\d*))?"
    rb"(?P<size>hh|h|ll|l|j|z|t|L)?(?P<kind>[diouxXcspeEfFgGaA]))"
)
_libc = ctypes.CDLL(None)
_libc.strnlen.restype = ctypes.c_size_t
Reader = Callable[[int, int], bytes]
# (kind of finding, pc, thread, address, bytes)
Report = Callable[[str, int, int, int, int], None]


class _Wrong(Exception):  # noqa: N818 - it ends a call of printf, nothing more
    """Memory that may not be read: (kind of finding, address, bytes)."""


class Printer:
    """The host's end of vprintf for one worker, and the text of its launch, cut off at MAX_TEXT bytes.

    report: told of memory that checked mode knows to be out of bounds or unwritten.
    """

    def __init__(self, arena: Arena, report: Report) -> None:
        self.arena, self.report = arena, report
        self.pieces: list[bytes] = []
        self.size = self.dropped = 0
        self.callback = _CALLBACK(self._print)

    @property
    def address(self) -> int:
        return ctypes.cast(self.callback, ctypes.c_void_p).value or 0

    def take(self) -> str:
        """What was printed so far, and a note where some was not kept; empty afterwards."""
        text = b"".join(self.pieces).decode("utf-8", "replace")
        if self.dropped:
            text += f"\n[printf: {self.dropped} more calls, beyond {MAX_TEXT} bytes of text, are not shown]\n"
        self.pieces, self.size, self.dropped = [], 0, 0
        return text

    def _print(self, pc: int, thread: int, format: int, arguments: int) -> int:
        if not format:
            return -1
        if self.size >= MAX_TEXT:
            self.dropped += 1
            return 0
        try:
            text, count = formatted(self._string(format), arguments, self._read, self._string)
        except _Wrong as wrong:
            kind, address, size = wrong.args
            self.report(kind, pc, thread, address, size)
            return -1
        if self.dropped or self.size + len(text) > MAX_TEXT:
            self.dropped, self.size = self.dropped + 1, MAX_TEXT
            return count
        self.pieces.append(text)
        self.size += len(text)
        return count

    def _read(self, address: int, size: int) -> bytes:
        if self.arena.shadow:
            known = self._known(address, size)
            if len(known) < size:
                states = self.arena.state(address + len(known))
                raise _Wrong("uninitialized-read" if states & ADDRESSABLE else "out-of-bounds", address, size)
        return ctypes.string_at(address, size)

    def _string(self, address: int) -> bytes:
        if not address:
            return b"(null)"
        if self.arena.shadow:
            known = self._known(address, MAX_STRING)
            if b"\0" not in known and len(known) < MAX_STRING:
                self._read(address, len(known) + 1)
            return known.partition(b"\0")[0]
        return ctypes.string_at(address, _libc.strnlen(ctypes.c_void_p(address), ctypes.c_size_t(MAX_STRING)))

    def _known(self, address: int, most: int) -> bytes:
        """The bytes from `address` on that are there and were written, at most `most`."""
        size = 0
        while size < most and self.arena.state(address + size) & _READABLE == _READABLE:
            size += 1
        return ctypes.string_at(address, size)


def formatted(
    format: bytes, arguments: int, read: Reader, string: Callable[[int], bytes]
) -> tuple[bytes, int]:
    """(text, number of arguments). read(address, size) gives the bytes of an argument, string(address) those
    of a string; whatever they raise is passed on. What is no conversion stands for itself.
    """
    out: list[bytes] = []
    at, taken, end = arguments, 0, 0

    def argument(size: int) -> int:
        nonlocal at, taken
        at = -(-at // size) * size
        value = int.from_bytes(read(at, size), "little")
        at, taken = at + size, taken + 1
        return value

    for found in _CONVERSION.finditer(format):
        out.append(format[end : found.start()])
        end = found.end()
        if found[0] == b"%%":
            out.append(b"%")
        elif taken >= MAX_ARGUMENTS:
            out.append(found[0])
        else:
            out.append(_converted(found, argument, string))
    return b"".join([*out, format[end:]]), taken


def _converted(
    found: re.Match[bytes], argument: Callable[[int], int], string: Callable[[int], bytes]
) -> bytes:
    flags = found["flags"]
    width = _signed(argument(4), 32) if found["width"] == b"*" else int(found["width"] or 0)
    if width < 0:
        flags, width = flags + b"-", -width
    precision = -1
    if found["dot"]:
        precision = _signed(argument(4), 32) if found["precision"] == b"*" else int(found["precision"] or 0)
    spec = b"%" + flags + (b"%d" % min(width, _WIDEST) if width else b"")
    spec += b".%d" % min(precision, _WIDEST) if precision >= 0 else b""
    kind = found["kind"]
    if kind in b"eEfFgGaA":
        double = ctypes.c_double.from_buffer_copy(argument(8).to_bytes(8, "little"))
        return _printed(spec + kind, double)
    if kind == b"s":
        text = ctypes.c_char_p(string(argument(8)))
        return _printed(spec + b"s", text)
    if kind == b"p":
        return _printed(spec + b"p", ctypes.c_void_p(argument(8)))
    if kind == b"c":
        return _printed(spec + b"c", ctypes.c_int(argument(4) & 0xFF))
    wide = (found["size"] or b"") in (b"l", b"ll", b"j", b"z", b"t")
    value = argument(8 if wide else 4)
    narrow = {b"h": 16, b"hh": 8}.get(found["size"], 64 if wide else 32)
    value = _signed(value, narrow) if kind in b"di" else value & ((1 << narrow) - 1)
    return _printed(spec + b"ll" + kind, ctypes.c_longlong(_signed(value, 64)))


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _printed(spec: bytes, value: object) -> bytes:
    buffer = ctypes.create_string_buffer(MAX_STRING if spec.endswith(b"s") else 4 * _WIDEST)
    size = _libc.snprintf(buffer, ctypes.c_size_t(len(buffer)), spec, value)
    return buffer.raw[: min(max(size, 0), len(buffer) - 1)]
