"""How an outcome crosses from the process a candidate owns to the one that judges it.

A frame is a length, a JSON header and the raw bytes of the arrays it lists, unless those stand in memory
both processes see. The sender may be code
nobody trusts, so the reader takes nothing on its word: every name, dtype and size must be the one the job
asked for, every finding one of our kinds, every text short. Nothing here unpickles. This module knows neither
processes nor engines.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from llmptx.record import FINDING_KINDS, Finding, FindingKind
from llmptx.run.job import MAX_PRINTED, Array, Buffer, Job, Outcome

LENGTH = struct.Struct("<Q")
MAX_HEADER = 1 << 20
MAX_FINDINGS = 64
MAX_TEXT = 4000

Read = Callable[[int], bytearray]

_STATUSES = ("ok", "findings", "crash", "timeout", "error")
_PARTS = ("buffers", "unwritten")


class WireError(ValueError):
    """The other side sent what no honest worker sends."""


def encode(outcome: Outcome, window: memoryview | None = None) -> list[bytes | memoryview]:
    """The frame of an outcome, in pieces ready to be written one after the other.

    window  memory both sides see: the arrays are left there, where they fit, instead of in the frame
    """
    arrays: list[Array] = []
    listed: dict[str, list[list[Any]]] = {}
    for part in _PARTS:
        listed[part] = []
        for name, array in getattr(outcome, part).items():
            flat = np.ascontiguousarray(array).reshape(-1)
            listed[part].append([name, flat.dtype.str, flat.size])
            arrays.append(flat)
    raw = [a.view(np.uint8).data for a in arrays if a.size]
    seen = window is not None and sum(len(r) for r in raw) <= len(window)
    header = json.dumps(
        {
            "window": seen,
            "status": outcome.status,
            "findings": [_plain(f) for f in outcome.findings[:MAX_FINDINGS]],
            "notes": [_plain(f) for f in outcome.notes[:MAX_FINDINGS]],
            "printed": outcome.printed[:MAX_PRINTED],
            "changed": list(outcome.changed),
            "seconds": outcome.seconds,
            **listed,
        }
    ).encode()
    if window is None or not seen:
        return [LENGTH.pack(len(header)), header, *raw]
    at = 0
    for piece in raw:
        window[at : at + len(piece)] = piece
        at += len(piece)
    return [LENGTH.pack(len(header)), header]


def _plain(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in _FIELDS}


def decode(job: Job, read: Read, window: memoryview | None = None) -> Outcome:
    """The outcome of `job` from a frame; `read(n)` gives exactly n bytes. Raises WireError otherwise.

    Arrays are copied out of the window, as its other side may write there at any time.
    """
    (length,) = LENGTH.unpack(read(LENGTH.size))
    if length > MAX_HEADER:
        raise WireError(f"a header of {length} bytes")
    try:
        header = json.loads(read(length))
    except ValueError as error:
        raise WireError("the header is no JSON") from error
    if not isinstance(header, dict) or header.get("status") not in _STATUSES:
        raise WireError("the header has no status")
    if header.get("window") and window is not None:
        read = _reader(window)
    owned = {b.name: b for b in job.buffers if b.role != "input" and not b.alias}
    outputs = {b.name: b for b in job.buffers if b.role == "output"}
    expected = _expected(owned | outputs, job)
    buffers = _arrays(header.get("buffers"), expected, read)
    masks = {name: (np.dtype(np.bool_), size) for name, (_, size) in expected.items()}
    unwritten = _arrays(header.get("unwritten"), masks, read)
    inputs = {b.name for b in job.buffers if b.role == "input"}
    return Outcome(
        status=header["status"],
        buffers=buffers,
        findings=_findings(header.get("findings")),
        changed=tuple(n for n in _list(header.get("changed")) if isinstance(n, str) and n in inputs),
        unwritten=unwritten,
        seconds=_number(header.get("seconds")),
        printed=_text(header.get("printed"), MAX_PRINTED),
        notes=_findings(header.get("notes")),
    )


def _reader(window: memoryview) -> Read:
    at = 0

    def read(size: int) -> bytearray:
        nonlocal at
        if at + size > len(window):
            raise WireError("more than the window holds")
        at += size
        return bytearray(window[at - size : at])

    return read


def _expected(wanted: Mapping[str, Buffer], job: Job) -> dict[str, tuple[np.dtype[Any], int]]:
    sizes = {b.name: b.held for b in job.buffers}
    return {
        n: (np.dtype(b.dtype), sizes.get(b.alias, b.held) if b.alias else b.held) for n, b in wanted.items()
    }


def _arrays(listed: Any, expected: Mapping[str, tuple[np.dtype[Any], int]], read: Read) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for entry in _list(listed):
        if not isinstance(entry, list) or len(entry) != 3:
            raise WireError("an array without name, dtype and size")
        name, dtype, size = entry
        if not isinstance(name, str) or name not in expected or name in found:
            raise WireError("an array nobody asked for")
        wanted, count = expected[name]
        if dtype != wanted.str or size != count:
            raise WireError(f"{name} is {dtype} x {size}, not {wanted.str} x {count}")
        array = np.frombuffer(read(count * wanted.itemsize), dtype=np.uint8 if wanted == np.bool_ else wanted)
        found[name] = (array != 0) if wanted == np.bool_ else array
    return found


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise WireError("a list is missing")
    return value


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    raise WireError("a time that is none")


def _findings(values: Any) -> tuple[Finding, ...]:
    return tuple(_finding(v) for v in _list(values)[:MAX_FINDINGS])


def _finding(value: Any) -> Finding:
    if not isinstance(value, dict) or value.get("kind") not in FINDING_KINDS:
        raise WireError("a finding of no known kind")
    if set(value) - set(_FIELDS):
        raise WireError("a finding with fields that findings have not")
    fields = {name: _FIELDS[name](value[name]) for name in value if name != "kind"}
    return Finding(kind=cast(FindingKind, value["kind"]), **fields)


def _text(value: Any, most: int = MAX_TEXT) -> str:
    if not isinstance(value, str):
        raise WireError("a text that is none")
    return value[:most]


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 64:
        raise WireError("an integer that is none")
    return value


def _optional(value: Any) -> int | None:
    return None if value is None else _integer(value)


def _triple(value: Any) -> tuple[int, int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3:
        raise WireError("an index that is none")
    return (_integer(value[0]), _integer(value[1]), _integer(value[2]))


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "kind": _text,
    "message": _text,
    "line": _integer,
    "column": _integer,
    "block": _triple,
    "thread": _triple,
    "lane": _optional,
    "buffer": _text,
    "address": _optional,
    "element": _optional,
    "case": _text,
    "reproduce": _text,
}
