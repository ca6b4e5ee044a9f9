"""Least times of things that do the same work, taken in turns in one process so that load hits them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

Run = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """One line of a table.

    ms       least milliseconds by who ran it
    ratio    the figure that counts; `target` what it must reach, from below where `at_least`, else from above
    """

    name: str
    ms: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """None where there is no target."""
        if self.ratio is None or self.target is None:
            return None
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target


def best(peers: Mapping[str, Run], repeats: int, clock: Clock = time.perf_counter) -> dict[str, float]:
    """Least milliseconds of each peer. Each runs once before, unmeasured.

    clock: the wall's; or `time.thread_time`, for work of one thread alone, where what a busy machine gives to
    others does not count.
    """
    for run in peers.values():
        run()
    least = dict.fromkeys(peers, float("inf"))
    for _ in range(repeats):
        for name, run in peers.items():
            start = clock()
            run()
            least[name] = min(least[name], (clock() - start) * 1e3)
    return least


def geometric_mean(values: Iterable[float]) -> float:
    return float(np.exp(np.mean(np.log(list(values)))))
