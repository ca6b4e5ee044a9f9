"""The tables of a journal, in Markdown and JSON."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.judge.controls import COMPILED, OFFLINE
from benchmarks.judge.measure import Journal, Row
from llmptx.verify.mutate import KINDS

GROUPS = (
    "elementwise, exact",
    "elementwise, integer",
    "elementwise, transcendental",
    "reduction",
    "scan",
    "dot, matmul",
    "sort",
)
REVIEWED = Path(__file__).with_name("reviewed.toml")
STAGES = ("read", "assemble", "quick", "full", "sanitizers", "memory", "schedules", "approx", "widths")


def markdown(journal: Journal) -> str:
    """The page."""
    rows = _mutants(journal)
    parts = [
        "# The judge, judged",
        "Written by `python -m benchmarks.judge --markdown docs/judge.md`. A mutant is a verified kernel\n"
        "with one fault. The same mutants are put to the field's habit too: `np.allclose` on five random\n"
        "inputs of one shape.",
        _summary(rows),
        "## By mutation",
        _kills(rows, KINDS, lambda row: row.kind, "mutation"),
        "## By routine class",
        _kills(rows, GROUPS, lambda row: row.group, "class"),
        "## By the stage that found it",
        _stages(_killed(rows)),
        "## Honest kernels",
        _controls(journal),
        "## Time of a verdict",
        "Seconds of a `full` verdict that passes, the worker warm, on the machine and under the load this\n"
        "was measured: median / 95th percentile.",
        _times(journal),
        "## Neither found nor proved right",
        _survivors(rows),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(rows: Sequence[Row]) -> str:
    tasks = {row.task for row in rows}
    wrong, killed = _wrong(rows), len(_killed(rows))
    habit = sum(row.habit is False for row in wrong)
    return (
        f"{len(rows)} mutants of {len(tasks)} kernels ({len({t.split()[0] for t in tasks})} routines).\n"
        f"{_count(rows, 'stillborn')} are refused by ptxas; {_count(rows, 'same code')} have the original's\n"
        f"machine code and {_count(rows, 'proved')} are proved right in other ways: these are no faults.\n"
        f"Of the other {len(wrong)}, **{killed} ({_share(killed, len(wrong))}) are found at `full`**;\n"
        f"the field's habit finds {habit} ({_share(habit, len(wrong))}).\n\n"
        f"{_debt(rows)}"
    )


def _debt(rows: Sequence[Row]) -> str:
    left = [row for row in rows if row.outcome in ("survived", "missed")]
    argued = [row for row in left if not _said(row).startswith(("a fault", "not yet read"))]
    rest = len(left) - len(argued)
    seen = len(_killed(rows))
    return (
        f"{len(left)} are neither found nor proved right; the last table lists them. A reader holds\n"
        f"{len(argued)} of them to be right, for the reason given there. Without these the share would be\n"
        f"{_share(seen, seen + rest)}."
    )


def as_json(journal: Journal) -> str:
    """Every row, and the totals."""
    rows = _mutants(journal)
    totals = {
        "mutants": len(rows),
        "stillborn": _count(rows, "stillborn"),
        "same_code": _count(rows, "same code"),
        "proved": _count(rows, "proved"),
        "wrong": len(_wrong(rows)),
        "killed": len(_killed(rows)),
        "killed_by_habit": sum(row.habit is False for row in _wrong(rows)),
    }
    document: dict[str, Any] = {"schema": "llmptx/judge-benchmark/1", "totals": totals}
    document["rows"] = [asdict(row) for row in journal.rows.values()]
    return json.dumps(document, indent=1) + "\n"


def _mutants(journal: Journal) -> list[Row]:
    return [row for row in journal.rows.values() if row.kind not in (OFFLINE, COMPILED)]


def _wrong(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.outcome in ("killed", "survived", "missed")]


def _killed(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.outcome == "killed"]


def _count(rows: Sequence[Row], outcome: str) -> int:
    return sum(row.outcome == outcome for row in rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"


def _lines(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in body)


def _kills(rows: Sequence[Row], names: Sequence[str], key: Callable[[Row], str], title: str) -> str:
    table = []
    for name in (*names, "all"):
        group = [row for row in rows if name in (key(row), "all")]
        wrong = _wrong(group)
        if not group:
            continue
        habit = sum(row.habit is False for row in wrong)
        killed = len(_killed(group))
        right = _count(group, "same code") + _count(group, "proved")
        counts = (len(group), _count(group, "stillborn"), right, len(wrong), killed)
        table.append((name, *counts, _share(killed, len(wrong)), _share(habit, len(wrong))))
    head = (title, "mutants", "stillborn", "proved right", "wrong", "found", "share", "allclose finds")
    return _lines(head, table)


def _stages(killed: Sequence[Row]) -> str:
    counts = {stage: sum(row.stage == stage for row in killed) for stage in STAGES}
    return _lines(
        ("stage", "found", "share"), [(s, n, _share(n, len(killed))) for s, n in counts.items() if n]
    )


def _controls(journal: Journal) -> str:
    table = []
    for kind in (OFFLINE, COMPILED):
        rows = [row for row in journal.rows.values() if row.kind == kind]
        accused = [row for row in rows if row.outcome == "killed"]
        named = "; ".join(f"{row.task}: {row.message}" for row in accused)
        table.append((kind, len(rows), len(accused), named or "-"))
    return _lines(("control", "kernels", "accused", "which"), table)


def _times(journal: Journal) -> str:
    passed = [r for r in journal.rows.values() if r.kind in (OFFLINE, COMPILED) and r.outcome == "survived"]
    table = []
    for group in (*GROUPS, "all"):
        rows = [row for row in passed if group in (row.group, "all")]
        if rows:
            cells = [_spread([row.stages.get(stage, 0.0) for row in rows]) for stage in STAGES]
            table.append((group, len(rows), _spread([row.seconds for row in rows]), *cells))
    return _lines(("class", "kernels", "whole", *STAGES), table)


def _spread(values: Sequence[float]) -> str:
    return f"{np.median(values):.2f} / {np.percentile(values, 95):.2f}"


def _survivors(rows: Sequence[Row]) -> str:
    left = [row for row in rows if row.outcome in ("survived", "missed")]
    left.sort(key=lambda row: (row.task, row.line, row.kind))
    if not left:
        return "None."
    noted = [(r.task, r.line, r.kind, r.what, r.message or _said(r)) for r in left]
    return _lines(("kernel", "line", "mutation", "what", "what a reader says of it"), noted)


@cache
def _reviewed() -> dict[str, dict[str, str]]:
    """By hash: `verdict` (same, within tolerance, or a fault) and `why`. No argument counts as a proof."""
    found: dict[str, dict[str, str]] = tomllib.loads(REVIEWED.read_text("utf-8"))
    return found


def _said(row: Row) -> str:
    noted = _reviewed().get(row.hash[:16])
    return f"{noted['verdict']}: {noted['why']}" if noted else "not yet read"
