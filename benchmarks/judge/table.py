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
from benchmarks.judge.measure import EVERY, Journal, Row
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
    """Both blocks, as the pages have them."""
    return f"{summary(journal)}\n\n{tables(journal)}\n"


def filled(page: str, journal: Journal) -> str:
    """A page with the blocks it has written anew: what stands between `<!-- judge: NAME -->` and
    `<!-- judge: end -->`. Raises ValueError for a page that has none."""
    found = 0
    for name, block in (("summary", summary), ("tables", tables)):
        begin, end = f"<!-- judge: {name} -->", "<!-- judge: end -->"
        before, mark, rest = page.partition(begin)
        if mark:
            found += 1
            _, mark, after = rest.partition(end)
            if not mark:
                raise ValueError(f"the block {begin} has no {end}")
            page = f"{before}{begin}\n{block(journal)}\n{end}{after}"
    if not found:
        raise ValueError("the page has no block of the judge's tables: <!-- judge: summary --> begins one")
    return page


def summary(journal: Journal) -> str:
    """Totals in words, and a line a class of routine."""
    rows = _mutants(journal)
    return f"{_totals(rows)}\n\n{_kills(rows, GROUPS, lambda row: row.group, 'class')}"


def tables(journal: Journal) -> str:
    """By mutation, stage and proof; honest kernels; times; and every mutant that is left."""
    rows = _mutants(journal)
    parts = [
        "### By mutation",
        _kills(rows, KINDS, lambda row: row.kind, "mutation"),
        "### By the stage that found it",
        _stages(_killed(rows)),
        "### How those that passed were settled",
        _proofs(rows),
        "### Honest kernels",
        _controls(journal),
        "### Time of a verdict",
        "Seconds of a `full` verdict that passes, the worker warm, on the machine and under the load this\n"
        "was measured: median / 95th percentile.",
        _times(journal),
        "### Neither found nor settled",
        _survivors(rows),
    ]
    return "\n\n".join(parts)


def _totals(rows: Sequence[Row]) -> str:
    tasks = {row.task for row in rows}
    wrong, killed = _wrong(rows), len(_killed(rows))
    habit = sum(row.habit is False for row in wrong)
    same = _count(rows, "same code") + _count(rows, "proved")
    right = _count(rows, "correct") + _count(rows, "within")
    kernels = f"{len(tasks)} kernels ({len({t.split()[0] for t in tasks})} routines)"
    share, habits = _share(killed, len(wrong)), _share(habit, len(wrong))
    found = f"**{killed} ({share}) are found at `full`**"
    return (
        f"{len(rows)} mutants of {kernels}. {_count(rows, 'stillborn')} are refused by ptxas. {same} are\n"
        f"proved to do what the original does, and {right} to answer otherwise, but within the routine's\n"
        f"tolerance: these are no faults. Of the other {len(wrong)}, {found}; five\n"
        f"random inputs and `allclose`, the field's habit, find {habit} ({habits}). What is neither found\n"
        f"nor proved right, {len(wrong) - killed}, counts as not found."
    )


def _proofs(rows: Sequence[Row]) -> str:
    ways = {
        ("same code", ""): "the same machine code for sm_80",
        ("proved", "by z3"): "the same accesses and values, by z3 or a block's threads in step",
        ("proved", ""): "the same answers to all 2^32 values",
        ("correct", ""): "other answers, within the tolerance on all 2^32 values",
        ("within", ""): "other roundings, within the bound by the depth of the sum",
        ("missed", ""): "wrong on some of all 2^32 values: a fault that `full` missed",
    }
    counted: dict[str, int] = {}
    for row in rows:
        words = ways.get((row.outcome, row.message)) or ways.get((row.outcome, ""))
        if words:
            counted[words] = counted.get(words, 0) + 1
    return _lines(("what was shown", "mutants"), counted.items())


def as_json(journal: Journal) -> str:
    """Every row, and the totals."""
    rows = _mutants(journal)
    totals = {
        "mutants": len(rows),
        "stillborn": _count(rows, "stillborn"),
        "same_code": _count(rows, "same code"),
        "proved": _count(rows, "proved"),
        "correct": _count(rows, "correct"),
        "within": _count(rows, "within"),
        "wrong": len(_wrong(rows)),
        "killed": len(_killed(rows)),
        "killed_by_habit": sum(row.habit is False for row in _wrong(rows)),
    }
    document: dict[str, Any] = {"schema": "llmptx/judge-benchmark/1", "totals": totals}
    document["rows"] = [asdict(row) for row in journal.rows.values()]
    return json.dumps(document, indent=1) + "\n"


def _mutants(journal: Journal) -> list[Row]:
    return [row for row in journal.rows.values() if row.kind not in (OFFLINE, COMPILED, EVERY)]


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
        same = _count(group, "same code") + _count(group, "proved")
        right = _count(group, "correct") + _count(group, "within")
        counts = (len(group), _count(group, "stillborn"), same, right, len(wrong), killed)
        table.append((name, *counts, _share(killed, len(wrong)), _share(habit, len(wrong))))
    head = (
        title,
        "mutants",
        "stillborn",
        "the same",
        "right otherwise",
        "wrong",
        "found",
        "share",
        "allclose",
    )
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
