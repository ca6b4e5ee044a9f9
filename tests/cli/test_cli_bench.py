"""`llmptx bench`: scores as JSON and as a page, prompts compared, nothing paid twice."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from llmptx.cli import main
from llmptx.jobs import Store
from llmptx.jobs.judging import Judges
from tests.jobs.fakes import KnowingJudge


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Runs the command with the judge that knows: bench("offline", ...) -> result."""
    monkeypatch.setattr(Judges, "judge", lambda self, *args: KnowingJudge()(*args))

    def run(*args):
        return CliRunner().invoke(main, ["--workspace", str(tmp_path), "bench", *args])

    run.root = tmp_path
    return run


def test_scores_of_held_out_routines_as_json_and_as_a_page(bench):
    result = bench("--dtype", "float32", "--level", "quick", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    total = data["scores"][0]
    families = {s["group"] for s in data["scores"] if s["by"] == "family"}
    assert families == {"trigonometric", "scan", "special"}
    assert total["model"] == "offline"
    assert total["passed"]["value"] == 1.0
    assert 0 < total["pass_at"]["1"]["value"] < 1
    assert total["gain"]["value"] == pytest.approx(1 - total["pass_at"]["1"]["value"])
    page = (bench.root / "bench.html").read_text()
    assert "held-out routines" in page
    assert "100% [100%, 100%]" in page
    assert "<script" not in page
    assert not (bench.root / "corpus").exists()
    with Store(bench.root / ".llmptx/jobs.sqlite") as store:
        asked = sum(row["tries"] for row in store.rows("SELECT tries FROM calls"))
        bench("--dtype", "float32", "--level", "quick")
        assert sum(row["tries"] for row in store.rows("SELECT tries FROM calls")) == asked


def test_prompts_are_compared(bench, tmp_path):
    folder = tmp_path / "mute<b>"
    folder.mkdir()
    (folder / "task.md").write_text("Do as you like.")
    result = bench("--routine", "numpy.sin", "--prompt", str(folder), "--level", "quick", "--json")
    (found,) = json.loads(result.stdout)["differences"]
    assert (found["first"], found["second"]) == ("shipped", str(folder))
    assert found["passed"] == {"value": -1.0, "low": -1.0, "high": -1.0}
    page = (bench.root / "bench.html").read_text()
    assert "-100 [-100, -100]" in page
    assert "mute&lt;b&gt;" in page


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--routine", "numpy.add"), "--split all"),
        (("hal-9000",), "unknown model 'hal-9000'"),
        (("--prompt", "."), "no template in it"),
    ],
)
def test_wrong_use_is_answered_before_anything_runs(bench, args, says, monkeypatch):
    monkeypatch.chdir(bench.root)
    result = bench(*args)
    assert result.exit_code == 2
    assert says in result.stderr
