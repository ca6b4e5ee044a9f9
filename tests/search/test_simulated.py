"""The simulated model keeps to the rates it is given, and the benchmark counts right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, bootstrap

import benchmarks.search as simulation
from benchmarks.search import (
    Class,
    Kernel,
    Mix,
    Simulated,
    kernels,
    load,
    per_kernel,
    ratio,
    searched,
    within,
)
from llmptx.routines import find
from llmptx.search import STRATEGIES, Search

SHIPPED = load(Path(simulation.__file__).with_name("search.toml"))
PLAIN = Class(
    name="plain",
    routine="numpy.add",
    share=1.0,
    right=0.3,
    spread=1e9,
    duplicate=0.0,
    regress=0.0,
    task=1000,
    reply=500,
    faults={"read": 0.1, "assemble": 0.2, "quick": 0.4, "full": 0.3},
    mends=dict.fromkeys(("read", "assemble", "quick", "full"), 0.6),
)


def mix(samples: int = 1, rounds: int = 1, **changes: object) -> Mix:
    kind = replace(PLAIN, **changes)  # type: ignore[arg-type]
    return Mix(samples, rounds, 0.0, (1.0, 10.0), 1.0, 100, (kind,))


def verified(world: Mix, strategy: str, count: int = 150) -> float:
    return sum(searched(world, k, strategy, 1).verified for k in kernels(world, count, 1)) / count


def inside(share: float, truth: float, count: int = 150) -> bool:
    """Whether a share is what chance may give: two-sided at 1 in 10,000."""
    low, high = binom.interval(0.9999, count, truth)
    return bool(low / count <= share <= high / count)


@pytest.mark.parametrize(("draws", "truth"), [(1, 0.3), (3, 1 - 0.7**3)])
def test_draws_are_right_as_often_as_the_file_says(draws: int, truth: float) -> None:
    assert inside(verified(mix(draws), "best-of-n"), truth)


def test_a_repair_mends_as_often_as_the_file_says() -> None:
    """One stage takes all the faults: a second draft is right with 0.3 + 0.7 x 0.6."""
    only = {"read": 0.0, "assemble": 0.0, "quick": 1.0, "full": 0.0}
    assert inside(verified(mix(1, 2, faults=only), "repair"), 0.3 + 0.7 * 0.6)


def test_a_duplicate_is_paid_for_and_not_judged() -> None:
    world = mix(6, right=1e-9, duplicate=1.0)
    outcome = searched(world, Kernel(world.classes[0], 0, 1e-9), "best-of-n", 0)
    assert (outcome.calls, outcome.judged, outcome.verified) == (6, 1, False)


def test_costs_are_tokens_times_price() -> None:
    world = mix()
    simulated = Simulated(world, kernels(world, 1, 0)[0], 0)
    search = Search(find("numpy.add"), "float32", STRATEGIES["best-of-n"], world.limits)
    usage = search.step(simulated.complete, simulated.judge).completion.usage
    assert usage.input_tokens == 1000
    assert usage.cost == pytest.approx((1000 * 1.0 + usage.output_tokens * 10.0) / 1e6)
    assert simulated.cost == usage.cost


def test_intervals_are_those_of_an_independent_bootstrap() -> None:
    dice = np.random.default_rng(3)
    cost, won = dice.exponential(size=80), (dice.random(80) < 0.5).astype(int)
    value, low, high = per_kernel(list(zip(cost, won, strict=True)))
    theirs = bootstrap(
        (cost, won),
        lambda c, w, axis: c.sum(axis) / w.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=2000,
        random_state=1,
    ).confidence_interval
    assert value == pytest.approx(cost.sum() / won.sum())
    assert (low, high) == (pytest.approx(theirs.low, rel=0.05), pytest.approx(theirs.high, rel=0.05))


def test_a_budget_is_spent_where_kernels_come_from() -> None:
    """The benchmark's claim, on a few kernels and with room for chance."""
    jobs = [kernels(SHIPPED, 30, seed) for seed in range(4)]
    budget = 30 * SHIPPED.budget
    ours = [within(SHIPPED, job, "best-first", budget, 0, True) for job in jobs]
    theirs = [within(SHIPPED, job, "best-of-n", budget, 0, False) for job in jobs]
    assert all(spent <= budget + 0.2 for spent, _ in ours + theirs)
    assert ratio(ours, theirs)[0] > 1.5
