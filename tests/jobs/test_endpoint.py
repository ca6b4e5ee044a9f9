"""The benchmark's endpoint goes wrong by schedule, and its count of replies is the ledger's."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from benchmarks.endpoint import FAULTS, Service
from benchmarks.jobs import endpoint, faults, spec_of, worked
from llmptx.jobs import Store


def test_the_same_seed_goes_wrong_at_the_same_requests_and_as_often_as_it_should() -> None:
    one, same, other = Service(rate=0.3, seed=1), Service(rate=0.3, seed=1), Service(rate=0.3, seed=2)
    plan = [one.fault(i) for i in range(1000)]
    assert plan == [same.fault(i) for i in range(1000)]
    assert plan != [other.fault(i) for i in range(1000)]
    assert set(plan) == {"", *FAULTS}
    assert 230 < sum(map(bool, plan)) < 370
    assert Service(rate=0.0).fault(7) == ""


def test_without_faults_replies_are_what_the_ledger_says(tmp_path: Path) -> None:
    with endpoint() as url:
        done, _, _, sent = worked(tmp_path, spec_of(12, base_url=url, workers=4))
        with urllib.request.urlopen(f"{url}/count") as answer:
            served = json.load(answer)
    assert served == {"requests": sent, "completions": sent}
    assert done.count("passed") == len(done.items) == sent
    with Store(tmp_path / "jobs.sqlite", readonly=True) as store:
        assert len(store.rows("SELECT 1 FROM calls WHERE state = 'settled'")) == sent


def test_whatever_goes_wrong_every_item_ends_and_each_reply_is_paid_for_once() -> None:
    found = faults(20, rate=0.3)
    assert found["passed"] == found["items"] == found["completions"]
    assert found["requests_sent"] == found["requests_served"] > found["items"]
