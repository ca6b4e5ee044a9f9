"""Certificates say enough to have their verdict again, and a replay says what is different."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from llmptx.record import Accuracy, Verdict, digest
from llmptx.run.worker import Pool
from llmptx.toolchain.ptxas import find_ptxas
from llmptx.verify import certificate as certificates
from llmptx.verify.certificate import CertificateError, certificate
from llmptx.verify.judge import verify
from llmptx.verify.replay import replay
from tests.verify.kernels import ADD
from tests.verify.test_judge import STAGES, acting

pytestmark = pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, "tests.verify.acted:run_job") as pool:
        yield pool


@pytest.fixture(scope="module")
def verdict(pool: Pool) -> Verdict:
    return verify(acting("right"), "numpy.add", "float32", pool=pool)


@pytest.fixture
def given(verdict: Verdict) -> dict[str, Any]:
    return certificate(verdict)


def signed(given: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = {k: v for k, v in {**given, **changes}.items() if k != "hash"}
    return {**body, "hash": digest(body)}


def test_a_certificate_says_what_was_tried_and_allowed(given: dict[str, Any]) -> None:
    assert [s["name"] for s in given["stages"]] == STAGES
    assert all(s["tried"] for s in given["stages"])
    assert given["stages"][3]["cases"] > 20
    assert given["tolerance"]["rule"] == "exact"
    assert "bit for bit" in given["tolerance"]["derivation"]
    assert given["targets"] == ["sm_100", "sm_80", "sm_90"]
    assert "numpy" in given["tools"]
    assert "ptxas" in given["tools"]
    assert given["accuracy"]["checked"] > 10_000


def test_the_same_verdict_comes_out_again(given: dict[str, Any], pool: Pool) -> None:
    found = replay(given, acting("right"), pool=pool)
    assert found.same
    assert found.differences == ()


def test_the_seed_is_told_and_used(pool: Pool) -> None:
    other = certificate(verify(acting("right"), "numpy.add", "float32", pool=pool, seed=7))
    assert other["seed"] == 7
    assert replay(other, acting("right"), pool=pool).same
    again = replay(signed(other, seed=8), acting("right"), pool=pool)
    assert not again.same


def test_other_versions_tools_and_figures_are_named(given: dict[str, Any], pool: Pool) -> None:
    stages = [{**s, "cases": 1} if s["name"] == "full" else s for s in given["stages"]]
    old = signed(given, judge="0", engine="0", spec="00", stages=stages, verdict="00", tools="an abacus")
    found = replay(old, acting("right"), pool=pool)
    assert not found.same
    said = "\n".join(found.differences)
    for expected in ("judge version 0", "engine version 0", "spec has changed", "stages were", "an abacus"):
        assert expected in said


def test_a_verdict_that_fails_now_says_why(given: dict[str, Any], pool: Pool) -> None:
    failing = acting("last-off")
    lying = signed(given, candidate=certificates.candidate_hash(failing))
    with Pool(1, "tests.verify.acted:run_job_a_bit_off") as other:
        found = replay(lying, failing, pool=other)
    assert not found.same
    assert "it does not pass: mismatch" in found.differences[0]


def test_another_text_or_a_changed_certificate_is_refused(given: dict[str, Any], pool: Pool) -> None:
    with pytest.raises(CertificateError, match="the text is"):
        replay(given, ADD.replace("add.rn.f32", "sub.rn.f32"), pool=pool)
    with pytest.raises(CertificateError, match="changed after"):
        replay({**given, "seed": 1}, acting("right"), pool=pool)


def test_time_and_tools_are_no_part_of_what_is_certified(verdict: Verdict) -> None:
    slower = replace(
        verdict, tools="others", stages=tuple(replace(s, seconds=s.seconds + 1) for s in verdict.stages)
    )
    assert certificates.verdict_hash(slower) == certificates.verdict_hash(verdict)
    worse = replace(verdict, accuracy=Accuracy(0.1, "", 1))
    assert certificates.verdict_hash(worse) != certificates.verdict_hash(verdict)


def test_what_came_before_reads_as_it_did(verdict: Verdict) -> None:
    import json

    data = json.loads(verdict.to_json())
    for name in ("seed", "tools"):
        del data[name]
    for name in ("rounded", "monotonicity_breaks"):
        del data["accuracy"][name]
    old = Verdict.from_dict(data)
    assert (old.seed, old.tools) == (None, "")
    assert old.accuracy is not None
    assert old.accuracy.rounded is None
    assert Verdict.from_dict(json.loads(verdict.to_json())) == verdict
