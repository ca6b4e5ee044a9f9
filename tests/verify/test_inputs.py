"""The cases: deterministic in the seed, sized as the spec says, around every edge, full of awkward data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from llmptx.record import Level, Routine, Signature
from llmptx.routines import catalog, find
from llmptx.verify.inputs import Case, cases
from llmptx.verify.values import hard_angles, lattice

EVERY = [(routine, s) for routine in catalog().values() for s in routine.signatures]
IDS = [f"{routine.name}-{s.dtype}" for routine, s in EVERY]
SEED = 11


def made(name: str, dtype: str, level: Level = "full", interesting: tuple[int, ...] = (256,)) -> list[Case]:
    routine = find(name)
    return list(cases(routine, routine.signature(dtype), level, SEED, interesting))


def product(size: str, extents: Mapping[str, int]) -> int:
    result = 1
    for factor in size.split("*"):
        result *= extents[factor] if factor in extents else int(factor)
    return result


@pytest.mark.parametrize(("routine", "signature"), EVERY, ids=IDS)
def test_inputs_have_the_sizes_and_types_of_the_spec(routine: Routine, signature: Signature) -> None:
    for level in ("quick", "full"):
        for case in cases(routine, signature, level, SEED, (128,)):  # type: ignore[arg-type]
            assert tuple(case.extents) == routine.extents
            for array, size, dtype in zip(case.inputs, routine.sizes, signature.inputs, strict=False):
                assert array.shape == (product(size, case.extents),), case.label
                assert array.dtype == dtype
                assert array.flags.c_contiguous


@pytest.mark.parametrize("name", ["exp", "power", "sum", "matmul", "sort", "softmax"])
def test_a_seed_makes_the_same_cases_and_another_seed_others(name: str) -> None:
    def content(seed: int) -> list[tuple[str, bytes]]:
        routine = find(name)
        found = cases(routine, routine.signature("float32"), "quick", seed, (64,))
        return [(c.label, b"".join(x.tobytes() for x in c.inputs)) for c in found]

    assert content(3) == content(3)
    assert content(3) != content(4)


def test_routines_and_dtypes_draw_different_numbers() -> None:
    def first(name: str) -> bytes:
        return next(c for c in made(name, "float32", "quick") if c.extents["n"] > 900).inputs[0].tobytes()

    assert first("add") != first("subtract")


def test_lengths_lie_around_every_interesting_number() -> None:
    for name in ("add", "dot"):
        lengths = {c.extents["n"] for c in made(name, "float32", interesting=(128, 1024))}
        assert lengths >= {0, 1, 2, 31, 32, 33, 127, 128, 129, 257, 1023, 1024, 1025, 2049}
        assert any(70_000 < n <= 100_001 for n in lengths)
    rows = {c.extents["n"] for c in made("max", "float32", interesting=(128,)) if c.extents["outer"] == 1}
    assert rows >= {1, 31, 32, 33, 127, 128, 129, 257}
    assert {c.extents["n"] for c in made("sort", "int32", interesting=(128,))} >= {
        1,
        2,
        3,
        127,
        128,
        129,
        1023,
        1025,
    }
    shapes = {tuple(c.extents.values()) for c in made("matmul", "float32", interesting=(16,))}
    assert shapes >= {(1, 16, 16, 16), (1, 17, 15, 33), (1, 15, 17, 15), (2, 16, 16, 0), (3, 33, 17, 65)}


def test_reductions_see_every_axis_and_nothing() -> None:
    shapes = {tuple(c.extents.values()) for c in made("sum", "float32")}
    assert shapes >= {(3, 5, 7), (1000, 1, 1), (257, 33, 3), (3, 0, 2), (0, 5, 3), (4, 5, 0)}
    for name in ("max", "min", "argmax", "softmax", "logsumexp"):
        assert all(c.extents["n"] > 0 for c in made(name, "float32")), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unary_routines_meet_the_whole_lattice_at_both_levels(dtype: str) -> None:
    unsigned = np.uint32 if dtype == "float32" else np.uint64
    for level in ("quick", "full"):
        seen = np.concatenate([c.inputs[0] for c in made("rint", dtype, level)])  # type: ignore[arg-type]
        assert set(lattice(dtype, "real").view(unsigned).tolist()) <= set(seen.view(unsigned).tolist())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_lattice_has_every_class_of_float(dtype: str) -> None:
    values = lattice(dtype, "real")
    info = np.finfo(dtype)
    payload_bits = info.nmant
    nans = values[np.isnan(values)].view(np.uint32 if dtype == "float32" else np.uint64)
    assert len({int(n) for n in nans}) >= 6
    assert any(not (int(n) >> (payload_bits - 1)) & 1 for n in nans), "a signalling NaN"
    wanted = [
        0.0,
        info.smallest_subnormal,
        info.tiny,
        info.max,
        np.inf,
        0.5,
        1.0,
        1.5,
        2.5,
        2.0**payload_bits,
    ]
    for value in np.array(wanted, dtype):
        for signed in (value, -value):
            assert ((values == signed) & (np.signbit(values) == np.signbit(signed))).any(), signed
    assert (values == np.nextafter(np.array(0.5, dtype), np.array(0, dtype))).any()


def test_pairs_of_special_values_are_crossed() -> None:
    case = next(c for c in made("maximum", "float32") if c.label == "special values")
    x, y = case.inputs
    assert x.size == lattice("float32", "real").size ** 2
    assert (np.isnan(x) & (y == 0) & np.signbit(y)).any()
    assert ((x == 0) & (y == 0) & (np.signbit(x) != np.signbit(y))).any()


def test_integer_exponents_are_never_negative() -> None:
    for dtype in ("int32", "int64"):
        for level in ("quick", "full"):
            assert all((c.inputs[1] >= 0).all() for c in made("power", dtype, level))  # type: ignore[arg-type]


def test_shift_counts_pass_both_ends_and_hide_in_the_high_word() -> None:
    for dtype, width in (("int32", 32), ("int64", 64)):
        counts = np.concatenate([c.inputs[1] for c in made("right_shift", dtype)])
        assert {-1, 0, 1, width - 1, width, width + 1} <= set(counts.tolist())
    assert ((counts != 0) & (counts & 0xFFFFFFFF == 0)).any()


def test_clip_meets_crossed_limits_and_nan_limits() -> None:
    _, low, high = (np.concatenate(x) for x in zip(*(c.inputs for c in made("clip", "float32")), strict=True))
    assert (low > high).any()
    assert (low < high).any()
    assert (np.isnan(low) & ~np.isnan(high)).any()


@pytest.mark.parametrize(
    ("name", "dtype"), [("exp", "float32"), ("add", "float32"), ("clip", "float32"), ("power", "float64")]
)
def test_a_level_stays_cheap(name: str, dtype: str) -> None:
    assert sum(c.inputs[0].size for c in made(name, dtype, "full", (64, 256, 1024))) < 400_000
    assert sum(c.inputs[0].size for c in made(name, dtype, "quick")) < 40_000


def test_exact_data_really_is_exact_in_any_order() -> None:
    rng = np.random.default_rng(5)
    for case in made("sum", "float32"):
        if case.structure == "exact" and case.extents["n"] > 1:
            rows = case.inputs[0].reshape(tuple(case.extents.values()))
            order = rng.permutation(rows.shape[1])
            forwards = np.cumsum(rows, axis=1, dtype=np.float32)[:, -1]
            shuffled = np.cumsum(rows[:, order], axis=1, dtype=np.float32)[:, -1]
            assert np.array_equal(forwards, shuffled), case.label
            assert np.array_equal(forwards, rows.sum(axis=1, dtype=np.float64)), case.label


def test_one_hot_probes_reach_the_last_element() -> None:
    last = [c for c in made("sum", "float32") if c.label.endswith("last 1 among zeros")]
    assert last
    for case in last:
        rows = case.inputs[0].reshape(tuple(case.extents.values()))
        assert (rows[:, -1] == 1).all()
        assert (rows[:, :-1] == 0).all()


def test_rows_to_sort_come_in_every_arrangement() -> None:
    labels = {c.label.split(", ")[1] for c in made("sort", "float32")}
    assert labels >= {
        "random",
        "sorted",
        "reversed",
        "few distinct",
        "zeros of both signs",
        "all NaN",
        "any bits",
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_longer_than_shared_memory_holds_are_random_and_have_nan(dtype: str) -> None:
    long = [case for case in made("numpy.sort", dtype) if case.extents["n"] > 2048]
    rows = {(case.extents["n"], case.label.rpartition(", ")[2]) for case in long}
    assert {(n, fill) for n in (2049, 4097) for fill in ("random", "special values")} <= rows


def test_a_second_pass_over_tiles_has_work_for_every_thread() -> None:
    lengths = [case.extents["n"] for case in made("numpy.sum", "float32", interesting=(256, 4096))]
    assert max(lengths) > 256 * 4096 + 32 * 4096
    assert max(case.extents["n"] for case in made("numpy.sum", "float32")) < 1 << 17


def test_rows_are_more_than_16_bits_count() -> None:
    for name in ("numpy.sum", "numpy.cumsum", "numpy.sort"):
        assert max(case.extents["outer"] for case in made(name, "float32")) > 1 << 16


@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-6), ("float64", 1e-14)])
def test_hard_angles_lie_near_multiples_of_half_pi_in_most_binades(dtype: str, near: float) -> None:
    mpmath = pytest.importorskip("mpmath")
    angles = hard_angles(dtype)
    binades = set(range(2, np.finfo(dtype).maxexp + 1))
    assert len(binades & set(np.frexp(angles)[1].tolist())) > 0.9 * len(binades)
    with mpmath.workprec(1500):
        turns = [mpmath.mpf(float(x)) / (mpmath.pi / 2) for x in angles[::11]]
        assert float(np.median([float(abs(t - mpmath.nint(t))) for t in turns])) < near
