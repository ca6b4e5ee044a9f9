"""The benchmark of the judge: its journal survives a stop, its tables count right, the habit is as said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.judge.measure import Journal, Row, mutants
from benchmarks.judge.table import as_json, filled, markdown
from benchmarks.judge.tasks import TASKS, habit, task
from llmptx.run.worker import Pool
from tests.verify.kernels import changed

ADD = task("add", "float32")
ROW = Row("add float32", "elementwise, exact", "operator", 61, "add became sub", "0" * 64, "killed", "quick")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


def begun(path: Path) -> Journal:
    journal = Journal(path)
    journal.add(replace(ROW, habit=False))
    journal.add(replace(ROW, hash="1" * 64, kind="rounding", outcome="killed", habit=True))
    journal.add(replace(ROW, hash="2" * 64, kind="rounding", outcome="survived", stage="", habit=True))
    journal.add(replace(ROW, hash="3" * 64, outcome="stillborn", stage=""))
    journal.add(replace(ROW, hash="4" * 64, outcome="same code", stage=""))
    return journal


def test_a_journal_cut_in_the_middle_of_a_line_goes_on_after_the_last_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    rows = begun(path).rows
    path.write_text(path.read_text("utf-8")[:-20], "utf-8")
    assert list(Journal(path).rows.values()) == list(rows.values())[:-1]


def test_the_last_row_of_a_mutant_counts(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    journal = begun(path)
    journal.add(replace(ROW, hash="2" * 64, outcome="proved", message="by z3"))
    assert [row.outcome for row in Journal(path).rows.values() if row.hash == "2" * 64] == ["proved"]


def test_the_tables_count_wrong_mutants_alone(tmp_path: Path) -> None:
    journal = begun(tmp_path / "judge.jsonl")
    journal.add(replace(ROW, hash="5" * 64, kind="rounding", outcome="correct", stage="", habit=True))
    page = markdown(journal)
    assert "**2 (66.7%) are found at `full`**" in page
    assert "the field's habit, find 1 (33.3%)" in page
    assert "| rounding | 3 | 0 | 0 | 1 | 2 | 1 | 50.0% | 0.0% |" in page
    assert "| operator | 3 | 1 | 1 | 0 | 1 | 1 | 100.0% | 100.0% |" in page
    assert "| add float32 | 61 | rounding | add became sub | not yet read |" in page
    totals = json.loads(as_json(journal))["totals"]
    assert (totals["mutants"], totals["wrong"], totals["killed"], totals["killed_by_habit"]) == (6, 3, 2, 1)


def test_pages_take_the_tables_between_their_marks_and_keep_the_rest(tmp_path: Path) -> None:
    journal = begun(tmp_path / "judge.jsonl")
    page = "Before.\n\n<!-- judge: summary -->\nold\n<!-- judge: end -->\n\nAfter.\n"
    once = filled(page, journal)
    assert once.startswith("Before.\n")
    assert once.endswith("After.\n")
    assert "old" not in once
    assert "are found at `full`" in once
    assert filled(once, journal) == once
    with pytest.raises(ValueError, match="no block"):
        filled("Before.\n", journal)


def test_mutants_come_by_turns_and_the_same_every_time() -> None:
    tasks = [ADD, task("max", "int32")]
    first = [(t.name, m.hash) for t, m in mutants(tasks, 10, 0)]
    assert first == [(t.name, m.hash) for t, m in mutants(tasks, 10, 0)]
    assert [name for name, _ in first] == ["add float32", "max int32"] * 5
    assert first != [(t.name, m.hash) for t, m in mutants(tasks, 10, 1)]


def test_every_task_has_a_kernel_and_there_are_thirty_routines_and_more() -> None:
    tasks = [task(*each) for each in TASKS]
    assert len({t.name for t in tasks}) == len(TASKS)
    assert len({t.routine.name for t in tasks}) >= 30
    assert {t.signature.dtype for t in tasks} == {"float32", "int32", "float64"}


def test_the_habit_takes_an_honest_kernel_and_what_only_awkward_inputs_tell_from_it(pool: Pool) -> None:
    assert habit(ADD, ADD.text, pool)
    assert habit(ADD, changed(ADD.text, ("add.rn.f32", "add.rn.ftz.f32")), pool)
    assert habit(ADD, changed(ADD.text, ("add.rn.f32", "add.rz.f32")), pool)
    assert not habit(ADD, changed(ADD.text, ("add.rn.f32", "sub.rn.f32")), pool)
    assert not habit(ADD, changed(ADD.text, ("v4.f32   [%out_ptr]", "v4.f32   [%left]")), pool), "a crash"
