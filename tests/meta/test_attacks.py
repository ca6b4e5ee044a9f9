"""The judge is judged: every attack earns its finding, and no honest kernel is accused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmptx.run.worker import Pool
from llmptx.toolchain.ptxas import find_ptxas
from llmptx.verify import trial
from llmptx.verify.judge import verify
from tests.meta.attacks import ATTACKS, CONTROLS, Attack
from tests.meta.ways import WAYS, table, variants

pytestmark = pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 5.0)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_earns_its_finding(pool: Pool, attack: Attack) -> None:
    verdict = verify(attack.text, attack.routine, attack.dtype, pool=pool)
    assert not verdict.passed
    found = {f.kind for f in verdict.findings}
    assert found & set(attack.kinds), [f"{f.kind}: {f.message}" for f in verdict.findings]
    assert all(f.message and f.reproduce for f in verdict.findings)


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_an_honest_kernel_passes(pool: Pool, control: Attack) -> None:
    verdict = verify(control.text, control.routine, control.dtype, pool=pool)
    assert verdict.passed, [f"{f.kind}: {f.message}" for f in verdict.findings]


def test_every_way_to_cheat_has_an_attack_or_a_reason_that_there_is_none() -> None:
    assert list(WAYS) == list(range(1, 36))
    assert all(bool(way.attacks) != bool(way.closed) for way in WAYS.values())
    tried = {name for way in WAYS.values() for name in way.attacks}
    assert tried == set(ATTACKS)


# Those that no run is needed to refuse; the others take a minute.
STATIC = {"forbidden", "parse", "resource-limit"}
ELSEWHERE = [
    pytest.param(variant, id=f"{name}, {variant.routine}", marks=[] if static else pytest.mark.slow)
    for name, attack in ATTACKS.items()
    for static in [set(attack.kinds) <= STATIC]
    for variant in variants(attack)
]


@pytest.mark.parametrize("attack", ELSEWHERE)
def test_it_earns_it_on_other_routines_too(pool: Pool, attack: Attack) -> None:
    test_an_attack_earns_its_finding(pool, attack)


@pytest.mark.parametrize("control", [c for n in ("add", "sum") for c in variants(CONTROLS[n])])
def test_those_routines_kernels_are_honest_without(pool: Pool, control: Attack) -> None:
    test_an_honest_kernel_passes(pool, control)


def test_the_page_of_attacks_is_in_step() -> None:
    page = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text("utf-8")
    assert page.endswith(table()), "python -m tests.meta.ways prints the table as it is"
