"""A certificate's verdict had again, and what is different where it comes out otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmptx.record import ENGINE_VERSION, JUDGE_VERSION, Verdict
from llmptx.routines import find
from llmptx.verify import certificate as certificates
from llmptx.verify.judge import OnProgress, Runs, verify

_COMPARED = ("stages", "accuracy", "resources", "tolerance")


@dataclass(frozen=True, slots=True)
class Replay:
    """The verdict that came now; `same` where all of it but the time is what was certified, bit for bit."""

    verdict: Verdict
    same: bool
    differences: tuple[str, ...]


def replay(
    certificate: Mapping[str, Any],
    text: str,
    pool: Runs | None = None,
    on_progress: OnProgress | None = None,
) -> Replay:
    """Judges the text as the certificate says it was: routine, level, device, seed.

    Raises CertificateError where the certificate is not whole or is another text's, and what verify raises.
    """
    certificates.check_text(certificate, text)
    verdict = verify(
        text,
        str(certificate["routine"]),
        str(certificate["dtype"]),
        certificate["level"],
        certificate["device"],
        seed=certificate.get("seed"),
        pool=pool,
        on_progress=on_progress,
    )
    same = certificates.verdict_hash(verdict) == certificate["verdict"]
    return Replay(verdict, same, tuple(_differences(certificate, verdict, same)))


def _settled(name: str, value: Any) -> Any:
    """Without what a solver made of it: not every machine has one."""
    return [s for s in value if s["name"] != "proof"] if name == "stages" else value


def _differences(before: Mapping[str, Any], verdict: Verdict, same: bool) -> Iterator[str]:
    for name, ours in (("judge", JUDGE_VERSION), ("engine", ENGINE_VERSION)):
        if before.get(name) != ours:
            yield f"{name} version {before.get(name)} gave the certificate; this is {ours}"
    if before.get("spec") != find(verdict.routine).spec_hash(verdict.dtype):
        yield "the routine's spec has changed"
    if not verdict.passed:
        finding = verdict.findings[0]
        yield f"it does not pass: {finding.kind}: {finding.message}"
        return
    now = certificates.certificate(verdict)
    for name in _COMPARED:
        if name in before and _settled(name, before[name]) != _settled(name, now[name]):
            yield f"{name} were {before[name]!r} and are {now[name]!r}"
    if not same and before.get("tools") != now["tools"]:
        yield f"it was made with {before.get('tools')}; here is {now['tools']}"
