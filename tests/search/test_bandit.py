"""The bandit spends where it pays, and decides the same from the same counts."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmptx.search import Bandit


def play(rates: dict[str, float], prices: dict[str, float], calls: int, seed: int = 0) -> Counter[str]:
    bandit: Bandit[str] = Bandit(seed)
    dice = random.Random(5)
    chosen: Counter[str] = Counter()
    for _ in range(calls):
        arm = bandit.choose(sorted(rates))
        chosen[arm] += 1
        bandit.learn(arm, 1, int(dice.random() < rates[arm]), prices[arm])
    return chosen


def test_calls_go_to_the_arm_that_succeeds_more_often() -> None:
    chosen = play({"good": 0.5, "bad": 0.05}, {"good": 1.0, "bad": 1.0}, 300)
    assert chosen["good"] > 240


def test_a_cheaper_arm_wins_over_a_better_one_that_costs_more_than_it_is_better() -> None:
    chosen = play({"dear": 0.5, "cheap": 0.3}, {"dear": 1.0, "cheap": 0.1}, 300)
    assert chosen["cheap"] > 240


def test_without_prices_only_success_counts() -> None:
    chosen = play({"a": 0.5, "b": 0.1}, {"a": 0.0, "b": 0.0}, 300)
    assert chosen["a"] > 220


def test_no_arm_is_forgotten() -> None:
    chosen = play({"a": 0.3, "b": 0.3, "c": 0.3}, dict.fromkeys("abc", 1.0), 300)
    assert min(chosen.values()) > 10


def test_choosing_among_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        Bandit[str]().choose([])


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, 8)), max_size=30),
    st.randoms(use_true_random=False),
    st.integers(),
)
def test_the_same_history_in_any_order_decides_the_same(
    history: list[tuple[str, bool, int]], dice: random.Random, seed: int
) -> None:
    forward: Bandit[str] = Bandit(seed)
    shuffled: Bandit[str] = Bandit(seed)
    for arm, won, eighths in history:
        forward.learn(arm, 1, int(won), eighths / 8)
    mixed = history[:]
    dice.shuffle(mixed)
    for arm, won, eighths in mixed:
        shuffled.learn(arm, 1, int(won), eighths / 8)
    assert forward.choose("abcd") == shuffled.choose("abcd")
