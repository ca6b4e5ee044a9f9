"""A certificate: what was verified, by which judge, with what result, bound to the text by hash.

A certificate says nothing of itself that could not be had again from the verdict and the text; `check` has it
again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from llmptx.ptx.errors import PtxError
from llmptx.ptx.normalize import candidate_hash
from llmptx.record import ENGINE_VERSION, JUDGE_VERSION, Verdict, digest
from llmptx.routines import UnknownRoutine, find
from llmptx.verify.proof import PROVED
from llmptx.verify.tolerance import derivation

SCHEMA = "llmptx/certificate/1"

_TRIED = {
    "read": "syntax, ABI, launch plan, and what no kernel may contain",
    "assemble": "ptxas for every target, and whether a multiprocessor has the registers",
    "quick": "small shapes and special values, each element compared",
    "full": "shapes around every edge of the plan, every distribution, special values, each element compared",
    "sanitizers": "bounds, alignment, initialisation, races and barriers of every access",
    "memory": "other bytes in memory, buffers at either edge of a page, least alignment, out over an input",
    "schedules": "blocks and warps in other orders",
    "approx": "every .approx result at either end of the manual's bound",
    "widths": "one thread at a time for a warp at a time",
    "huge": "blocks at both ends and around 2^31 and 2^32 of calls of more than 2^32 elements",
    "proof": "whether z3 proves every element right and every access in bounds, for all lengths and inputs",
    "exhaustive": "every input there is",
    "gpu": "the same cases on a GPU, bit by bit",
}


class CertificateError(ValueError):
    """A certificate that does not hold, or cannot be given; str() says why."""


def certificate(verdict: Verdict) -> dict[str, Any]:
    """The certificate of a verdict that passed, ready for JSON. Raises CertificateError for any other."""
    if not verdict.passed:
        raise CertificateError(f"the verdict on {verdict.routine} {verdict.dtype} did not pass")
    try:
        rule = find(verdict.routine).tolerance[verdict.dtype]
    except (UnknownRoutine, KeyError) as error:
        raise CertificateError(f"the catalogue has no {verdict.routine} {verdict.dtype}") from error
    body = {
        "schema": SCHEMA,
        "routine": verdict.routine,
        "dtype": verdict.dtype,
        "level": verdict.level,
        "device": verdict.device,
        "candidate": verdict.candidate,
        "spec": verdict.spec,
        "judge": verdict.judge,
        "engine": verdict.engine,
        "tools": verdict.tools,
        "seed": verdict.seed,
        "verdict": verdict_hash(verdict),
        "stages": [
            {"name": s.name, "tried": _TRIED.get(s.name, ""), "cases": s.cases, "note": s.note}
            for s in verdict.stages
        ],
        "tolerance": {
            "rule": rule.rule,
            "ulp": rule.ulp,
            "derivation": derivation(rule, verdict.dtype),
        },
        "proved": any(s.name == "proof" and s.note.startswith(PROVED) for s in verdict.stages),
        "targets": sorted({r.target for r in verdict.resources}),
        "resources": [dataclasses.asdict(r) for r in verdict.resources],
        "accuracy": _accuracy(verdict),
    }
    return {**body, "hash": digest(body)}


def verdict_hash(verdict: Verdict) -> str:
    """Of all but how long it took, with what tools, and what a solver made of it, which not every machine
    has: so that judging again gives the same.
    """
    plain = {name: value for name, value in dataclasses.asdict(verdict).items() if name != "tools"}
    plain["stages"] = [
        {k: v for k, v in stage.items() if k != "seconds"}
        for stage in plain["stages"]
        if stage["name"] != "proof"
    ]
    return digest(plain)


def _accuracy(verdict: Verdict) -> dict[str, Any] | None:
    if verdict.accuracy is None:
        return None
    return {
        "max_ulp": verdict.accuracy.max_ulp,
        "at": verdict.accuracy.at,
        "checked": verdict.accuracy.checked,
        "rounded": verdict.accuracy.rounded,
        "monotonicity_breaks": verdict.accuracy.monotonicity_breaks,
    }


def check_text(certificate: Mapping[str, Any], ptx_text: str) -> None:
    """Raises CertificateError unless it is whole and this text's."""
    if certificate.get("schema") != SCHEMA:
        raise CertificateError(f"schema is {certificate.get('schema')!r}; this version reads {SCHEMA!r}")
    body = {name: value for name, value in certificate.items() if name != "hash"}
    if certificate.get("hash") != digest(body):
        raise CertificateError("the certificate was changed after it was given")
    try:
        found = candidate_hash(ptx_text)
    except PtxError as error:
        raise CertificateError(f"the text is not PTX: {error.message}") from error
    if certificate.get("candidate") != found:
        raise CertificateError(f"the certificate is of {certificate.get('candidate')}; the text is {found}")


def check(certificate: Mapping[str, Any], ptx_text: str) -> None:
    """Raises CertificateError unless it is whole, is this text's, and its spec, judge and engine are ours."""
    check_text(certificate, ptx_text)
    for name, ours in (("judge", JUDGE_VERSION), ("engine", ENGINE_VERSION)):
        if certificate.get(name) != ours:
            raise CertificateError(
                f"{name} version {certificate.get(name)} gave it; this is {ours}: verify again"
            )
    try:
        spec = find(str(certificate.get("routine"))).spec_hash(str(certificate.get("dtype")))
    except UnknownRoutine as error:
        raise CertificateError(f"the certificate's routine is unknown: {error}") from error
    except KeyError as error:
        raise CertificateError(f"the certificate's dtype is unknown: {error.args[0]}") from error
    if certificate.get("spec") != spec:
        raise CertificateError("the routine's spec has changed since: verify again")
