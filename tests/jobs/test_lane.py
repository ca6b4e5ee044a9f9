"""How many requests may be out: up by one, down by half, and once for each wave."""

from __future__ import annotations

import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from llmptx.jobs import Retry
from llmptx.jobs.calls import Lane
from tests.jobs.fakes import run_in, spec_of
from tests.llm.server import Endpoint


def test_it_grows_by_one_a_reply_until_it_is_braked_and_by_one_a_round_after() -> None:
    lane = Lane(100)
    assert lane.window == 8
    for _ in range(24):
        lane.grow()
    assert lane.window == 32
    ticket = lane.enter()
    assert ticket is not None
    lane.brake(ticket)
    assert lane.window == 16
    for _ in range(17):
        lane.grow()
    assert lane.window == 17


def test_requests_of_one_wave_brake_it_once() -> None:
    lane = Lane(64)
    tickets = [lane.enter() for _ in range(8)]
    for ticket in tickets:
        assert ticket is not None
        lane.brake(ticket)
    assert lane.window == 4


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 50))
def test_it_stays_between_one_and_the_most(good: list[bool], most: int) -> None:
    lane = Lane(most)
    for ok in good:
        ticket = lane.enter()
        assert ticket is not None
        lane.grow() if ok else lane.brake(ticket)
        lane.leave()
        assert 1 <= lane.window <= most


def test_no_more_are_out_than_may_be_and_whoever_waits_goes_on_or_ends() -> None:
    lane = Lane(2)
    lane.enter()
    lane.enter()
    found: list[int | None] = []
    waiting = [threading.Thread(target=lambda: found.append(lane.enter())) for _ in range(2)]
    for thread in waiting:
        thread.start()
    waiting[0].join(0.05)
    assert found == []
    lane.leave()
    while not found:
        waiting[0].join(0.01)
    lane.stop()
    for thread in waiting:
        thread.join(5)
    assert sorted(found, key=str) == [0, None]


def test_an_endpoint_that_says_429_is_asked_less_at_a_time(tmp_path: Path) -> None:
    with Endpoint(["status 429 0"] * 4) as endpoint:
        spec = spec_of(base_url=endpoint.url, workers=4)
        done, _, _ = run_in(tmp_path, spec, retry=Retry(tries=6, base=0.01, cap=0.02))
    assert done.count("repaired") == 3
    assert done.count("passed") == 1
