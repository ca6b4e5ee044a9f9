"""The benchmark's page: one HTML file, nothing fetched, no script. Knows scores, not how they came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from llmptx.bench.metrics import Difference, Interval, Score
from llmptx.report import money


@dataclass(frozen=True, slots=True)
class About:
    """What the page says of the benchmark as a whole. prompts: each variant's name, and its words' hash."""

    created: str
    machine: str
    split: str
    level: str
    samples: int
    rounds: int
    failed: int
    prompts: tuple[tuple[str, str], ...]


def render(about: About, scores: Sequence[Score], differences: Sequence[Difference]) -> str:
    """The page; names of models and prompts reach it as escaped text only."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["money"] = money
    environment.filters["share"] = share
    environment.filters["points"] = points
    groups = {by: [s for s in scores if s.by == by] for by in dict.fromkeys(s.by for s in scores)}
    ks = sorted({k for score in scores for k in score.pass_at})
    page = environment.get_template("bench.html")
    return page.render(about=about, groups=groups, ks=ks, differences=differences)


def write(path: Path, text: str) -> Path:
    """Write the page, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".new")
    half.write_text(text, encoding="utf-8")
    half.replace(path)
    return path


def share(interval: Interval) -> str:
    """A share and its interval, in per cent."""
    return f"{interval.value:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def points(interval: Interval) -> str:
    """A difference of shares, in percentage points."""
    return f"{100 * interval.value:+.0f} [{100 * interval.low:+.0f}, {100 * interval.high:+.0f}]"
