"""The HTML report of a job: one file, nothing fetched, no script.

Knows summaries and records; everything a model wrote reaches the page as escaped text only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from llmptx import plot
from llmptx.jobs.result import ItemResult, Summary
from llmptx.record import Attempt, Finding, Record, Resources, Tolerance
from llmptx.review.plain import plain
from llmptx.routines import UnknownRoutine, find

_MOST_FINDINGS = 8


@dataclass(frozen=True, slots=True)
class Heading:
    """What the page says of the job as a whole. `elapsed`: wall clock of this run in seconds."""

    title: str
    model: str
    level: str
    created: str
    machine: str
    elapsed: float


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of PTX with the findings about it."""

    number: int
    text: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """An attempt as the page shows it. `loose`: findings about no line."""

    number: int
    passed: bool
    said: str
    stages: str
    usage: str
    loose: tuple[Finding, ...]
    hidden: int
    lines: tuple[SourceLine, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A routine and dtype as the page shows them."""

    item: ItemResult
    kind: str
    first: str
    first_kind: str
    accuracy: str
    share: float | None
    limit: str
    registers: str
    spills: str
    plot: Markup
    spark: Markup
    drafts: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Caught:
    """How many drafts a kind of finding ended."""

    kind: str
    count: int
    share: float


def render(heading: Heading, summary: Summary, records: Mapping[str, Record]) -> str:
    """The page. records: by hash; those that the summary's items name are shown."""
    shown = [records[item.record_hash] for item in summary.items if item.record_hash in records]
    rows = [_row(item, records.get(item.record_hash)) for item in summary.items]
    return _template().render(
        heading=heading,
        summary=summary,
        rows=rows,
        caught=_caught(shown),
        counts=[(status, summary.count(status)) for status in ("passed", "repaired", "rejected", "failed")],
        routines=len({item.routine for item in summary.items}),
        drafts=sum(len(record.attempts) for record in shown),
    )


def write(path: Path, heading: Heading, summary: Summary, records: Mapping[str, Record]) -> Path:
    """Write the page, whole or not at all."""
    half = path.with_name(path.name + ".new")
    half.write_text(render(heading, summary, records), encoding="utf-8")
    half.replace(path)
    return path


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.filters["plain"] = plain
    environment.filters["money"] = money
    return environment.get_template("report.html")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def money(cost: float | None) -> str:
    """US dollars; a dash where the price is not known."""
    if cost is None:
        return "not known"
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:.4f}"


def _caught(records: Iterable[Record]) -> list[Caught]:
    counts: Counter[str] = Counter()
    for record in records:
        for attempt in record.attempts:
            if attempt.verdict is None:
                counts["no PTX"] += 1
            elif attempt.verdict.findings:
                counts[attempt.verdict.findings[0].kind] += 1
    most = max(counts.values(), default=1)
    return [Caught(kind, count, count / most) for kind, count in counts.most_common()]


def _row(item: ItemResult, record: Record | None) -> Row:
    attempts = record.attempts if record else ()
    last = attempts[-1].verdict if attempts else None
    tolerance = _tolerance(item)
    accuracy = last.accuracy if last and last.passed else None
    limit = tolerance.ulp if tolerance and tolerance.rule in ("ulp", "special") else None
    curve = accuracy.curve if accuracy and any(error > 0 for _, error in accuracy.curve) else ()
    dtype = item.dtype
    title = f"{item.routine} {dtype}: largest error in ULP over the input line"
    # A special function's limit grows with its condition number, so no one height is the limit of all x.
    line = limit if tolerance and tolerance.rule == "ulp" else None
    kind, first = _first_finding(attempts)
    return Row(
        item=item,
        kind=_kind(item),
        first=first,
        first_kind=kind,
        accuracy=_accuracy(tolerance, accuracy.max_ulp if accuracy else None),
        share=min(1.0, accuracy.max_ulp / limit) if accuracy and limit else None,
        limit=_limit(tolerance),
        registers=_registers(last.resources if last else ()),
        spills=_spills(last.resources if last else ()),
        plot=Markup(plot.error_plot(curve, dtype, line, title)) if curve else Markup(""),
        spark=Markup(plot.sparkline(curve, dtype, line)) if curve else Markup(""),
        drafts=tuple(_draft(number, attempt) for number, attempt in enumerate(attempts, start=1)),
    )


def _kind(item: ItemResult) -> str:
    try:
        return find(item.routine).kind
    except UnknownRoutine:
        return ""


def _tolerance(item: ItemResult) -> Tolerance | None:
    try:
        return find(item.routine).tolerance.get(item.dtype)
    except UnknownRoutine:
        return None


def _limit(tolerance: Tolerance | None) -> str:
    match tolerance:
        case Tolerance("ulp", ulp):
            return f"limit {ulp:g} ULP"
        case Tolerance("special", ulp):
            return f"limit {ulp:g} ULP × condition"
        case Tolerance("exact" | "sort"):
            return "bit for bit"
        case Tolerance("reduction" | "scan"):
            return "limit γ Σ|x|"
        case Tolerance("matmul"):
            return "limit 4 √k u |A||B|"
    return ""


def _accuracy(tolerance: Tolerance | None, max_ulp: float | None) -> str:
    if max_ulp is None:
        return ""
    if tolerance and tolerance.rule in ("exact", "sort") and max_ulp == 0:
        return "exact"
    return f"{max_ulp:.3g} ULP"


def _first_finding(attempts: Sequence[Attempt]) -> tuple[str, str]:
    """What was wrong with the first draft: (kind, sentence); both empty where nothing was."""
    if not attempts:
        return "", ""
    verdict = attempts[0].verdict
    if verdict is None:
        return "no PTX", "the reply held no PTX"
    if not verdict.findings:
        return "", ""
    return verdict.findings[0].kind, verdict.findings[0].message


def _registers(resources: Sequence[Resources]) -> str:
    """The most registers of any entry, by target in the targets' order."""
    most: dict[str, int] = {}
    for resource in resources:
        most[resource.target] = max(resource.registers, most.get(resource.target, 0))
    return " / ".join(str(count) for count in most.values())


def _spills(resources: Sequence[Resources]) -> str:
    spilled = [f"{r.spill_stores + r.spill_loads} B on {r.target}" for r in resources]
    bad = [s for s, r in zip(spilled, resources, strict=True) if r.spill_stores or r.spill_loads]
    return ", ".join(bad) if bad else ("none" if resources else "")


def _draft(number: int, attempt: Attempt) -> Draft:
    verdict, completion = attempt.verdict, attempt.completion
    findings = verdict.findings if verdict else ()
    shown = findings[:_MOST_FINDINGS]
    text = attempt.candidate.text if attempt.candidate else ""
    source = text.splitlines()
    by_line: dict[int, list[Finding]] = {}
    for finding in shown:
        by_line.setdefault(finding.line if finding.line <= len(source) else 0, []).append(finding)
    usage, seconds = completion.usage, completion.seconds
    return Draft(
        number=number,
        passed=verdict is not None and verdict.passed,
        said="" if attempt.candidate else plain(completion.content[:2000]),
        stages=", ".join(f"{s.name} {s.cases:,}" if s.cases else s.name for s in verdict.stages)
        if verdict
        else "",
        usage=f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out, {duration(seconds)}",
        loose=tuple(by_line.get(0, ())),
        hidden=len(findings) - len(shown),
        lines=tuple(
            SourceLine(n, plain(line), tuple(by_line.get(n, ()))) for n, line in enumerate(source, start=1)
        ),
    )
