"""The mutator: every kind where it applies, nothing twice, the same for the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx.llm.library import drafts
from llmptx.ptx.ast import Instruction
from llmptx.ptx.normalize import candidate_hash
from llmptx.ptx.parser import parse
from llmptx.ptx.plan import parse_plan
from llmptx.ptx.printer import print_module
from llmptx.verify.mutate import KINDS, Change, Mutant, apply, changes, sample
from tests.meta.attacks import SUM
from tests.verify.kernels import ADD, line_of

LIBRARY = [
    drafts(f"numpy.{name}", dtype)[-1]
    for name, dtype in (
        *(("add", "float32"), ("sqrt", "float32"), ("maximum", "float32"), ("left_shift", "int32")),
        *(("max", "float32"), ("matmul", "int32"), ("cumsum", "int32"), ("floor_divide", "int32")),
    )
]


def made(text: str, kind: str, part: str = "") -> list[Mutant]:
    """Mutants of one kind whose sentence has the part."""
    found = [change for change in changes(text) if change.kind == kind and part in change.what]
    module, plan = parse(text), parse_plan(text)
    return [mutant for mutant in (apply(change, module, plan) for change in found) if mutant]


def only(text: str, kind: str, part: str) -> str:
    (mutant,) = made(text, kind, part)
    return mutant.text


@given(st.sampled_from([ADD, SUM, *LIBRARY]), st.integers(0, 1 << 32))
@settings(max_examples=8, deadline=None)
def test_a_sample_has_no_two_alike_and_none_like_the_original(text: str, seed: int) -> None:
    hashes = [mutant.hash for mutant in sample(text, 25, seed)]
    assert len(set(hashes)) == len(hashes) == 25
    assert candidate_hash(text) not in hashes


@given(st.sampled_from([ADD, SUM, *LIBRARY]), st.integers(0, 1 << 32))
@settings(max_examples=5, deadline=None)
def test_the_same_seed_gives_the_same_mutants(text: str, seed: int) -> None:
    assert sample(text, 12, seed) == sample(text, 12, seed)


@pytest.mark.parametrize("text", LIBRARY)
def test_every_mutant_parses_has_a_plan_and_names_a_line_of_the_original(text: str) -> None:
    lines = text.splitlines()
    for mutant in sample(text, 40, 7):
        parse(mutant.text)
        parse_plan(mutant.text)
        assert mutant.kind in KINDS
        assert lines[mutant.line - 1].strip()


def test_every_kind_comes_up_in_the_library() -> None:
    assert {change.kind for text in LIBRARY for change in changes(text)} == set(KINDS)


def test_a_sample_takes_the_kinds_by_turns() -> None:
    kinds = {change.kind for change in changes(ADD)}
    assert {mutant.kind for mutant in sample(ADD, len(kinds), 3)} == kinds


def test_a_mutant_differs_from_the_original_at_its_line_only() -> None:
    (mutant,) = made(ADD, "compare", "setp.gt.u64")
    assert mutant.line == line_of(ADD, "setp.ge.u64")
    plain = print_module(parse(ADD)).splitlines()
    changed = print_module(parse(mutant.text)).splitlines()
    assert [(a.strip(), b.strip()) for a, b in zip(plain, changed, strict=True) if a != b] == [
        ("setp.ge.u64 %p, %rd0, %rd2;", "setp.gt.u64 %p, %rd0, %rd2;")
    ]


def test_sources_are_swapped_only_where_their_order_matters() -> None:
    assert not made(ADD, "operands", "add.rn.f32: sources swapped")
    assert "setp.ge.u64 %p, %rd2, %rd0;" in only(ADD, "operands", "setp.ge.u64: sources swapped")


def test_a_bounds_check_is_removed_whole() -> None:
    assert "@%p" not in only(ADD, "bounds check", "bra DONE")


def test_a_barrier_is_dropped_and_moved_past_an_access_to_shared_memory() -> None:
    assert "bar.sync" not in only(SUM, "dropped barrier", "")
    assert not made(ADD, "dropped barrier")
    moved = made(SUM, "moved barrier")
    assert not moved, "a label stands before this barrier and a branch after it"
    inside = SUM.replace("    bar.sync 0;\n", "").replace(
        "    ld.shared.f32 %f1, [%rd9];\n", "    bar.sync 0;\n    ld.shared.f32 %f1, [%rd9];\n"
    )
    (after,) = made(inside, "moved barrier")
    assert after.text.index("ld.shared.f32 %f1, [%rd9];") < after.text.index("bar.sync")


def test_a_loop_stops_one_early_steps_twice_and_goes_round_once() -> None:
    shorter = only(SUM, "loop", "bound %rd2 less one")
    assert "add.u64 %one_less_of_it, %rd2, -1;" in shorter
    assert "setp.ge.u64 %p, %rd8, %one_less_of_it;" in shorter
    assert only(SUM, "loop", "add.u64 %rd8 done twice").count("add.u64 %rd8, %rd8, 128;") == 2
    assert "bra LOOP" not in only(SUM, "loop", "LOOP goes round once")


def test_an_address_is_off_by_one_element_either_way() -> None:
    texts = [mutant.text for mutant in made(ADD, "address offset", "st.global")]
    assert ["[%rd5+4]" in texts[0], "[%rd5+-4]" in texts[1], len(texts)] == [True, True, 2]


def test_the_last_block_is_left_out_of_a_grid_unless_the_kernel_goes_round() -> None:
    assert "grid=ceil_div(max(n-255,0),256)" in only(ADD, "tail", "grid")
    striding = ADD.replace("%ntid.x", "%nctaid.x")
    assert not made(striding, "tail", "grid")


def test_a_float_constant_changes_by_one_or_in_a_bit_that_shows() -> None:
    text = ADD.replace("add.rn.f32 %f2, %f0, %f1;", "add.rn.f32 %f2, %f0, 0f40000000;")
    ones = {mutant.what.rpartition(" ")[2] for mutant in made(text, "constant", "0f40000000")}
    assert ones == {"0f40400000", "0f3F800000"}
    for seed in range(20):
        flipped = [c.what for c in changes(text, seed) if c.kind == "bit flip" and "0f40000000" in c.what]
        for what in flipped:
            difference = int(what.rpartition("0f")[2], 16) ^ 0x40000000
            assert difference.bit_count() == 1
            assert difference >= 1 << 15


def test_a_change_that_leaves_no_ptx_is_no_mutant() -> None:
    nonsense = Instruction("?", (), ())
    broken = Change("operator", 1, "add became nonsense", function=0, edit={9: (nonsense,)})
    assert apply(broken, parse(ADD), parse_plan(ADD)) is None
