"""A coding agent asks the judge over the protocol, and is told what it needs to mend its kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client

import llmptx
from llmptx.agents import server
from llmptx.corpus import Corpus

LIBRARY = Path(llmptx.__file__).parent / "llm" / "offline" / "numpy" / "add"
FAULTY, RIGHT = (LIBRARY / "float32.1.ptx").read_text(), (LIBRARY / "float32.2.ptx").read_text()


def _ask(root: Path, tool: str, **arguments):
    async def ask():
        async with Client(server(root)) as client:
            return await client.call_tool(tool, arguments)

    return anyio.run(ask)


def test_a_right_kernel_passes_and_a_faulty_one_is_told_a_counterexample(tmp_path):
    said = _ask(tmp_path, "verify_ptx", ptx=RIGHT, routine="add", dtype="float32").structured_content
    assert said["passed"]
    assert set(said["registers"]) == {"sm_80", "sm_90", "sm_100"}
    said = _ask(tmp_path, "verify_ptx", ptx=FAULTY, routine="numpy.add", dtype="float32").structured_content
    assert not said["passed"]
    finding = said["findings"][0]
    assert finding["kind"] == "unwritten-output"
    assert "out" in finding["message"]
    assert finding["counterexample"]
    assert "buffer" not in finding or finding["buffer"]


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("verify_ptx", {"ptx": "x", "routine": "numpy.ad", "dtype": "float32"}, "did you mean numpy.add"),
        ("verify_ptx", {"ptx": "x", "routine": "numpy.add", "dtype": "float8"}, "it has float32"),
        ("verify_ptx", {"ptx": "x", "routine": "numpy.add"}, "dtype"),
        ("show_verdict", {"candidate": "zzzz"}, "no candidate"),
        ("list_routines", {"pattern": "nothing*"}, "no routine matches"),
        ("describe_routine", {"routine": "numpy.exp", "dtype": "int32"}, "it has float32"),
    ],
)
def test_wrong_use_is_an_error_that_says_what_to_do(tmp_path, tool, arguments, words):
    result = _ask(tmp_path, tool, **arguments)
    assert result.is_error
    assert words in result.content[0].text


def test_a_text_that_is_no_ptx_has_a_verdict_like_any_other(tmp_path):
    said = _ask(
        tmp_path, "verify_ptx", ptx="rm -rf /", routine="numpy.add", dtype="float32"
    ).structured_content
    assert [f["kind"] for f in said["findings"]] == ["parse"]


def test_a_filed_kernel_is_shown_with_its_state(tmp_path, make_record):
    record = make_record()
    Corpus(tmp_path / "corpus" / "records.jsonl").append(record)
    candidate = record.attempts[0].candidate
    said = _ask(tmp_path, "show_verdict", candidate=candidate.hash[:8]).structured_content
    assert (said["state"], said["ptx"]) == ("waiting", candidate.text)


def test_routines_are_listed_and_described(tmp_path):
    listed = _ask(tmp_path, "list_routines", pattern="numpy.e*").structured_content["result"]
    assert {row["routine"] for row in listed} >= {"numpy.exp", "numpy.equal"}
    text = _ask(tmp_path, "describe_routine", routine="exp", dtype="float32").content[0].text
    assert "routine: numpy.exp" in text
    assert ".u64" in text


def test_the_command_speaks_the_protocol_on_stdio(tmp_path):
    async def ask():
        command = ["-m", "llmptx", "--workspace", str(tmp_path), "mcp"]
        parameters = StdioServerParameters(command=sys.executable, args=command)
        async with Client(stdio_client(parameters)) as client:
            return {tool.name for tool in (await client.list_tools()).tools}

    names = anyio.run(ask)
    assert names == {"verify_ptx", "show_verdict", "list_routines", "describe_routine"}
