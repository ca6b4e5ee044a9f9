"""The judge is judged: every attack earns its finding, and no honest kernel is accused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmptx.run.worker import Pool
from llmptx.toolchain.ptxas import find_ptxas
from llmptx.verify import trial
from llmptx.verify.judge import verify
from tests.meta.attacks import ATTACKS, CONTROLS, Attack

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
