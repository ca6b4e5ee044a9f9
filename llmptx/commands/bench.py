"""`llmptx bench`: how well models, and prompts, write the kernels of routines held out for it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmptx.commands.output import (
    BUDGET,
    ENDPOINT,
    INTERRUPTED,
    NO,
    YES,
    Workspace,
    cell,
    json_option,
    pass_workspace,
    print_json,
    stdout,
    table,
)

if TYPE_CHECKING:
    from llmptx.bench import Difference, Score, Trial
    from llmptx.jobs import JobSpec, Store

SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class Found:
    """What the jobs of a benchmark came to. failed: trials that could not be carried out."""

    trials: list[Trial]
    failed: int
    budget_spent: bool


@click.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--base-url", default="", help="An OpenAI-compatible endpoint; default: each model's own.")
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of prompt templates (system.md, task.md, repair.md; shipped ones for what it lacks). "
    "Given again, each is compared with the first; given once, with the shipped prompts.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "train", "all"]),
    default="test",
    show_default=True,
    help="test: the families of routines held out of training exports.",
)
@click.option("--routine", "routines", multiple=True, help="Only these routines or patterns of the split.")
@click.option("--dtype", "dtypes", multiple=True, help="Only these dtypes.")
@click.option("--samples", type=click.IntRange(1, 1000), default=1, show_default=True, help="Trials a task.")
@click.option("--rounds", type=click.IntRange(1, 100), default=4, show_default=True, help="Drafts in each.")
@click.option("-k", "ks", multiple=True, type=click.IntRange(1, 1000), help="Default: 1, --samples.")
@click.option("--budget", type=click.FloatRange(min=0), help="US dollars it may spend. Default: no limit.")
@click.option(
    "--price", nargs=2, type=click.FloatRange(min=0), default=None, metavar="IN OUT", help="As in rewrite."
)
@click.option(
    "--level", type=click.Choice(["quick", "full"]), default="full", show_default=True, help="The judge's."
)
@click.option("--jobs", "workers", type=click.IntRange(0, 1024), default=0, help="Items at once.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="The page. Default: bench.html here."
)
@json_option
@pass_workspace
@click.pass_context
def bench(
    context: click.Context,
    workspace: Workspace,
    /,
    models: tuple[str, ...],
    prompts: tuple[Path, ...],
    split: str,
    html: Path | None,
    ks: tuple[int, ...],
    as_json: bool,
    **settings: Any,
) -> None:
    """Score models: pass@1, pass@k, what repairs add, what a kernel costs; by kind, family and dtype.

    Replies are kept like any job's, so that a benchmark that was interrupted is gone on with by the same
    command, and pays for no reply twice. Its records go to bench/records.jsonl, not to the corpus.
    """
    from llmptx.bench import differences, scores
    from llmptx.jobs import Store

    specs = _specs(models or ("offline",), prompts, split, settings)
    with Store(workspace.store) as store:
        try:
            found = _work(workspace, store, specs)
        except KeyboardInterrupt:
            click.echo("llmptx: interrupted; the same command goes on", err=True)
            context.exit(INTERRUPTED)
    wanted = sorted(set(ks) or {1, settings["samples"]})
    rows, compared = scores(found.trials, wanted), differences(found.trials)
    page = _page(workspace, html, specs, split, found, rows, compared)
    if as_json:
        print_json({"scores": rows, "differences": compared, "failed": found.failed, "page": page})
    else:
        _print(rows, compared, len(specs) > 1)
        click.echo(f"page: {page}")
    if found.budget_spent:
        context.exit(BUDGET)
    context.exit(ENDPOINT if found.failed else YES if rows else NO)


def _specs(
    models: Sequence[str], prompts: Sequence[Path], split: str, settings: dict[str, Any]
) -> dict[str, JobSpec]:
    """A job for each variant of the prompts, by the variant's name; the budget is shared among them."""
    from llmptx.jobs import make
    from llmptx.llm.prompt import read_templates

    variants: dict[str, dict[str, str]] = {} if len(prompts) > 1 else {SHIPPED: {}}
    for folder in prompts:
        variants[str(folder)] = read_templates(folder)
    items = _items(split, settings.pop("routines"), settings.pop("dtypes"))
    base_url, price, budget = settings.pop("base_url"), settings.pop("price"), settings.pop("budget")
    values: dict[str, Any] = {**settings, "items": items}
    values["models"] = [
        {"name": name, "base_url": base_url, "price": list(price) if price else None}
        for name in dict.fromkeys(models)
    ]
    if budget is not None:
        values["budget"] = budget / len(variants)
    return {name: make({**values, "prompts": texts}) for name, texts in variants.items()}


def _items(split: str, patterns: Sequence[str], dtypes: Sequence[str]) -> list[dict[str, str]]:
    from llmptx.routines import select
    from llmptx.routines import split as part_of

    items = [
        {"routine": routine.name, "dtype": signature.dtype}
        for routine in select(patterns)
        for signature in routine.signatures
        if split in ("all", part_of(routine.name)) and (not dtypes or signature.dtype in dtypes)
    ]
    if not items:
        raise click.UsageError(
            f"no such routine and dtype in the split {split!r}; --split all takes every one"
        )
    return items


def _work(workspace: Workspace, store: Store, specs: dict[str, JobSpec]) -> Found:
    from llmptx.bench import trials
    from llmptx.commands.progress import Progress
    from llmptx.corpus import Corpus
    from llmptx.jobs import run

    corpus = Corpus(workspace.root / "bench" / "records.jsonl")
    found = Found([], 0, False)
    for name, spec in specs.items():
        job = store.submit(spec)
        with Progress(len(store.items(job))) as progress:
            summary = run(store, job, corpus, progress)
        wanted = {item.record_hash for item in summary.items}
        found = Found(
            found.trials + trials((record for record in corpus if record.hash in wanted), name),
            found.failed + summary.count("failed"),
            found.budget_spent or summary.budget_spent,
        )
    return found


def _page(
    workspace: Workspace,
    html: Path | None,
    specs: dict[str, JobSpec],
    split: str,
    found: Found,
    rows: Sequence[Score],
    compared: Sequence[Difference],
) -> Path:
    from llmptx.bench.page import About, render, write
    from llmptx.jobs.spec import writer_of

    spec = next(iter(specs.values()))
    about = About(
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{os.cpu_count()} CPUs, {platform.machine()}",
        split={"test": "held-out", "train": "training", "all": "all"}[split],
        level=spec.level,
        samples=spec.samples,
        rounds=spec.rounds,
        failed=found.failed,
        prompts=tuple((name, writer_of(spec).hash) for name, spec in specs.items()),
    )
    return write(html or workspace.root / "bench.html", render(about, rows, compared))


def _print(rows: Sequence[Score], compared: Sequence[Difference], variants: bool) -> None:
    from llmptx.bench.page import points, share
    from llmptx.report import money

    ks = sorted({k for row in rows for k in row.pass_at})
    heads = [*(f"pass@{k}" for k in ks), "with repairs", "gain", "$ a kernel"]
    listing = table("model", "prompt", "tasks of", "tasks", *heads, right=("tasks", *heads))
    for row in rows:
        shares = [share(row.pass_at[k]) if k in row.pass_at else "" for k in ks]
        group = "all" if row.by == "all" else f"{row.by} {row.group}"
        prompt = row.prompt if variants else ""
        rates = [str(row.tasks), *shares, share(row.passed), points(row.gain), money(row.cost)]
        listing.add_row(cell(row.model), cell(prompt), cell(group), *rates)
    stdout().print(listing)
    for each in compared:
        text = (
            f"{each.model}: {each.second} against {each.first}, {each.tasks} tasks: pass@1 "
            f"{points(each.pass_at_1)} points, with repairs {points(each.passed)} points"
        )
        stdout().print(cell(text), soft_wrap=True)
