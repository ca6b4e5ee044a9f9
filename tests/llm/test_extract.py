"""From replies as models write them to PTX text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmptx.llm.extract import LARGEST, ReplyError, ptx_of

MODULE = """//@ launch entry=f grid=1 block=1
.version 8.0
.target sm_80
.address_size 64
.visible .entry f(.param .u64 n)
{
    ret;
}
"""
OTHER = MODULE.replace(".entry f", ".entry g").replace("entry=f", "entry=g")
PIECE = "setp.ge.u64 %p1, %rd1, %rd2;\n"


@pytest.mark.parametrize(
    "reply",
    [
        f"Here:\n\n```ptx\n{MODULE}```\nbye",
        f"```PTX\n{MODULE}\n\n```",
        f"```asm\n{MODULE}```",
        f"```{{.ptx}}\n{MODULE}```",
        f"```\n{MODULE}```",
        f"~~~~ptx\n{MODULE}~~~~",
        f"````ptx\n{MODULE}````",
        f"```ptx title=add.ptx\n{MODULE}```",
        "```ptx\r\n" + MODULE.replace("\n", "\r\n") + "```\r\n",
        MODULE,
        f"Sure, here it is.\n\n{MODULE}\nI hope it helps.",
        f"\ufeff{MODULE}",
        f"```ptx\n{MODULE}",
        f"First:\n```ptx\n{OTHER}```\nno, better:\n```ptx\n{MODULE}```\n",
        f"```ptx\n{MODULE}```\nwhere the guard is\n```ptx\n{PIECE}```\n",
        f"```python\n'.version 8.0 .entry f {{ }}'\n```\n```ptx\n{MODULE}```\n```cuda\nf() {{}}\n```",
    ],
)
def test_the_module_is_found(reply: str) -> None:
    assert ptx_of(reply) == MODULE


def test_a_block_within_a_list_loses_its_indentation() -> None:
    indented = "".join(f"   {line}\n" for line in MODULE.splitlines())
    assert ptx_of(f"1. The kernel:\n\n   ```ptx\n{indented}   ```\n") == MODULE


def test_a_module_with_an_error_in_it_is_left_to_the_judge() -> None:
    broken = MODULE.replace("    ret;\n}\n", "    ret;\n")
    assert ptx_of(f"```ptx\n{broken}```") == broken


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("I cannot do that.", r"no fenced block, and no line that starts with \.version"),
        ("```python\nimport numpy\n```", "the blocks found: python at line 1"),
        (f"```ptx\n{PIECE}```", "the blocks found: ptx at line 1"),
        ("```ptx\n.version 8.0\n.entry f(\n", "ends before the module does"),
        (f"// .version 8.0\n// {MODULE.splitlines()[4]}", "no fenced block"),
        (f"```ptx\n{MODULE}// {'x' * LARGEST}\n```", "at most 1,048,576"),
    ],
)
def test_a_reply_without_a_module_says_what_it_holds(reply: str, says: str) -> None:
    with pytest.raises(ReplyError, match=says):
        ptx_of(reply)


@given(st.text(alphabet=st.sampled_from("`~{}/*\n .@ptxversionentry\r\\"), max_size=300))
def test_any_text_gives_ptx_or_a_reply_error(reply: str) -> None:
    try:
        ptx = ptx_of(reply)
    except ReplyError:
        return
    assert ".version" in ptx
    assert ptx.endswith("\n")


def test_nothing_in_a_reply_is_run_or_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a reply reached something that acts")

    for name in ("open", "eval", "exec", "compile", "__import__"):
        monkeypatch.setattr(f"builtins.{name}", refuse)
    reply = f"```ptx\n{MODULE}```\n```python\nopen('/tmp/x', 'w')\n```\n$(touch x) file:///etc/passwd"
    assert ptx_of(reply) == MODULE
