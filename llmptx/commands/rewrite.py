"""`llmptx rewrite`: routines in, a durable job, its progress, its summary and its report out."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
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
    F,
    Workspace,
    cell,
    json_option,
    need_device,
    pass_workspace,
    print_json,
    stdout,
    table,
)

if TYPE_CHECKING:
    from llmptx.jobs import JobRow, Store, Summary
    from llmptx.llm.exemplars import Exemplar


def replay_option(function: F) -> F:
    """Commands that run jobs take --replay."""
    return click.option(
        "--replay",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Take every reply from here and send nothing: a jobs.sqlite, or a file of `jobs replies`.",
    )(function)


@click.command()
@click.argument("routines", metavar="ROUTINE...", nargs=-1, required=True)
@click.option("--dtype", "dtypes", multiple=True, help="Only this dtype; may be given again. Default: all.")
@click.option("--model", default="offline", show_default=True, help="offline, or a model's name.")
@click.option("--base-url", default="", help="An OpenAI-compatible endpoint; default: the model's own.")
@click.option("--budget", type=click.FloatRange(min=0), help="US dollars it may spend. Default: no limit.")
@click.option(
    "--price",
    nargs=2,
    type=click.FloatRange(min=0),
    default=None,
    metavar="IN OUT",
    help="US dollars a million tokens, where the model's price is not known.",
)
@click.option(
    "--samples", type=click.IntRange(1, 1000), default=1, show_default=True, help="Conversations a kernel."
)
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=4, show_default=True, help="Drafts in each, at most."
)
@click.option(
    "--strategy",
    type=click.Choice(["repair", "best-of-n", "best-first", "auto"]),
    default="repair",
    show_default=True,
    help="repair: --samples conversations a kernel, each to its end. The others: samples x rounds drafts at "
    "most, until one passes.",
)
@click.option(
    "--optimize",
    type=click.IntRange(0, 100),
    default=0,
    show_default=True,
    help="Drafts more for each verified kernel, to find one with fewer registers, instructions or bytes.",
)
@click.option(
    "--mode",
    type=click.Choice(["online", "flex", "batch"]),
    default="online",
    show_default=True,
    help="flex: the slower tier of endpoints that have one. batch: requests go to files; see `jobs import`.",
)
@replay_option
@click.option("--primer", is_flag=True, help="Teach PTX in the prompt: for small models.")
@click.option(
    "--shots",
    type=click.IntRange(0, 8),
    default=0,
    show_default=True,
    help="Approved kernels of this workspace shown with each task, the nearest ones.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order calls are spent in.")
@click.option(
    "--tokens", type=click.IntRange(256, 1_000_000), default=16_384, show_default=True, help="Of a reply."
)
@click.option(
    "--level",
    type=click.Choice(["quick", "full", "exhaustive"]),
    default="full",
    show_default=True,
    help="How hard the judge tries.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="cuda: kernels must agree on the GPU too.",
)
@click.option(
    "--jobs", "workers", type=click.IntRange(0, 1024), default=0, help="Items at once. Default: one a CPU."
)
@json_option
@pass_workspace
@click.pass_context
def rewrite(
    context: click.Context,
    workspace: Workspace,
    /,
    routines: tuple[str, ...],
    dtypes: tuple[str, ...],
    replay: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Have a model rewrite routines as PTX, and judge what it writes.

    ROUTINE is a name, numpy.exp or exp, or a shell pattern, 'numpy.*'. The work is a job: stop it at any
    moment, by Ctrl-C or worse, and `llmptx jobs resume` goes on without asking for a reply twice.
    """
    from llmptx.jobs import Store, make

    items = _items(routines, dtypes)
    if settings["shots"]:
        settings["exemplars"] = _exemplars(workspace, items, settings["shots"])
    spec = make({"items": items, **{k: v for k, v in settings.items() if v is not None}})
    need_device(spec.device)
    with Store(workspace.store) as store:
        job = store.submit(spec)
        context.exit(work(workspace, store, job, as_json, replay=replay))


def _exemplars(workspace: Workspace, items: Sequence[dict[str, str]], shots: int) -> list[Exemplar]:
    """Of the approved kernels, those that are nearest to one of the items."""
    from llmptx.llm.exemplars import exemplar, nearest
    from llmptx.routines import UnknownRoutine, find

    pool = []
    for path in sorted((workspace.root / "verified").glob("*/*/*.ptx")):
        name = f"{path.parts[-3]}.{path.parts[-2]}"
        try:
            pool.append(exemplar(find(name), path.stem, path.read_text(encoding="ascii")))
        except (UnknownRoutine, KeyError):
            continue  # the catalogue of another version had it
    wanted = [nearest(pool, find(item["routine"]), item["dtype"], shots) for item in items]
    return list(dict.fromkeys(each for some in wanted for each in some))


def _items(patterns: Sequence[str], dtypes: Sequence[str]) -> list[dict[str, str]]:
    """Every routine with every dtype asked for that it has. UnknownRoutine, BadParameter where none has."""
    from llmptx.routines import select

    chosen = select(patterns)
    items = [
        {"routine": routine.name, "dtype": signature.dtype}
        for routine in chosen
        for signature in routine.signatures
        if not dtypes or signature.dtype in dtypes
    ]
    if not items:
        known = sorted({s.dtype for routine in chosen for s in routine.signatures})
        raise click.BadParameter(
            f"none of these routines has {' or '.join(dtypes)}; they have {', '.join(known)}",
            param_hint="--dtype",
        )
    return items


def work(
    workspace: Workspace,
    store: Store,
    job: int,
    as_json: bool,
    retry_unknown: bool = False,
    replay: Path | None = None,
) -> int:
    """Run what is left of a job, print its summary, write its report; the exit code it earned."""
    from llmptx.commands.progress import Progress
    from llmptx.corpus import Corpus
    from llmptx.jobs import Replies, run

    row = store.job(job)
    started = time.monotonic()
    waiting = row.states.get("pending", 0) + row.states.get("failed", 0)
    corpus = Corpus(workspace.records)
    try:
        replies = Replies(replay) if replay else None
        with Progress(waiting) as progress:
            summary = run(store, job, corpus, progress, retry_unknown=retry_unknown, replies=replies)
    except KeyboardInterrupt:
        click.echo(
            f"llmptx: interrupted; what was done is kept. Go on with: llmptx jobs resume {job}", err=True
        )
        return INTERRUPTED
    except Exception:
        click.echo(f"llmptx: job {job} is not done; go on with: llmptx jobs resume {job}", err=True)
        raise
    elapsed = time.monotonic() - started
    page = write_report(workspace, row, summary, corpus, elapsed)
    if as_json:
        print_json({"job": job, "summary": summary, "report": page, "elapsed": elapsed})
    else:
        print_summary(summary, elapsed)
        click.echo(f"report: {page}")
        if summary.count("passed") + summary.count("repaired"):
            click.echo("next:   llmptx review list")
    return exit_code(summary)


def exit_code(summary: Summary) -> int:
    """3: the budget ended it; 4: items could not be carried out; 1: an item has no kernel; else 0."""
    if summary.budget_spent:
        return BUDGET
    if summary.count("failed"):
        return ENDPOINT
    good = summary.count("passed") + summary.count("repaired")
    return YES if good == len(summary.items) and not summary.pending else NO


def write_report(workspace: Workspace, row: JobRow, summary: Summary, corpus: Any, elapsed: float) -> Path:
    """report.html in the workspace."""
    from llmptx.report import Heading, write

    wanted = {item.record_hash for item in summary.items}
    records = {record.hash: record for record in corpus if record.hash in wanted}
    heading = Heading(
        title=f"llmptx rewrite: job {row.id}",
        model=row.spec.model,
        level=row.spec.level,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{os.cpu_count()} CPUs, {platform.machine()}",
        elapsed=elapsed,
    )
    return write(workspace.report, heading, summary, records)


def print_summary(summary: Summary, elapsed: float | None = None) -> None:
    """Routines with the end each dtype came to, why some were rejected, and what it cost."""
    from llmptx.commands.progress import COLOURS
    from llmptx.report import duration, money

    console = stdout()
    listing = table(
        "routine", "kernels", "drafts", "calls", "cost", "time", right=("drafts", "calls", "cost", "time")
    )
    names = list(dict.fromkeys(item.routine for item in summary.items))
    for name in names:
        items = [item for item in summary.items if item.routine == name]
        kernels = cell("")
        for item in items:
            sample = f"#{item.sample}" if item.sample else ""
            kernels.append(f"{item.dtype}{sample} ", style=COLOURS[item.status])
        costs = [item.cost for item in items if item.cost is not None]
        listing.add_row(
            cell(name),
            kernels,
            str(sum(item.rounds for item in items)),
            str(sum(item.calls for item in items)),
            money(sum(costs) if len(costs) == len(items) else None),
            duration(sum(item.seconds for item in items)),
        )
    console.print(listing)
    for item in summary.items:
        if item.status in ("rejected", "failed"):
            text = cell(f"{item.status} {item.routine} {item.dtype}:", COLOURS[item.status])
            text.append(" ").append_text(cell(item.why))
            console.print(text, soft_wrap=True)
    counts = "  ".join(f"[{colour}]{summary.count(s)} {s}[/]" for s, colour in COLOURS.items())  # type: ignore[arg-type]
    console.print(f"\n{counts}", soft_wrap=True)
    spent = f"{summary.calls} calls, cost {money(summary.cost)}"
    if elapsed is not None:
        spent += f", {duration(elapsed)}"
    if summary.pending:
        spent += f"; {summary.pending} items wait"
    if summary.budget_spent:
        spent += "; the budget is spent"
    console.print(spent, soft_wrap=True)
    for path in summary.batches:
        wait = f"requests to be answered: {path}; then: llmptx jobs import JOB RESULTS, and jobs resume JOB"
        console.print(cell(wait), soft_wrap=True)
