"""What each strategy asks next, and what all of them keep to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmptx.search import STRATEGIES, Draft, Limits, Move
from llmptx.search.best_first import best_first
from llmptx.search.best_of_n import best_of_n
from llmptx.search.repair import repair

MANY = Limits(drafts=20, turns=4, samples=20)


def root(reached: int, sample: int = 0, **more: bool) -> Draft:
    return Draft(None, sample, 1, reached, **more)


def child(parent: int, turn: int, reached: int, sample: int = 0, **more: bool) -> Draft:
    return Draft(parent, sample, turn, reached, **more)


def test_repair_mends_the_last_draft_until_its_turns_are_used_up() -> None:
    drafts = [root(1)]
    for turn in range(2, 5):
        assert repair(drafts, MANY) == Move(len(drafts) - 1, 0)
        drafts.append(child(len(drafts) - 1, turn, 1))
    assert repair(drafts, MANY) == Move(None, 1)
    assert repair(drafts, Limits(20, 4, 1)) is None


def test_repair_begins_anew_where_the_model_repeats_itself() -> None:
    assert repair([root(1), child(0, 2, 1, repeats=True)], MANY) == Move(None, 1)


def test_best_of_n_only_draws() -> None:
    drafts = [root(2, i) for i in range(5)]
    assert best_of_n(drafts, MANY) == Move(None, 5)
    assert best_of_n(drafts, Limits(5, 4, 5)) is None


def test_samples_are_numbered_from_the_first() -> None:
    assert best_of_n([root(1, 7)], Limits(9, 9, 9, first=7)) == Move(None, 8)


@pytest.mark.parametrize(
    ("drafts", "move"),
    [
        ([], Move(None, 0)),
        ([root(3)], Move(0, 0)),
        ([root(3), child(0, 2, 4)], Move(1, 0)),
        ([root(3), child(0, 2, 3)], Move(None, 1)),  # no gain: dropped
        ([root(3), child(0, 2, 2)], Move(None, 1)),  # a loss: dropped
        ([root(0)], Move(None, 1)),  # no PTX at all: drawn again rather than argued with
        ([root(3, repeats=True)], Move(None, 1)),
        ([root(1), child(0, 2, 1), root(3, 1), root(2, 2)], Move(2, 1)),  # the one that came furthest
        ([root(3), child(0, 2, 4), root(4, 1)], Move(2, 1)),  # 4 + 4 over 4 + 1
        ([root(3), root(3, 1)], Move(0, 0)),  # the earlier of two
        ([root(3), child(0, 2, 4), child(1, 3, 5), child(2, 4, 6)], Move(None, 1)),  # no turns left
    ],
)
def test_best_first_mends_what_promises_most(drafts: list[Draft], move: Move) -> None:
    assert best_first(drafts, MANY) == move


@given(
    st.sampled_from(sorted(STRATEGIES)),
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=30, max_size=30),
    st.integers(1, 25),
    st.integers(1, 6),
    st.integers(1, 25),
)
def test_limits_hold_and_no_request_is_made_twice(
    name: str, outcomes: list[tuple[int, bool]], most: int, turns: int, samples: int
) -> None:
    limits = Limits(most, turns, samples)
    drafts: list[Draft] = []
    moves: list[Move] = []
    while (move := STRATEGIES[name](drafts, limits)) is not None:
        assert move not in moves
        moves.append(move)
        reached, repeats = outcomes[len(drafts)]
        turn = 1 if move.parent is None else drafts[move.parent].turn + 1
        if move.parent is not None:
            assert move.sample == drafts[move.parent].sample
        drafts.append(Draft(move.parent, move.sample, turn, reached, False, repeats))
    assert 1 <= len(drafts) <= most
    assert max(draft.turn for draft in drafts) <= turns
    assert sum(draft.parent is None for draft in drafts) <= samples
