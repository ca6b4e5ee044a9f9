"""The benchmark of compile times: its phases are the whole, and the cache spares most of it."""

from __future__ import annotations

import pytest

from benchmarks import compile as benchmark


def test_every_mode_is_measured_and_what_was_kept_costs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "KERNELS", ("sum/float32.2",))
    rows = benchmark.compile_times(repeats=2)
    assert [row.mode for row in rows] == ["brief", "full", "checked"]
    for row in rows:
        phases = (row.parse, row.flatten, row.flow, row.lower, row.code, row.load)
        assert min(phases) > 0
        assert row.total == pytest.approx(sum(phases))
        assert row.kept is None or row.kept < row.total
    assert benchmark.report(rows).count("\n") == 3
