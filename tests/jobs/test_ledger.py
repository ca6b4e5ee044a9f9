"""The ledger counts every cent, through crashes, losses and retries."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx.jobs import BudgetSpentError, Ledger, Store, UnknownOutcomeError
from llmptx.jobs.ledger import Call
from llmptx.record import Completion, Usage
from tests.jobs.fakes import spec_of

REPLY = Completion("m", "e", "text", "stop", Usage(10, 20, 0.03), 1.0, "thought", "full")


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "jobs.sqlite") as store:
        store.submit(spec_of())
        store.submit(spec_of())
        yield store


def call(key: str = "k", bound: float = 0.1, job: int = 1) -> Call:
    return Call(key, job, "e", "m", 0, bound)


def test_a_call_from_plan_to_settlement(store: Store) -> None:
    ledger = Ledger(store)
    assert ledger.reply("k") is None
    ledger.reserve(call())
    assert ledger.spent(1) == 0.1
    ledger.sent("k")
    assert ledger.spent(1) == 0.1
    ledger.received("k", REPLY)
    assert ledger.reply("k") == REPLY
    ledger.settle("k")
    assert ledger.spent(1) == 0.03
    assert ledger.totals(1) == (1, 0.03)
    assert ledger.totals(2) == (0, 0.0)


def test_a_budget_is_never_passed_and_held_money_counts(store: Store) -> None:
    ledger = Ledger(store)
    ledger.reserve(call("a"), budget=0.25)
    ledger.reserve(call("b"), budget=0.25)
    with pytest.raises(
        BudgetSpentError, match=r"\$0\.2000 of \$0\.25 is spent or held; .* can cost \$0\.1000"
    ):
        ledger.reserve(call("c"), budget=0.25)
    ledger.release("a")
    ledger.reserve(call("c"), budget=0.25)


def test_budgets_of_jobs_are_apart(store: Store) -> None:
    ledger = Ledger(store)
    ledger.reserve(call("a", 0.2), budget=0.25)
    ledger.reserve(call("b", 0.2, job=2), budget=0.25)
    assert (ledger.spent(1), ledger.spent(2)) == (0.2, 0.2)


def test_after_a_crash_sent_calls_are_unknown_charged_and_not_resent(store: Store) -> None:
    ledger = Ledger(store)
    ledger.reserve(call("held"))
    ledger.reserve(call("gone"))
    ledger.sent("gone")
    ledger.reserve(call("there"))
    ledger.sent("there")
    ledger.received("there", REPLY)
    assert ledger.recover() == 1
    assert ledger.spent(1) == pytest.approx(0.13)
    with pytest.raises(UnknownOutcomeError, match=r"up to \$0\.1000 may have been billed"):
        ledger.reserve(call("gone"))
    assert ledger.recover() == 1


def test_a_resend_on_request_is_charged_on_top(store: Store) -> None:
    ledger = Ledger(store)
    ledger.reserve(call())
    ledger.sent("k")
    ledger.recover()
    with pytest.raises(BudgetSpentError):
        ledger.reserve(call(), budget=0.15, resend=True)
    ledger.reserve(call(), budget=0.25, resend=True)
    ledger.sent("k")
    ledger.received("k", REPLY)
    ledger.settle("k")
    assert ledger.totals(1) == (2, pytest.approx(0.13))


def test_a_lost_try_stays_with_the_job_that_made_it(store: Store) -> None:
    ledger = Ledger(store)
    ledger.reserve(call())
    ledger.sent("k")
    ledger.lose("k")
    ledger.reserve(call(job=2))
    assert (ledger.spent(1), ledger.spent(2)) == (0.1, 0.1)


def test_a_reply_that_does_not_state_its_cost_is_charged_what_was_held(store: Store) -> None:
    ledger = Ledger(store)
    silent = replace(REPLY, usage=Usage())
    for key, bound in (("priced", 0.1), ("unpriced", 0.0)):
        ledger.reserve(call(key, bound))
        ledger.sent(key)
        ledger.received(key, silent)
        ledger.settle(key)
    assert ledger.totals(1, {"priced"}) == (1, 0.1)
    assert ledger.totals(1) == (2, None)


def test_keys_tell_endpoint_request_and_sample_apart() -> None:
    request = {"model": "m", "messages": []}
    keys = {Ledger.key("e", request, 0), Ledger.key("f", request, 0), Ledger.key("e", request, 1)}
    keys.add(Ledger.key("e", {**request, "model": "n"}, 0))
    assert len(keys) == 4
    assert Ledger.key("e", dict(reversed(request.items())), 0) in keys


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["go", "fail", "refuse", "crash"])), max_size=12
)


@settings(max_examples=20, deadline=None)
@given(STEPS)
def test_what_is_spent_never_shrinks_but_by_what_was_only_held(steps: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "jobs.sqlite") as store:
        store.submit(spec_of())
        ledger, certain = Ledger(store), 0.0
        for key, step in steps:
            if ledger.reply(key) is not None:
                continue
            ledger.reserve(call(key), resend=True)
            ledger.sent(key)
            if step == "go":
                ledger.received(key, REPLY)
                ledger.settle(key)
                certain += 0.03
            elif step == "refuse":
                ledger.release(key)
            else:
                ledger.lose(key) if step == "fail" else ledger.recover()
                certain += 0.1
            assert ledger.spent(1) == pytest.approx(certain)
