"""Scores against counting by hand and by brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmptx.bench import Trial, differences, pass_at, scores, trials
from llmptx.record import Usage
from tests.conftest import MakeRecord

TRIAL = Trial("m", "p", "numpy.exp", "float32", False, False, 0.5)


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_all_draws_of_k_that_hold_a_pass(n: int, data: st.DataObject) -> None:
    passed, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(combinations([True] * passed + [False] * (n - passed), k))
    assert pass_at(k, n, passed) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_more_than_there_are_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="pass@3 cannot be had from 2 trials"):
        pass_at(3, 2, 1)


def test_a_score_by_hand() -> None:
    found = [
        replace(TRIAL, first=True, passed=True),
        replace(TRIAL, passed=True),
        replace(TRIAL, dtype="float64"),
        replace(TRIAL, dtype="float64"),
    ]
    total = scores(found, (1, 2, 5))[0]
    assert (total.by, total.tasks, total.trials) == ("all", 2, 4)
    assert {k: interval.value for k, interval in total.pass_at.items()} == {1: 0.25, 2: 0.5}
    assert (total.passed.value, total.gain.value, total.cost) == (0.5, 0.25, 1.0)
    assert total.passed.low == 0.0
    assert total.passed.high == 1.0
    groups = {(s.by, s.group): s.passed.value for s in scores(found, (1,))}
    assert groups[("dtype", "float32")] == 1.0
    assert groups[("dtype", "float64")] == 0.0
    assert groups[("family", "exponential")] == groups[("kind", "elementwise")] == 0.5


def test_a_cost_is_known_only_where_every_trial_s_is() -> None:
    assert scores([replace(TRIAL, passed=True), replace(TRIAL, cost=None)], (1,))[0].cost is None
    assert scores([TRIAL], (1,))[0].cost is None


def test_prompts_are_compared_on_tasks_that_both_tried() -> None:
    a = [replace(TRIAL, prompt="a", dtype=d) for d in ("float32", "float64", "int32")]
    b = [replace(TRIAL, prompt="b", dtype=d, passed=True) for d in ("float32", "float64")]
    (found,) = differences(a + b)
    assert (found.first, found.second, found.tasks) == ("a", "b", 2)
    assert (found.pass_at_1.value, found.passed.value, found.passed.low) == (0.0, 1.0, 1.0)
    assert differences(a) == []


def test_trials_are_read_from_records(make_record: MakeRecord) -> None:
    record = make_record(outcomes=(False, True))
    first = record.attempts[0]
    unpriced = replace(first, completion=replace(first.completion, usage=Usage(1, 1, None)))
    (repaired, unknown) = trials([record, replace(record, attempts=(unpriced,), passed=False)], "p")
    assert (repaired.first, repaired.passed, repaired.cost) == (False, True, 0.0)
    assert (unknown.passed, unknown.cost) == (False, None)
