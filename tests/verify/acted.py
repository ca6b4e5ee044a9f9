"""A runner that plays numpy.add of float32, or numpy.negative where there is one input, and a fault.

The text's `// act:` line asks for the fault.

The judge's own reactions are under test here: what it does with an outcome, whatever engine that came from.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import numpy as np

from llmptx.record import Finding
from llmptx.run.job import Array, Buffer, Job, Outcome


def run_job(job: Job) -> Outcome:
    act = next((line.split(":", 1)[1].strip() for line in job.ptx.splitlines() if "act:" in line), "right")
    buffers = {b.name: b for b in job.buffers}
    a = np.asarray(buffers["in0"].contents())
    with np.errstate(all="ignore"):
        total = a + np.asarray(buffers["in1"].contents()) if "in1" in buffers else -a
    outcome = _ACTS[act](job, buffers, total)
    return outcome if isinstance(outcome, Outcome) else Outcome("ok", buffers={"out": outcome})


def run_job_a_bit_off(job: Job) -> Outcome:
    """As another device might: the last bit of every answer is another."""
    outcome = run_job(job)
    return replace(outcome, buffers={"out": (outcome.buffers["out"].view(np.uint32) ^ 1).view(np.float32)})


def _poison(buffer: Buffer, places: slice, total: Array) -> Array:
    now = total.copy()
    now.view(np.uint8).reshape(total.size, 4)[places] = buffer.poison
    return now


def _right(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    return total


def _last_off(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    now = total.copy()
    finite = np.flatnonzero(np.isfinite(now))[-1:]
    now[finite] = np.where(now[finite] == 0, np.float32(1), np.float32(0))
    return now


def _only_large(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    return _last_off(job, buffers, total) if total.size > 60_000 else total


def _unwritten(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    return _poison(buffers["out"], slice(-1, None), total)


def _crash(job: Job, buffers: dict[str, Buffer], total: Array) -> Outcome | Array:
    if job.check:
        return Outcome("findings", findings=(Finding("out-of-bounds", "a store past the end", line=33),))
    os.kill(os.getpid(), signal.SIGSEGV)
    return total


def _silent_crash(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    if not job.check:
        os.kill(os.getpid(), signal.SIGSEGV)
    return total


def _hang(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    time.sleep(600)
    return total


def _writes_input(job: Job, buffers: dict[str, Buffer], total: Array) -> Outcome:
    return Outcome("ok", buffers={"out": total}, changed=("in1",))


def _sanitizer(job: Job, buffers: dict[str, Buffer], total: Array) -> Outcome | Array:
    if job.check:
        return Outcome("findings", findings=(Finding("data-race", "two threads at once", line=12, column=5),))
    return total


def _mask(job: Job, buffers: dict[str, Buffer], total: Array) -> Outcome | Array:
    if job.check and total.size:
        return Outcome("ok", buffers={"out": total}, unwritten={"out": np.arange(total.size) == 0})
    return total


def _reads_poison(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    return total if buffers["out"].poison == 0xA5 else total + np.float32(1)


def _minds_alignment(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    return total if all(b.offset % 16 == 0 for b in job.buffers) else total + np.float32(1)


def _minds_aliasing(job: Job, buffers: dict[str, Buffer], total: Array) -> Outcome | Array:
    if buffers["out"].alias:
        return Outcome("ok", buffers={"out": total * 2}, changed=(buffers["out"].alias,))
    return total


def _works_in_place(job: Job, buffers: dict[str, Buffer], total: Array) -> Outcome:
    alias = buffers["out"].alias
    return Outcome("ok", buffers={"out": total}, changed=(alias,) if alias else ())


def _minds_order(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    return total if job.seed is None else np.nextafter(total, np.float32(9))


def _one_value(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    now = total.copy()
    now[total.view(np.uint32) == 0x802A_0B01] = 1
    return now


def _minds_width(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    return total if job.width == 32 else total + np.float32(1)


def _minds_bound(job: Job, buffers: dict[str, Buffer], total: Array) -> Array:
    return total if job.approx != "high" else total + np.float32(1)


_ACTS = {
    name[1:].replace("_", "-"): act
    for name, act in list(globals().items())
    if name.startswith("_") and callable(act)
}
