"""What is asked of a device, and what comes back: the same two nouns on the CPU engine and on CUDA.

Knows nothing of routines, expected values or verdicts: a worker that holds a Job cannot tell right from
wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llmptx.record import Finding

Array = NDArray[Any]
MAX_PRINTED = 1 << 16


def consecutive(first: int, count: int, dtype: str) -> Array:
    """`count` values of a dtype whose bit patterns are first, first + 1, ..."""
    pattern = np.dtype(f"uint{8 * np.dtype(dtype).itemsize}")
    bits = np.arange(count, dtype=pattern)
    bits += pattern.type(first)
    return np.asarray(bits.view(dtype))


@dataclass(frozen=True, slots=True)
class Buffer:
    """A device buffer of `size` elements of numpy `dtype`, by name.

    data      contents before the launch; None: every byte is `poison`, and checked mode knows it
              uninitialised
    offset    bytes past a 256-byte boundary where it starts: misalignment on request
    alias     name of the buffer whose memory this one is (out == in); size and data are then that one's
    first     instead of data: elements are consecutive bit patterns from this one, so none need be sent
    parts     of a buffer too large to be there: the only elements that are, as (first, count); data and
              results are those, one part after the other. Checked mode takes the rest for no memory at all
    """

    name: str
    dtype: str
    size: int
    role: Literal["input", "output", "scratch"]
    data: Array | None = None
    offset: int = 0
    alias: str = ""
    poison: int = 0xA5
    first: int | None = None
    parts: tuple[tuple[int, int], ...] | None = None

    @property
    def held(self) -> int:
        """Elements that are there."""
        return self.size if self.parts is None else sum(count for _, count in self.parts)

    def contents(self) -> Array | None:
        """What the buffer holds before the launch; None for poison."""
        if self.first is None:
            return self.data
        return consecutive(self.first, self.size, self.dtype)


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel launch. args: a buffer's name (its address is passed) or an integer (passed as .u64).

    blocks    ranges [first, end) of block numbers, x fastest: the only ones that run; None for all
    """

    entry: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: tuple[str | int, ...]
    shared: int = 0
    blocks: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """PTX, its buffers and launches in order, and how to run them.

    check     all sanitizers; else guard pages only (an overrun kills the process)
    width     lanes lowered at once: 32, or 1 for independent thread scheduling
    approx    where .approx results fall: correctly rounded, or at the low or high end of the manual's bound
    seed      order of blocks and warps: None for ascending, else a permutation drawn from it
    budget    loop iterations a thread or warp may make before `timeout`
    guard     buffers end at a guard page ("after"), or start at one ("before")
    keep      the memory may be the last job's where that was laid out alike, and its outcome is only good
              until the next: for thousands of equal jobs
    """

    ptx: str
    launches: tuple[Launch, ...]
    buffers: tuple[Buffer, ...]
    check: bool = False
    width: Literal[32, 1] = 32
    approx: Literal["exact", "low", "high"] = "exact"
    seed: int | None = None
    budget: int = 100_000_000
    guard: Literal["after", "before"] = "after"
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened.

    status        ok; findings (sanitizers or the engine found something, see `findings`); crash (the
                  process died);
                  timeout (wall clock); error (the engine could not run it, see `findings`)
    buffers       contents afterwards of outputs and scratch, by name
    changed       names of inputs whose bytes changed
    unwritten     by output: boolean mask of elements never wholly written (checked mode only)
    printed       what the kernels' printf wrote, at most MAX_PRINTED characters of it
    notes         what is not wrong but worth knowing, located as findings are (checked mode only)
    """

    status: Literal["ok", "findings", "crash", "timeout", "error"]
    buffers: Mapping[str, Array] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    changed: tuple[str, ...] = ()
    unwritten: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    seconds: float = 0.0
    printed: str = ""
    notes: tuple[Finding, ...] = ()
