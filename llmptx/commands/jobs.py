"""`llmptx jobs`: batch jobs from a file, and every job's state."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmptx.commands.output import (
    NO,
    Workspace,
    cell,
    json_option,
    pass_workspace,
    print_json,
    stdout,
    table,
)
from llmptx.commands.rewrite import print_summary, replay_option, work

if TYPE_CHECKING:
    from llmptx.jobs import JobRow
    from llmptx.jobs.asks import Ask


@click.group()
def jobs() -> None:
    """Batch jobs: durable, resumable, and no reply is paid for twice."""


@jobs.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@pass_workspace
def submit(workspace: Workspace, file: Path, as_json: bool) -> None:
    """File a job; `llmptx jobs resume` runs it.

    FILE is TOML with the whole job, or JSONL with an item a line:
    {"routine": "numpy.exp", "dtype": "float32"}.
    """
    from llmptx.jobs import Store, load

    spec = load(file)
    with Store(workspace.store) as store:
        job = store.submit(spec)
        items = len(store.items(job))
    if as_json:
        print_json({"job": job, "items": items})
    else:
        click.echo(f"job {job}: {items} items; run it with: llmptx jobs resume {job}")


@jobs.command("list")
@json_option
@pass_workspace
@click.pass_context
def list_(context: click.Context, workspace: Workspace, as_json: bool) -> None:
    """Every job and where it stands."""
    from llmptx.jobs import Store

    if not workspace.store.exists():
        rows: tuple[JobRow, ...] = ()
    else:
        with Store(workspace.store, readonly=True) as store:
            rows = store.jobs()
    if as_json:
        print_json([_row(row) for row in rows])
    elif rows:
        listing = table(
            "job",
            "created",
            "model",
            "level",
            "done",
            "failed",
            "waiting",
            right=("job", "done", "failed", "waiting"),
        )
        for row in rows:
            counts = [str(row.states.get(state, 0)) for state in ("done", "failed", "pending")]
            if row.cancelled or row.paused:
                counts[2] += " (cancelled)" if row.cancelled else " (paused)"
            listing.add_row(str(row.id), _when(row), cell(row.spec.model), row.spec.level, *counts)
        stdout().print(listing)
    else:
        click.echo("no jobs yet; begin one with: llmptx rewrite ROUTINE")
    context.exit(0 if rows else NO)


@jobs.command()
@click.argument("job", type=int)
@json_option
@pass_workspace
def show(workspace: Workspace, job: int, as_json: bool) -> None:
    """A job's items, and what became of each."""
    from llmptx.jobs import Store, summary

    with Store(workspace.store, readonly=True) as store:
        row = store.job(job)
        items = store.items(job)
        standing = summary(store, job)
    if as_json:
        print_json({**_row(row), "items": [asdict(item) for item in items], "summary": standing})
        return
    click.echo(f"job {job}, {_when(row)}, model {row.spec.model}, level {row.spec.level}")
    print_summary(standing)


@jobs.command()
@click.argument("job", type=int)
@click.option(
    "--retry-unknown",
    is_flag=True,
    help="Send calls again whose replies a crash lost: they may be billed twice.",
)
@replay_option
@json_option
@pass_workspace
@click.pass_context
def resume(
    context: click.Context,
    workspace: Workspace,
    job: int,
    retry_unknown: bool,
    replay: Path | None,
    as_json: bool,
) -> None:
    """Go on with a job: what is done stays, what failed is tried again."""
    from llmptx.jobs import Store

    with Store(workspace.store) as store:
        store.reopen(job)
        context.exit(work(workspace, store, job, as_json, retry_unknown, replay))


@jobs.command()
@click.argument("job", type=int)
@json_option
@pass_workspace
def cancel(workspace: Workspace, job: int, as_json: bool) -> None:
    """Begin nothing more of a job, even while it runs; what is done is kept."""
    _end(workspace, job, "cancel", as_json)


@jobs.command()
@click.argument("job", type=int)
@json_option
@pass_workspace
def pause(workspace: Workspace, job: int, as_json: bool) -> None:
    """Leave a job alone until `llmptx jobs resume`, even while it runs: what is under way is finished."""
    _end(workspace, job, "pause", as_json)


@jobs.command()
@click.argument("job", type=int)
@click.option("--rejected", is_flag=True, help="Draw anew, too, where every draft was rejected.")
@json_option
@pass_workspace
@click.pass_context
def retry(context: click.Context, workspace: Workspace, job: int, rejected: bool, as_json: bool) -> None:
    """Try what failed again, and go on with the job."""
    from llmptx.jobs import Store

    with Store(workspace.store) as store:
        if rejected:
            store.draw_again(job)
        store.reopen(job)
        context.exit(work(workspace, store, job, as_json))


@jobs.command("work")
@json_option
@pass_workspace
@click.pass_context
def work_(context: click.Context, workspace: Workspace, as_json: bool) -> None:
    """Work off every job that waits, the highest priority first, then the oldest."""
    from llmptx.jobs import Store

    with Store(workspace.store) as store:
        waiting = [
            row for row in store.jobs() if row.states.get("pending") and not row.cancelled and not row.paused
        ]
        code = 0
        for row in sorted(waiting, key=lambda row: (-row.spec.priority, row.id)):
            code = max(code, work(workspace, store, row.id, as_json))
            if code > NO:
                break
    if not waiting:
        click.echo("no job waits", err=True)
    context.exit(code)


def _end(workspace: Workspace, job: int, ask: Ask, as_json: bool) -> None:
    """Pause or cancel a job: here where nobody runs it, else by asking whoever does."""
    from llmptx.jobs import Store, asks
    from llmptx.jobs.errors import BusyError

    done = {"pause": "paused", "cancel": "cancelled"}[ask]
    try:
        with Store(workspace.store) as store:
            (store.pause if ask == "pause" else store.cancel)(job)
    except BusyError:
        with Store(workspace.store, readonly=True) as store:
            store.job(job)
        asks.leave(workspace.store, job, ask)
        done = f"to be {done} by the process that runs it"
    if as_json:
        print_json({"job": job, done.split()[-1] if done in ("paused", "cancelled") else "asked": True})
    else:
        click.echo(f"job {job} is {done}; llmptx jobs resume {job} takes it up again")


@jobs.command("import")
@click.argument("job", type=int)
@click.argument("results", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--give-up-rest", is_flag=True, help="Requests without an answer here are asked again by `jobs resume`."
)
@json_option
@pass_workspace
@click.pass_context
def import_(
    context: click.Context,
    workspace: Workspace,
    job: int,
    results: tuple[Path, ...],
    give_up_rest: bool,
    as_json: bool,
) -> None:
    """File the answers to a batch job's requests; exit 1 while some are missing.

    RESULTS are JSON Lines as OpenAI's batch service and `vllm run-batch` write them. Then `llmptx jobs
    resume` judges them, and writes the next requests where drafts must be repaired.
    """
    from llmptx.jobs import Imported, Ledger, Store, read_answers
    from llmptx.jobs.spec import client_of

    total = Imported()
    with Store(workspace.store) as store:
        spec, ledger = store.job(job).spec, Ledger(store)
        clients = {model.name: client_of(spec, model) for model in spec.all_models}
        for at, path in enumerate(results, start=1):
            last = give_up_rest and at == len(results)
            found = read_answers(path, ledger, job, clients, give_up=last)
            total.answered += found.answered
            total.failed += found.failed
            total.strange += found.strange
            total.waiting = found.waiting
        if not results:
            total.waiting = len(ledger.awaited(job))
    if as_json:
        print_json(total)
    else:
        click.echo(
            f"{total.answered} answered, {total.failed} failed, {total.strange} of other calls; "
            f"{total.waiting} still wait"
        )
    context.exit(NO if total.waiting else 0)


@jobs.command()
@click.argument("job", type=int)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="JSON Lines.")
@json_option
@pass_workspace
def replies(workspace: Workspace, job: int, out: Path, as_json: bool) -> None:
    """Write a job's replies to a file, from which `--replay` has the run again without a model."""
    from llmptx.jobs import Store
    from llmptx.jobs.replies import export

    with Store(workspace.store, readonly=True) as store:
        written = export(store, job, out)
    if as_json:
        print_json({"job": job, "replies": written, "out": out})
    else:
        click.echo(f"{written} replies in {out}")


def _row(row: JobRow) -> dict[str, Any]:
    return {
        "job": row.id,
        "created": datetime.fromtimestamp(row.created, UTC).isoformat(timespec="seconds"),
        "cancelled": row.cancelled,
        "paused": row.paused,
        "states": row.states,
        "spec": row.spec.model_dump(mode="json", by_alias=True),
    }


def _when(row: JobRow) -> str:
    return datetime.fromtimestamp(row.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
