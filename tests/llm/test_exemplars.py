"""Which verified kernels a task is shown with, and that they reach its prompt."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from llmptx.cli import main
from llmptx.jobs import Store
from llmptx.llm.exemplars import Exemplar, exemplar, nearest
from llmptx.llm.library import drafts
from llmptx.llm.prompt import Writer
from llmptx.routines import find

POOL = tuple(
    exemplar(find(name), dtype, f"// {name} {dtype}\n")
    for name, dtype in [
        ("numpy.exp", "float64"),
        ("numpy.sqrt", "float32"),
        ("numpy.add", "float32"),
        ("numpy.sum", "float32"),
        ("numpy.exp", "float32"),
    ]
)


def names(found: tuple[Exemplar, ...]) -> list[str]:
    return [f"{e.routine.rpartition('.')[2]} {e.dtype}" for e in found]


def test_the_same_routine_in_another_dtype_is_nearest_then_dtype_and_inputs() -> None:
    assert names(nearest(POOL, find("numpy.exp"), "float32", 9)) == [
        "exp float64",
        "sqrt float32",
        "add float32",
    ]
    assert names(nearest(POOL, find("numpy.multiply"), "float32", 1)) == ["add float32"]
    assert nearest(POOL, find("numpy.sort"), "float32", 3) == ()


@given(st.permutations(POOL), st.integers(0, 6))
def test_the_order_of_the_pool_does_not_matter(pool: list[Exemplar], count: int) -> None:
    exp = find("numpy.exp")
    assert nearest(pool, exp, "float32", count) == nearest(POOL, exp, "float32", count)
    assert all(e.text != "// numpy.exp float32\n" for e in nearest(pool, exp, "float32", count))


def test_exemplars_stand_in_the_task() -> None:
    text = Writer(exemplars=POOL, shots=2).first(find("numpy.exp"), "float32").messages[1].content
    assert "# A verified kernel of numpy.exp in float64" in text
    assert "```ptx\n// numpy.sqrt float32\n```" in text
    assert "numpy.add" not in text
    assert (
        "A verified kernel"
        not in Writer(exemplars=POOL).first(find("numpy.exp"), "float32").messages[1].content
    )


def test_a_job_keeps_the_approved_kernels_it_was_given(tmp_path: Path) -> None:
    for name, dtype in (("add", "int32"), ("exp", "float32"), ("gone", "float32")):
        place = tmp_path / "verified/numpy" / name
        place.mkdir(parents=True)
        (place / f"{dtype}.ptx").write_text(drafts("numpy.add", "int32")[-1])
    (tmp_path / "none.jsonl").write_text("")
    args = ["rewrite", "numpy.subtract", "--dtype", "int32", "--shots", "1", "--primer"]
    command = ["--workspace", str(tmp_path), *args, "--replay", str(tmp_path / "none.jsonl"), "--json"]
    assert json.loads(CliRunner().invoke(main, command).stdout)["summary"]["items"][0]["status"] == "failed"
    with Store(tmp_path / ".llmptx/jobs.sqlite", readonly=True) as store:
        spec = store.job(1).spec
    assert [(e.routine, e.dtype) for e in spec.exemplars] == [("numpy.add", "int32")]
    assert (spec.shots, spec.primer) == (1, True)
