"""pass@k, repair gain and cost per verified kernel, from what became of independent trials.

A task is a routine in one dtype; a trial is one conversation about it. Intervals are 95% bootstrap intervals
over tasks, so trials of one task may be as alike as they like. Knows records, not models, jobs or pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from llmptx.record import Record
from llmptx.routines import families, find

Floats = NDArray[np.float64]
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Trial:
    """One conversation. first: its first draft passed; passed: one of its drafts did; cost in US dollars."""

    model: str
    prompt: str
    routine: str
    dtype: str
    first: bool
    passed: bool
    cost: float | None

    @property
    def task(self) -> tuple[str, str]:
        return self.routine, self.dtype


@dataclass(frozen=True, slots=True)
class Interval:
    """A value, and where it lies with 95% confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Score:
    """One model with one prompt on a group of tasks.

    by, group  what the tasks have in common: all, kind, family or dtype, and which
    pass_at    k -> share of tasks of which one of k first drafts would pass
    passed     share of trials that ended in a verified kernel, repairs included
    gain       what repairs add: passed - pass@1
    cost       US dollars a verified kernel; None: not known, or there is none
    """

    model: str
    prompt: str
    by: str
    group: str
    tasks: int
    trials: int
    pass_at: dict[int, Interval]
    passed: Interval
    gain: Interval
    cost: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better `second` does than `first` on the tasks that both tried, for one model."""

    model: str
    first: str
    second: str
    tasks: int
    pass_at_1: Interval
    passed: Interval


def trials(records: Iterable[Record], prompt: str) -> list[Trial]:
    """Of records made with one set of prompts. What a reply cost counts, whichever job paid for it."""
    found = []
    for record in records:
        opening = record.attempts[0].verdict
        costs = [attempt.completion.usage.cost for attempt in record.attempts]
        known = [cost for cost in costs if cost is not None]
        found.append(
            Trial(
                model=record.model,
                prompt=prompt,
                routine=record.routine,
                dtype=record.dtype,
                first=opening is not None and opening.passed,
                passed=record.passed,
                cost=sum(known) if len(known) == len(costs) else None,
            )
        )
    return found


def pass_at(k: int, trials: int, passed: int) -> float:
    """The chance that k of `trials` drawn without replacement hold one of the `passed`: unbiased for pass@k.

    Chen et al., Evaluating Large Language Models Trained on Code, 2021, section 2.1. Raises ValueError for
    k > trials.
    """
    if not 1 <= k <= trials:
        raise ValueError(f"pass@{k} cannot be had from {trials} trials")
    return 1.0 - comb(trials - passed, k) / comb(trials, k)


def scores(found: Sequence[Trial], ks: Sequence[int]) -> list[Score]:
    """One for each model and prompt on all tasks, then on the tasks of each kind, family and dtype."""
    rows = []
    for model, prompt in dict.fromkeys((t.model, t.prompt) for t in found):
        mine = [t for t in found if (t.model, t.prompt) == (model, prompt)]
        for by, group, some in _groups(mine):
            rows.append(_score(model, prompt, by, group, some, ks))
    return rows


def differences(found: Sequence[Trial]) -> list[Difference]:
    """Each later prompt against the first, model by model."""
    rows = []
    prompts = list(dict.fromkeys(t.prompt for t in found))
    for model in dict.fromkeys(t.model for t in found):
        for other in prompts[1:]:
            a = _by_task([t for t in found if (t.model, t.prompt) == (model, prompts[0])])
            b = _by_task([t for t in found if (t.model, t.prompt) == (model, other)])
            both = sorted(a.keys() & b.keys())
            if both:
                first = _rates([a[task] for task in both])
                second = _rates([b[task] for task in both])
                gain = second - first
                rows.append(
                    Difference(
                        model, prompts[0], other, len(both), _interval(gain[:, 0]), _interval(gain[:, 1])
                    )
                )
    return rows


def _groups(found: Sequence[Trial]) -> Iterator[tuple[str, str, list[Trial]]]:
    keys: tuple[tuple[str, Callable[[Trial], str]], ...] = (
        ("all", lambda t: "all"),
        ("kind", lambda t: find(t.routine).kind),
        ("family", lambda t: families()[t.routine]),
        ("dtype", lambda t: t.dtype),
    )
    for by, key in keys:
        for group in dict.fromkeys(key(t) for t in found):
            yield by, group, [t for t in found if key(t) == group]


def _score(model: str, prompt: str, by: str, group: str, some: Sequence[Trial], ks: Sequence[int]) -> Score:
    tasks = list(_by_task(some).values())
    fewest = min(len(task) for task in tasks)
    rates = _rates(tasks)
    estimates = {
        k: _interval(np.array([pass_at(k, len(task), sum(t.first for t in task)) for task in tasks]))
        for k in ks
        if k <= fewest
    }
    costs = [t.cost for t in some if t.cost is not None]
    verified = sum(t.passed for t in some)
    known = len(costs) == len(some) and verified > 0
    return Score(
        model=model,
        prompt=prompt,
        by=by,
        group=group,
        tasks=len(tasks),
        trials=len(some),
        pass_at=estimates,
        passed=_interval(rates[:, 1]),
        gain=_interval(rates[:, 1] - rates[:, 0]),
        cost=sum(costs) / verified if known else None,
    )


def _by_task(some: Iterable[Trial]) -> dict[tuple[str, str], list[Trial]]:
    tasks: dict[tuple[str, str], list[Trial]] = {}
    for trial in some:
        tasks.setdefault(trial.task, []).append(trial)
    return tasks


def _rates(tasks: Sequence[Sequence[Trial]]) -> Floats:
    """A row a task: the share of its trials whose first draft passed, and the share that passed at all."""
    return np.array(
        [[sum(t.first for t in task) / len(task), sum(t.passed for t in task) / len(task)] for task in tasks]
    )


def _interval(values: Floats) -> Interval:
    """Of the mean over tasks; the same draws every time."""
    dice = np.random.default_rng(0)
    means = values[dice.integers(0, len(values), (DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
