"""The catalogue as a whole: what is in it, how it is looked up, and that its entries hold together."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmptx.record import Routine
from llmptx.routines import FAMILIES, UnknownRoutine, catalog, families, find, select, split

EVERY = [(routine, s.dtype) for routine in catalog().values() for s in routine.signatures]
IDS = [f"{routine.name}-{dtype}" for routine, dtype in EVERY]


def test_it_holds_fifty_routines_each_with_its_dtypes() -> None:
    names = set(catalog())
    assert len(names) == 50
    assert len(EVERY) == 154
    assert {"numpy.add", "numpy.matmul", "numpy.sort", "scipy.special.logsumexp"} <= names


@pytest.mark.parametrize(("routine", "dtype"), EVERY, ids=IDS)
def test_an_entry_is_complete(routine: Routine, dtype: str) -> None:
    signature = routine.signature(dtype)
    buffers = (*signature.inputs, *signature.outputs)
    assert len(routine.sizes) == len(buffers)
    assert len(routine.domain) == len(signature.inputs)
    assert set(routine.tolerance) == {s.dtype for s in routine.signatures}
    assert routine.summary.endswith(".")
    assert routine.reference
    assert all(line == line.strip() and line.isascii() for line in (*routine.notes, routine.summary))
    if routine.inplace:
        assert set(buffers) == {dtype}


@pytest.mark.parametrize(("routine", "dtype"), EVERY, ids=IDS)
def test_the_spec_hash_tells_entries_apart(routine: Routine, dtype: str) -> None:
    others = {r.spec_hash(d) for r, d in EVERY if (r.name, d) != (routine.name, dtype)}
    assert routine.spec_hash(dtype) not in others


def test_the_default_dtype_is_float32_where_there_is_one() -> None:
    for routine in catalog().values():
        dtypes = [s.dtype for s in routine.signatures]
        assert dtypes[0] == ("float32" if "float32" in dtypes else "int32")


def test_a_short_name_finds_the_routine() -> None:
    assert find("exp") is find("numpy.exp")
    assert find("softmax").name == "scipy.special.softmax"


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(
        UnknownRoutine, match=r"no routine is named 'numpy.sofmax'; did you mean scipy\.special\.softmax"
    ) as caught:
        find("numpy.sofmax")
    assert caught.value.nearest[0] == "scipy.special.softmax"
    assert isinstance(caught.value, KeyError)


def test_a_name_like_nothing_points_to_the_list() -> None:
    with pytest.raises(UnknownRoutine, match="`llmptx catalog` lists"):
        find("qqqqqqqq")


def test_select_takes_patterns_in_catalogue_order_and_each_routine_once() -> None:
    chosen = [r.name for r in select(["numpy.exp*", "sub*", "exp"])]
    assert chosen == ["numpy.subtract", "numpy.exp", "numpy.exp2"]
    assert len(select([])) == len(catalog())


def test_select_refuses_a_pattern_that_matches_nothing() -> None:
    with pytest.raises(UnknownRoutine, match=r"no routine matches 'numpy\.zz\*'"):
        select(["numpy.add", "numpy.zz*"])


def test_loading_the_catalogue_imports_neither_scipy_nor_mpfr() -> None:
    program = (
        "import sys; from llmptx.routines import catalog; catalog(); "
        "sys.exit(', '.join({'scipy', 'gmpy2', 'openai'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_families_are_held_out_whole() -> None:
    for family in FAMILIES:
        assert len({split(name) for name, of in families().items() if of == family}) == 1
    assert families().keys() == catalog().keys()
    parts = [split(name) for name in catalog()]
    assert 0.1 < parts.count("test") / len(parts) < 0.3
    with pytest.raises(UnknownRoutine):
        split("numpy.ad")
