"""Job files: what is wrong in them is named, with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmptx.jobs import JobError, load, make
from llmptx.jobs.spec import items_of
from llmptx.routines import find
from tests.jobs.fakes import spec_of

ADD = {"items": [{"routine": "numpy.add"}]}


def test_a_toml_job(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(
        'schema = "llmptx/job/1"\nmodel = "offline"\nsamples = 2\n'
        '[[items]]\nroutine = "add"\ndtype = "float32"\n'
        '[[items]]\nroutine = "scipy.special.*"\ndtype = "float64"\n'
    )
    spec = load(path, rounds=7)
    items = items_of(spec)
    assert (spec.samples, spec.rounds) == (2, 7)
    assert [(i.routine, i.dtype, i.sample) for i in items[:2]] == [
        ("numpy.add", "float32", 0),
        ("numpy.add", "float32", 1),
    ]
    assert {i.routine for i in items[2:]} >= {"scipy.special.erf", "scipy.special.expit"}
    assert {i.dtype for i in items[2:]} == {"float64"}


def test_a_jsonl_job_and_every_dtype_where_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "job.jsonl"
    path.write_text('{"routine": "numpy.add"}\n\n{"routine": "numpy.add", "dtype": "float32"}\n')
    items = items_of(load(path))
    assert [i.dtype for i in items] == [s.dtype for s in find("numpy.add").signatures]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {**ADD, "modle": "x"},
            "job: unknown key 'modle'; known are items, routines, dtypes, model, base_url",
        ),
        (
            {"items": [{"routine": "add", "dtpye": "x"}]},
            r"unknown key 'items\.0\.dtpye'; known are routine, dtype",
        ),
        ({}, "job: it names no work: give items, or routines"),
        ({"items": []}, "job: it names no work"),
        ({**ADD, "dtypes": ["float32"]}, "job: dtypes go with routines"),
        ({**ADD, "priority": 10**6}, "priority: .*less than or equal to 1000"),
        ({**ADD, "samples": 0}, "samples: .*greater than or equal to 1"),
        ({**ADD, "budget": float("nan")}, "budget: .*finite"),
        ({**ADD, "level": "thorough"}, "level: .*'quick', 'full' or 'exhaustive'"),
        ({**ADD, "schema": "llmptx/job/2"}, "schema: .*'llmptx/job/1'"),
        ({**ADD, "strategy": "luck"}, "strategy: .*'repair', 'best-of-n', 'best-first' or 'auto'"),
        (
            {**ADD, "models": [{"nmae": "x"}]},
            r"unknown key 'models\.0\.nmae'; known are name, base_url, price",
        ),
        ({**ADD, "model": "a", "models": [{"name": "b"}]}, "job: give either models, or model"),
        ({**ADD, "models": [{"name": "b"}, {"name": "b"}]}, "job: models has b twice"),
    ],
)
def test_wrong_values_are_named(values: dict[str, object], says: str) -> None:
    with pytest.raises(JobError, match=says):
        make(values)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("job.toml", "items = [", r"job\.toml: not TOML"),
        ("job.jsonl", '{"routine": "add"}\n{"routine"\n', r"job\.jsonl:2: not JSON"),
        ("job.yaml", "", r"ends in \.toml or \.jsonl"),
    ],
)
def test_broken_files_are_named_with_the_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(JobError, match=says):
        load(tmp_path / name)
    with pytest.raises(JobError, match="cannot be read"):
        load(tmp_path / f"no-{name}")


def test_unknown_routines_and_dtypes_are_all_named_at_once() -> None:
    spec = spec_of(("numpy.adds", "float32"), ("numpy.add", "float128"), ("numpy.exp", "float32"))
    with pytest.raises(
        JobError, match=r"(?s)no routine is named 'numpy\.adds'.*numpy\.add.*no dtype 'float128'"
    ):
        items_of(spec)


def test_a_search_is_one_item_and_every_model_does_every_item() -> None:
    two = [{"name": "offline"}, {"name": "m", "base_url": "http://127.0.0.1:1/v1"}]
    item = {"routine": "numpy.add", "dtype": "float32"}
    one = make({"items": [item], "models": two, "samples": 3})
    assert [(i.sample, i.model) for i in items_of(one)] == [
        (s, m) for m in ("offline", "m") for s in range(3)
    ]
    tree = make({"items": [item], "models": two, "samples": 3, "strategy": "best-first"})
    assert [(i.sample, i.model) for i in items_of(tree)] == [(0, "offline"), (0, "m")]
    with pytest.raises(JobError, match="the price of 'm' is not known"):
        items_of(make({"items": [item], "models": two, "budget": 1}))


def test_an_unknown_model_is_refused_before_anything_is_filed() -> None:
    with pytest.raises(JobError, match="unknown model 'hal-9000'"):
        items_of(spec_of(model="hal-9000"))


def test_routines_and_dtypes_are_short_for_items() -> None:
    spec = make({"routines": ["numpy.add", "numpy.ex*"], "dtypes": ["float64", "int32"]})
    found = [(item.routine, item.dtype) for item in items_of(spec)]
    assert found[:2] == [("numpy.add", "float64"), ("numpy.add", "int32")]
    assert set(found[2:]) == {("numpy.exp", "float64"), ("numpy.exp2", "float64")}
    with pytest.raises(JobError, match="no routine the job names has a dtype it names"):
        items_of(make({"routines": ["numpy.exp"], "dtypes": ["int32"]}))


def test_a_budget_that_does_not_pay_for_one_call_is_refused() -> None:
    away = {"model": "m", "base_url": "http://127.0.0.1:1/v1", "price": [1, 10]}
    with pytest.raises(JobError, match=r"does not pay for one call, which can cost \$0\.1[67]"):
        items_of(spec_of(**away, budget=0.1))
    assert items_of(spec_of(**away, budget=0.1, tokens=4096))


def test_a_budget_needs_a_price() -> None:
    away = {"model": "m", "base_url": "http://127.0.0.1:1/v1", "budget": 1.0}
    with pytest.raises(JobError, match=r"the price of 'm' is not known"):
        items_of(spec_of(**away))
    assert items_of(spec_of(**away, price=[1, 2]))
    assert items_of(spec_of(budget=1.0))
