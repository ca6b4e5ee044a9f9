"""What the pages show, made from rows and entries: filters and counts, anchored findings, pictures.

Knows what a reviewer wants to see; nothing of HTTP. Everything a model wrote leaves here escaped or as text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from markupsafe import Markup, escape

from llmptx import plot
from llmptx.record import Attempt, Comment, Finding, Review
from llmptx.review.index import Row
from llmptx.review.plain import plain, plain_line
from llmptx.review.queue import Entry
from llmptx.review.web.highlight import Line, highlighted
from llmptx.routines import UnknownRoutine, find
from llmptx.verify.tolerance import derivation

PAGE = 50
LONGEST = 200_000  # characters of a model's text that a page shows
TABS = ("waiting", "changed", "returned", "recalled", "approved", "rejected", "all")
SORTS = ("risk", "newest", "routine")
REASONS = (
    "reads or writes out of place",
    "wrong at special values",
    "less exact than it should be",
    "does not scale to large sizes",
    "hard to read or maintain",
    "uses a construct it should not",
    "no better than what is approved",
)


@dataclass(frozen=True, slots=True)
class Filter:
    """What of the inbox is asked for; made from an address, and made into one."""

    tab: str = "waiting"
    text: str = ""
    model: str = ""
    sort: str = "risk"
    page: int = 1

    @staticmethod
    def of(query: Mapping[str, str]) -> Filter:
        """What is not understood is left at its default."""
        tab, sort, page = query.get("tab", ""), query.get("sort", ""), query.get("page", "1")
        return Filter(
            tab if tab in TABS else "waiting",
            query.get("q", "")[:100],
            query.get("model", "")[:200],
            sort if sort in SORTS else "risk",
            int(page) if page.isascii() and page.isdigit() and len(page) < 7 and int(page) else 1,
        )

    def query(self, **changes: object) -> str:
        """The address's part after the question mark; a change starts at the first page."""
        names = {"tab": self.tab, "q": self.text, "model": self.model, "sort": self.sort}
        plain_names = {**names, **{k: str(v) for k, v in changes.items()}}
        defaults = {"tab": "waiting", "q": "", "model": "", "sort": "risk", "page": "1"}
        return urlencode({k: v for k, v in plain_names.items() if v != defaults.get(k)})


def changed(rows: Iterable[Row], log: Iterable[Review], name: str) -> set[tuple[str, str, str]]:
    """What waits although the person has decided on another kernel of the same task before it came."""
    mine = {(r.routine, r.dtype): r.created for r in log if r.reviewer == name and r.decision != "undo"}
    return {
        row.key
        for row in rows
        if row.state == "waiting" and row.key[:2] in mine and mine[row.key[:2]] < row.created
    }


def chosen(rows: Sequence[Row], asked: Filter, again: set[tuple[str, str, str]]) -> list[Row]:
    """The rows of a tab with the text in routine, dtype, hash, model or a risk, in the order asked for."""
    words = asked.text.lower().split()
    kept = [
        row
        for row in rows
        if _in_tab(row, asked.tab, again)
        and asked.model in ("", plain_line(row.model))
        and all(word in _words(row) for word in words)
    ]
    if asked.sort == "newest":
        kept.sort(key=lambda row: row.created, reverse=True)
    elif asked.sort == "routine":
        kept.sort(key=lambda row: row.key)
    return kept


def counts(rows: Iterable[Row], again: set[tuple[str, str, str]]) -> dict[str, int]:
    """Rows in each tab."""
    states = Counter(row.state for row in rows)
    return {tab: states[tab] for tab in TABS} | {"all": states.total(), "changed": len(again)}


def _in_tab(row: Row, tab: str, again: set[tuple[str, str, str]]) -> bool:
    if tab == "changed":
        return row.key in again
    return tab in ("all", row.state)


def _words(row: Row) -> str:
    reasons = " ".join(risk.reason for risk in row.risks)
    return f"{row.key[0]} {row.key[1]} {row.key[2]} {row.model} {reasons}".lower()


# -- a kernel's page


@dataclass(frozen=True, slots=True)
class Source:
    """A line of PTX with what was said about it."""

    line: Line
    findings: tuple[Finding, ...]
    comments: tuple[Comment, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """A round of the trajectory as the page tells it."""

    number: int
    passed: bool
    asked: str
    reply: str
    thought: str
    thought_kind: str
    usage: str
    stages: str
    loose: tuple[Finding, ...]
    source: tuple[Source, ...]


def source(
    text: str, findings: Iterable[Finding] = (), comments: Iterable[Comment] = ()
) -> tuple[tuple[Source, ...], tuple[Finding, ...]]:
    """The lines of a text with findings and comments at theirs; and the findings about no line."""
    shown = highlighted(text[:LONGEST])
    about: dict[int, list[Finding]] = {}
    said: dict[int, list[Comment]] = {}
    for finding in findings:
        about.setdefault(finding.line if finding.line <= len(shown) else 0, []).append(finding)
    for comment in comments:
        said.setdefault(comment.line if comment.line <= len(shown) else 0, []).append(comment)
    rows = tuple(
        Source(line, tuple(about.get(line.number, ())), tuple(said.get(line.number, ()))) for line in shown
    )
    return rows, tuple(about.get(0, ()))


def turns(entry: Entry) -> tuple[Turn, ...]:
    """The trajectory of the latest record."""
    return tuple(_turn(number, attempt) for number, attempt in enumerate(entry.records[-1].attempts, 1))


def _turn(number: int, attempt: Attempt) -> Turn:
    verdict, completion = attempt.verdict, attempt.completion
    text = attempt.candidate.text if attempt.candidate else ""
    rows, loose = source(text, verdict.findings if verdict else ())
    asked = attempt.prompt.messages[-1].content if attempt.prompt.messages else ""
    usage = completion.usage
    cost = "" if usage.cost is None else f", ${usage.cost:.4f}"
    return Turn(
        number,
        bool(verdict and verdict.passed),
        cut(asked),
        "" if attempt.candidate else cut(completion.content),
        cut(completion.reasoning),
        completion.reasoning_kind,
        f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out{cost}",
        ", ".join(f"{s.name} {s.cases:,}" if s.cases else s.name for s in verdict.stages) if verdict else "",
        loose,
        rows,
    )


def cut(text: str) -> str:
    """A model's text as a page shows it: plain, and not without end."""
    rest = len(text) - LONGEST
    return plain(text[:LONGEST]) + (f"\n... {rest:,} more characters" if rest > 0 else "")


@dataclass(frozen=True, slots=True)
class Spec:
    """The routine as the page shows it beside the kernel; empty where the catalogue does not know it."""

    summary: str = ""
    reference: str = ""
    notes: tuple[str, ...] = ()
    parameters: str = ""
    inputs: tuple[str, ...] = ()
    tolerance: str = ""
    limit: float | None = None


def spec(routine: str, dtype: str) -> Spec:
    """Of the catalogue."""
    try:
        entry = find(routine)
        signature = entry.signature(dtype)
    except (UnknownRoutine, KeyError):
        return Spec()
    tolerance = entry.tolerance[dtype]
    return Spec(
        entry.summary,
        entry.reference,
        entry.notes,
        ", ".join(entry.parameters(dtype)),
        signature.inputs,
        derivation(tolerance, dtype),
        tolerance.ulp if tolerance.rule == "ulp" else None,
    )


def curve(entry: Entry, limit: float | None) -> Markup:
    """The error over the input line; nothing where the verdict has none."""
    accuracy = entry.verdict.accuracy
    if accuracy is None or not any(error > 0 for _, error in accuracy.curve):
        return Markup("")
    title = f"{entry.candidate.routine} {entry.candidate.dtype}: largest error in ULP over the input line"
    return Markup(plot.error_plot(accuracy.curve, entry.candidate.dtype, limit, title))


def histogram(entry: Entry) -> Markup:
    """How many stretches of the input line err at most so much."""
    accuracy = entry.verdict.accuracy
    if accuracy is None or not accuracy.curve:
        return Markup("")
    errors = [error for _, error in accuracy.curve if math.isfinite(error)]
    top = max(errors, default=0.0)
    if top <= 0:
        return Markup("")
    bins = 12
    count = Counter(min(bins - 1, int(error / top * bins)) for error in errors)
    width, height, most = 720, 120, max(count.values())
    parts = [
        f'<svg class="plot" viewBox="0 0 {width} {height + 34}" role="img" '
        'aria-label="histogram of errors over the input line"><title>Stretches of the input line by their '
        "largest error in ULP</title>"
    ]
    step = (width - 60) / bins
    for at in range(bins):
        tall = count[at] / most * (height - 18)
        x, y = 46 + at * step, height - tall
        parts.append(
            f'<rect class="bin" x="{x:.1f}" y="{y:.1f}" width="{step - 3:.1f}" height="{tall:.1f}"/>'
        )
        if count[at]:
            middle = x + step / 2 - 1.5
            parts.append(
                f'<text class="tick" x="{middle:.1f}" y="{y - 4:.1f}" text-anchor="middle">{count[at]}</text>'
            )
    for at in range(0, bins + 1, 3):
        x = 46 + at * step
        label = escape(f"{top * at / bins:.2g}")
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height + 16}" text-anchor="middle">{label}</text>')
    parts.append(
        f'<text class="tick" x="{width / 2}" y="{height + 32}" text-anchor="middle">ULP</text></svg>'
    )
    return Markup("".join(parts))
