"""Judges again what an earlier judge let pass, and recalls what no longer does.

A verified kernel that passes gets a new certificate under the approval it has; one that fails leaves
verified/ for recalled/, and a `recall` by "recheck" is filed beside people's decisions. Candidates of the
corpus keep their records; their new verdicts stand in corpus/rechecks.jsonl.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from llmptx.corpus.journal import appending, write_line
from llmptx.ptx.errors import PtxError
from llmptx.ptx.normalize import candidate_hash
from llmptx.record import ENGINE_VERSION, JUDGE_VERSION, Level, Verdict
from llmptx.review.decisions import standings
from llmptx.review.desk import SCHEMA, Desk, replace_file
from llmptx.review.queue import Entry
from llmptx.routines import UnknownRoutine, find
from llmptx.verify.certificate import CertificateError, certificate, check_text
from llmptx.verify.judge import LevelError

REVIEWER = "recheck"
RECALL_SCHEMA = "llmptx/recalled/1"

Judge = Callable[[str, str, str, Level, str], Verdict]
"""(text, routine, dtype, level, device) -> verdict"""


@dataclass(frozen=True, slots=True)
class Rechecked:
    """One kernel and what became of it.

    path     of the kernel in verified/, or None for a candidate of the corpus
    outcome  current: this judge and engine gave its certificate, so it was left; passed; recalled
    reason   of a recall, a sentence
    """

    routine: str
    dtype: str
    candidate: str
    path: Path | None
    outcome: Literal["current", "passed", "recalled"]
    reason: str = ""


def recheck(desk: Desk, judge: Judge, everything: bool = False, corpus: bool = False) -> Iterator[Rechecked]:
    """Every verified kernel, and with `corpus` every candidate that passed, each told once it is dealt with.

    everything  judge again also what this judge and engine have judged

    A kernel whose routine, dtype or level is there no more is recalled; else what `judge` raises passes on.
    """
    done = set()
    for path in sorted(desk.verified.glob("*/*/*.ptx")):
        result = _kernel(desk, path, judge, everything)
        done.add((result.routine, result.dtype, result.candidate))
        yield result
    if corpus:
        entries, _ = desk.queue()
        for entry in entries:
            if entry.key not in done and entry.state in ("waiting", "approved"):
                yield _candidate(desk, entry, judge, everything)


def _kernel(desk: Desk, path: Path, judge: Judge, everything: bool) -> Rechecked:
    routine, dtype = f"{path.parent.parent.name}.{path.parent.name}", path.stem
    try:
        text = path.read_text(encoding="utf-8")
        hash = candidate_hash(text)
    except (ValueError, PtxError) as error:
        return _recall(desk, path, (routine, dtype, ""), f"the file is no PTX: {error}")
    key = (routine, dtype, hash)
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        given = _certificate(content, text)
    except (OSError, ValueError) as error:
        return _recall(desk, path, key, f"its certificate does not hold: {error}")
    standing = standings(desk.reviews()[0], desk.policy()).get(key)
    if standing is None or standing.state != "approved":
        return _recall(desk, path, key, "no decision approves it")
    if not everything and _current(given, routine, dtype):
        return Rechecked(*key, path, "current")
    verdict, why = _judged(judge, text, routine, dtype, given["level"], given["device"])
    if verdict is None or not verdict.passed:
        return _recall(desk, path, key, why, verdict)
    content = {**content, "certificate": certificate(verdict)}
    replace_file(path.with_suffix(".json"), json.dumps(content, indent=2, sort_keys=True) + "\n")
    return Rechecked(*key, path, "passed")


def _certificate(content: Any, text: str) -> Mapping[str, Any]:
    """Raises ValueError where it is not whole, or not the text's."""
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise CertificateError(f"it is not of schema {SCHEMA!r}")
    given = content.get("certificate")
    if not isinstance(given, dict):
        raise CertificateError("there is none in the file")
    check_text(given, text)
    return given


def _current(given: Mapping[str, Any], routine: str, dtype: str) -> bool:
    try:
        spec = find(routine).spec_hash(dtype)
    except (UnknownRoutine, KeyError):
        return False
    ours = (JUDGE_VERSION, ENGINE_VERSION, spec)
    return (given.get("judge"), given.get("engine"), given.get("spec")) == ours


def _judged(
    judge: Judge, text: str, routine: str, dtype: str, level: Level, device: str
) -> tuple[Verdict | None, str]:
    """The verdict, and in a sentence why it is no pass."""
    try:
        find(routine).signature(dtype)
    except UnknownRoutine as error:
        return None, f"it cannot be judged any more: {error}"
    except KeyError as error:
        return None, f"it cannot be judged any more: {error.args[0]}"
    try:
        verdict = judge(text, routine, dtype, level, device)
    except LevelError as error:
        return None, f"it cannot be judged any more: {error}"
    if verdict.passed:
        return verdict, ""
    finding = verdict.findings[0]
    return verdict, f"judge {verdict.judge}, engine {verdict.engine}: {finding.kind}: {finding.message}"


def _recall(
    desk: Desk, path: Path, key: tuple[str, str, str], reason: str, verdict: Verdict | None = None
) -> Rechecked:
    """Files the recall, then moves the kernel, so that a crash in between leaves nothing approved."""
    desk.decide(key, "recall", REVIEWER, reason)
    to = desk.recalled / path.relative_to(desk.verified)
    to.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "schema": RECALL_SCHEMA,
        "routine": key[0],
        "dtype": key[1],
        "candidate": key[2],
        "reason": reason,
        "verdict": asdict(verdict) if verdict else None,
    }
    replace_file(to.with_suffix(".json"), json.dumps(content, indent=2, sort_keys=True) + "\n")
    path.replace(to)
    path.with_suffix(".json").unlink(missing_ok=True)
    return Rechecked(*key, path, "recalled", reason)


def _candidate(desk: Desk, entry: Entry, judge: Judge, everything: bool) -> Rechecked:
    routine, dtype, _ = entry.key
    before = entry.verdict
    given = {"judge": before.judge, "engine": before.engine, "spec": before.spec}
    if not everything and _current(given, routine, dtype):
        return Rechecked(*entry.key, None, "current")
    verdict, why = _judged(judge, entry.candidate.text, routine, dtype, before.level, before.device)
    if verdict is not None:
        with appending(desk.rechecks) as file:
            write_line(file, verdict.to_json())
    if verdict is None or not verdict.passed:
        desk.decide(entry.key, "recall", REVIEWER, why)
        return Rechecked(*entry.key, None, "recalled", why)
    return Rechecked(*entry.key, None, "passed")
