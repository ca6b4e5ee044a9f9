"""What a kernel weighs, from the machine code ptxas makes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmptx.llm.library import drafts
from llmptx.toolchain.weight import Weight, weigh

COPY = drafts("numpy.negative", "float32")[-1]


def test_dead_and_renamed_code_weighs_nothing() -> None:
    dead = COPY.replace("ret;", "mov.f32 %unused, 0f3F800000;\n    ret;").replace(
        "{\n", "{\n    .reg .f32 %unused;\n", 1
    )
    assert weigh(dead) == weigh(COPY)


def test_shared_memory_and_real_work_weigh_more() -> None:
    total = weigh(drafts("numpy.sum", "float32")[-1])
    assert total.bytes > 0
    assert total.instructions > weigh(COPY).instructions > 10
    assert weigh(COPY).bytes == 0


def test_a_text_that_does_not_assemble_has_no_weight() -> None:
    with pytest.raises(ValueError, match="does not assemble"):
        weigh(COPY.replace("ret;", "return;"))


def test_better_is_less_somewhere_and_more_nowhere() -> None:
    one = Weight(10, 20, 0)
    assert replace(one, registers=9).better_than(one)
    assert not one.better_than(one)
    assert not replace(one, registers=9, bytes=1).better_than(one)
    assert not one.better_than(replace(one, registers=9, bytes=1))
    assert str(one) == "10 registers, 20 instructions, 0 bytes"
