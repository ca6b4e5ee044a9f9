"""A trace as people and programs read it: a row, or a JSON object, for every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmptx.commands.output import cell, stdout, table

if TYPE_CHECKING:
    from llmptx.engine.trace import Seen, Step, Trace
    from llmptx.run.job import Job


def step_rows(trace: Trace, source: list[str], job: Job) -> list[dict[str, Any]]:
    """Plain data, one a step: what was done, with what, where it led."""
    return [_row(number, step, trace, source, job) for number, step in enumerate(trace.steps, 1)]


def _row(number: int, step: Step, trace: Trace, source: list[str], job: Job) -> dict[str, Any]:
    row: dict[str, Any] = {
        "step": number,
        "entry": trace.entry,
        "block": trace.block,
        "thread": trace.thread,
        "line": step.span.line,
        "column": step.span.column,
        "text": _text(step, source),
        "skipped": step.skipped,
        "reads": {s.register: _seen(s) for s in step.reads},
        "writes": {s.register: _seen(s) for s in step.writes},
    }
    if step.address is not None:
        row["address"] = {"bits": f"{step.address:#x}", "buffer": step.buffer, "byte": step.offset}
        element = _element(step, job)
        if element is not None:
            row["address"]["element"] = element
    if step.way:
        row["way"] = step.way
    return row


def _text(step: Step, source: list[str]) -> str:
    """The instruction, on one line."""
    span = step.span
    if not 0 < span.line <= len(source):
        return ""
    lines = source[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_column - 1]
    lines[0] = lines[0][span.column - 1 :]
    return " ".join(" ".join(lines).split())


def _seen(seen: Seen) -> dict[str, Any]:
    return {"type": str(seen.type), "bits": f"{seen.bits:#x}", "value": _value(seen)}


def _value(seen: Seen) -> int | float | bool | str:
    """A number; text for a float that JSON has no number for."""
    import numpy as np

    type, bits = seen.type, seen.bits
    if type.kind == "pred":
        return bool(bits)
    if type.kind == "f" and type.lanes == 1 and type.bits >= 16:
        raw = bits.to_bytes(type.bytes, "little")
        number = float(np.frombuffer(raw, f"<f{type.bytes}")[0])
        return number if np.isfinite(number) else str(number)
    if type.signed and bits >> (type.width - 1):
        return bits - (1 << type.width)
    return bits


def _element(step: Step, job: Job) -> int | None:
    import numpy as np

    for buffer in job.buffers:
        if buffer.name == step.buffer:
            return step.offset // np.dtype(buffer.dtype).itemsize
    return None


def _short(seen: Seen) -> str:
    """Addresses and bits in hex, the bits of a word as a number too."""
    import numpy as np

    value = _value(seen)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if seen.type.kind in ("f", "bf") and isinstance(value, float):
        text = str(np.array(value, f"f{seen.type.bytes}"))
    elif seen.bits >= 1 << 32 and not seen.type.signed:
        text = f"{seen.bits:#x}"
    elif seen.type.kind == "b" and seen.bits > 9:
        text = f"{seen.bits:#x} ({value})"
    return f"{seen.register}={text}"


def print_trace(trace: Trace, source: list[str], job: Job) -> None:
    from rich.text import Text

    console = stdout()
    head = f"{trace.entry}, block {trace.block}, thread {trace.thread}"
    console.print(Text(head, style="bold"), soft_wrap=True)
    numbers = ("step", "line")
    made = table(*numbers, "instruction", "reads", "writes", "where", right=numbers)
    for number, step in enumerate(trace.steps, 1):
        made.add_row(
            str(number),
            str(step.span.line or ""),
            cell(_text(step, source), style="dim" if step.skipped else ""),
            cell(" ".join(_short(s) for s in step.reads)),
            cell(" ".join(_short(s) for s in step.writes)),
            cell(_where(step, job)),
        )
    console.print(made)
    if trace.stopped:
        console.print(
            Text(f"note: the thread went on; --trace-limit shows more than {len(trace.steps)} steps")
        )


def _where(step: Step, job: Job) -> str:
    if step.skipped:
        return "skipped"
    if step.way:
        return {"ends": "the thread ends"}.get(step.way, step.way)
    if step.address is None:
        return ""
    element = _element(step, job)
    place = f"byte {step.offset}" if element is None else f"[{element}]"
    if not step.buffer:
        return f"{step.address:#x}"
    return f"{step.buffer}{place}" if element is not None else f"{step.buffer}, {place}"
