"""Certificates replayed and kernels judged again, from the command line, with the real judge and engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import llmptx
from llmptx.cli import main
from llmptx.record import digest
from llmptx.toolchain.ptxas import find_ptxas
from llmptx.verify.certificate import certificate
from llmptx.verify.judge import verify

pytestmark = pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")

OFFLINE = Path(llmptx.__file__).parent / "llm" / "offline"
TEXT = (OFFLINE / "numpy/negative/int32.1.ptx").read_text()


@pytest.fixture(scope="module")
def given() -> dict[str, object]:
    return certificate(verify(TEXT, "numpy.negative", "int32"))


def llm(root: Path, *args: str) -> Result:
    return CliRunner().invoke(main, ["--workspace", str(root), *args])


def _files(root: Path, given: dict[str, object]) -> Path:
    path = root / "negative.json"
    path.write_text(json.dumps(given))
    path.with_suffix(".ptx").write_text(TEXT)
    return path


def test_a_replay_gives_the_same_verdict(tmp_path: Path, given: dict[str, object]) -> None:
    path = _files(tmp_path, given)
    result = llm(tmp_path, "verify", "--replay", str(path), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["same"], found["differences"]) == (True, [])
    assert found["verdict"]["seed"] == given["seed"]


def test_a_replay_says_what_is_different(tmp_path: Path, given: dict[str, object]) -> None:
    body = {k: v for k, v in given.items() if k != "hash"} | {"judge": "0", "verdict": "00"}
    path = _files(tmp_path, {**body, "hash": digest(body)})
    result = llm(tmp_path, "verify", "--replay", str(path), str(path.with_suffix(".ptx")))
    assert result.exit_code == 1
    assert "different: judge version 0 gave the certificate" in result.stdout
    assert "not the verdict that was certified" in result.stdout


def test_what_is_no_certificate_or_not_of_the_text_is_wrong_use(
    tmp_path: Path, given: dict[str, object]
) -> None:
    path = _files(tmp_path, given)
    path.with_suffix(".ptx").write_text(TEXT.replace("neg.s32", "not.b32"))
    result = llm(tmp_path, "verify", "--replay", str(path))
    assert result.exit_code == 2
    assert "the text is" in result.stderr
    path.write_text("[1]")
    assert llm(tmp_path, "verify", "--replay", str(path)).exit_code == 2
    assert llm(tmp_path, "verify", "--replay", str(path), "--dtype", "int32").exit_code == 2


@pytest.mark.parametrize("args", [(), ("FILE",), ("FILE", "--routine", "negative")])
def test_without_a_certificate_routine_and_dtype_are_needed(tmp_path: Path, args: tuple[str, ...]) -> None:
    file = tmp_path / "k.ptx"
    file.write_text(TEXT)
    result = llm(tmp_path, "verify", *(str(file) if a == "FILE" else a for a in args))
    assert result.exit_code == 2
    assert "Missing" in result.stderr


def test_recheck_certifies_anew_and_recalls(tmp_path: Path, given: dict[str, object]) -> None:
    from llmptx.review import Desk

    desk = Desk(tmp_path)
    for name in ("negative", "absolute"):
        body = {k: v for k, v in given.items() if k != "hash"}
        body |= {"judge": "0", "routine": f"numpy.{name}"}
        folder = tmp_path / "verified" / "numpy" / name
        folder.mkdir(parents=True)
        (folder / "int32.ptx").write_text(TEXT)
        content = {"schema": "llmptx/verified/1", "certificate": {**body, "hash": digest(body)}}
        (folder / "int32.json").write_text(json.dumps(content))
        desk.decide((f"numpy.{name}", "int32", str(given["candidate"])), "approve", "ada", "")
    result = llm(tmp_path, "recheck", "--json")
    assert result.exit_code == 1, result.output
    outcomes = {row["routine"]: row["outcome"] for row in json.loads(result.stdout)}
    assert outcomes == {"numpy.negative": "passed", "numpy.absolute": "recalled"}
    assert (
        llm(tmp_path, "verify", "--replay", str(tmp_path / "verified/numpy/negative/int32.json")).exit_code
        == 0
    )
    again = llm(tmp_path, "recheck")
    assert again.exit_code == 0
    assert "1 current" in again.stdout


def test_an_empty_workspace_has_nothing_to_judge_again(tmp_path: Path) -> None:
    result = llm(tmp_path, "recheck")
    assert (result.exit_code, "nothing to judge again" in result.stdout) == (0, True)
