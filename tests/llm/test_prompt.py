"""Prompts say what the catalogue says, and repairs what the judge said."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from llmptx.llm import prompt
from llmptx.llm.extract import ptx_of
from llmptx.ptx import parse
from llmptx.ptx.plan import parse_plan
from llmptx.record import TARGETS, Candidate, Completion, Finding, Stage, Usage, Verdict
from llmptx.routines import catalog, find
from llmptx.toolchain.ptxas import assemble

ADD = find("numpy.add")
WRITER = prompt.shipped()


def reply(content: str = "```ptx\n```") -> Completion:
    return Completion("m", "e", content, "stop", Usage(), 0.0)


def rejected(*findings: Finding) -> Verdict:
    stages = (Stage("read", True, 0, 0.0), Stage("quick", False, 12, 0.1))
    return Verdict("numpy.add", "float32", "full", "c", "s", False, findings, stages)


def test_every_routine_and_dtype_of_the_catalogue_has_a_prompt() -> None:
    for routine in catalog().values():
        for signature in routine.signatures:
            text = WRITER.first(routine, signature.dtype).messages[1].content
            assert f"\nroutine: {routine.name}\n" in text
            assert f"\ndtype: {signature.dtype}\n" in text
            for name in routine.parameters(signature.dtype):
                assert f"\n- `{name}`: " in text
            for note in routine.notes:
                assert note in text
            assert "sm_80, sm_90, sm_100" in text
            assert not re.search(r"\n\n\n|[{}]%|<.*object at", text)


def test_an_unknown_dtype_names_those_there_are() -> None:
    with pytest.raises(KeyError, match="it has"):
        WRITER.first(ADD, "float128")


def test_the_example_in_the_system_prompt_keeps_its_own_rules() -> None:
    text = ptx_of(prompt.sources()["system"])
    plan = parse_plan(text)
    assert [launch.entry for launch in plan.launches] == ["copy_f32"]
    assert parse(text, "system.md")
    assert [assemble(text, target).errors for target in TARGETS] == [(), (), ()]


def test_a_repair_turn_quotes_findings_lines_and_the_smallest_counterexample() -> None:
    text = "//@ launch\n.version 8.0\n    st.global.f32 [%rd1], %f1;\n"
    far = Finding("mismatch", "got 1, expected 2", element=900, case="n=1000")
    near = Finding(
        "out-of-bounds", "writes past out", line=3, block=(1, 0, 0), thread=(7, 0, 0), element=3, case="n=3"
    )
    asked = WRITER.first(ADD, "float32")
    again = WRITER.repair(
        asked, reply("draft"), Candidate("numpy.add", "float32", text, "c"), rejected(far, near)
    )
    assert again.messages[:2] == asked.messages
    assert [m.role for m in again.messages] == ["system", "user", "assistant", "user"]
    assert again.messages[2].content == "draft"
    said = again.messages[3].content
    for part in (
        'the stage "quick", after passing read',
        "1. mismatch: got 1, expected 2",
        "2. out-of-bounds: writes past out",
        "line 3: `st.global.f32 [%rd1], %f1;`",
        "block (1, 0, 0), thread (7, 0, 0), element 3, case n=3",
        "Case n=3: writes past out",
    ):
        assert part in said


def test_findings_beyond_the_first_are_counted() -> None:
    findings = [Finding("mismatch", f"number {i}") for i in range(20)]
    candidate = Candidate("numpy.add", "float32", "", "c")
    said = (
        WRITER.repair(WRITER.first(ADD, "float32"), reply(), candidate, rejected(*findings))
        .messages[-1]
        .content
    )
    assert "8. mismatch: number 7" in said
    assert "and 12 more" in said


def test_a_reply_without_ptx_is_asked_for_again() -> None:
    again = WRITER.ask_again(WRITER.first(ADD, "float32"), reply("no"), "the reply is empty")
    assert "no PTX module in your reply: the reply is empty" in again.messages[-1].content


def test_a_models_text_is_never_a_template() -> None:
    evil = "{{ 7 * 7 }}{% for x in range(9) %}x{% endfor %}"
    verdict = rejected(Finding("parse", evil, line=1))
    candidate = Candidate("numpy.add", "float32", evil, "c")
    said = WRITER.repair(WRITER.first(ADD, "float32"), reply(evil), candidate, verdict).messages
    assert said[2].content == evil
    assert said[3].content.count(evil) == 2
    assert "49" not in said[3].content


def test_a_missing_value_is_an_error_not_a_blank() -> None:
    with pytest.raises(prompt.TemplateError, match="task: 'routin' is undefined"):
        prompt.Writer({"task": "{{ routin.name }}"}).first(ADD, "float32")


def test_a_variant_replaces_the_templates_it_has_and_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "system.md").write_text("Be brief.")
    variant = prompt.Writer(prompt.read_templates(tmp_path))
    asked = variant.first(ADD, "float32")
    assert asked.messages[0].content == "Be brief.\n"
    assert asked.messages[1] == WRITER.first(ADD, "float32").messages[1]
    assert variant.hash != WRITER.hash


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [("sytem", "x", "no prompt template is named 'sytem'"), ("task", "{% if %}", "template task, line 1")],
)
def test_a_variant_that_cannot_be_used_says_why(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(prompt.TemplateError, match="no template in it"):
        prompt.read_templates(tmp_path)
    (tmp_path / f"{name}.md").write_text(text)
    with pytest.raises(prompt.TemplateError, match=says):
        prompt.read_templates(tmp_path)


def test_the_template_hash_is_in_the_prompt_and_in_its_hash() -> None:
    asked = WRITER.first(ADD, "float32")
    assert (asked.template, asked.template_hash) == ("task", WRITER.hash)
    assert replace(asked, template_hash="other").hash != asked.hash


def test_every_line_of_the_primer_assembles() -> None:
    lines = prompt.sources()["primer"].split("```\n")[1]
    head = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n"
    for target in TARGETS:
        assert assemble(f"{head}{lines}ret;\n}}\n", target).errors == ()


def test_the_primer_is_taught_only_where_it_is_asked_for() -> None:
    taught = prompt.Writer(primer=True)
    assert "# PTX in short" in taught.first(ADD, "float32").messages[0].content
    assert "# PTX in short" not in WRITER.first(ADD, "float32").messages[0].content
    assert taught.hash != WRITER.hash


def test_every_kind_of_the_catalogue_has_a_guide() -> None:
    for routine in catalog().values():
        text = WRITER.first(routine, routine.signatures[0].dtype).messages[1].content
        assert "# How kernels of this kind are built" in text
    assert set(prompt.GUIDES.values()) <= set(prompt.sources())


def test_a_small_counterexample_comes_with_the_line_it_is_about() -> None:
    text = "//@ launch\n.version 8.0\n    st.global.f32 [%rd1], %f1;\n"
    small = "n = 1, in0 = [nan]: out[0] is 1"
    shrunk = Finding("mismatch", "got 1, expected 2", line=3, counterexample=small)
    candidate = Candidate("numpy.add", "float32", text, "c")
    again = WRITER.repair(
        WRITER.first(ADD, "float32"), reply(), candidate, rejected(Finding("abi", "x"), shrunk)
    )
    said = again.messages[-1].content
    assert f"{small}\n\nIt goes wrong at line 3: `st.global.f32 [%rd1], %f1;`" in said
