"""`llmptx run`: any kernel, launched on .npy files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmptx.commands.findings import finding_text
from llmptx.commands.output import (
    NO,
    WRONG_USE,
    YES,
    Failure,
    cell,
    json_option,
    need_device,
    print_json,
    stdout,
    table,
)
from llmptx.commands.trace import print_trace, step_rows

if TYPE_CHECKING:
    from llmptx.engine.profile import Profile
    from llmptx.engine.trace import Trace
    from llmptx.run.arguments import Request
    from llmptx.run.job import Array, Job, Outcome


def _counts(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """1 to 3 whole numbers with commas between."""
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not one to three whole numbers with commas between") from None


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--entry", help="The kernel. Needed where the file has several and no launch plan.")
@click.option("--grid", callback=_counts, metavar="X[,Y[,Z]]", help="Blocks. Default: the launch plan's.")
@click.option(
    "--block", callback=_counts, metavar="X[,Y[,Z]]", help="Threads of a block. Default: the launch plan's."
)
@click.option(
    "--arg",
    "arguments",
    multiple=True,
    help="An argument, in order: u32:1000, f32:2.0, x.npy, or an output as out.npy:f32[1000]. "
    "NAME= before it binds it to a parameter or buffer by name.",
)
@click.option("--extent", "extents", multiple=True, help="n=1000: an extent the launch plan names.")
@click.option(
    "--shared", type=click.IntRange(min=0), help="Bytes of dynamic shared memory. Default: the plan's."
)
@click.option("--check", is_flag=True, help="Under all sanitizers (cpu).")
@click.option(
    "--profile",
    "profiling",
    is_flag=True,
    help="Count, line by line: instructions, lanes at work, bytes, sectors a request, bank conflicts "
    "(cpu, under all sanitizers, in this process).",
)
@click.option(
    "--trace",
    "tracing",
    metavar="LANE",
    help="Show step by step what one thread does: its number in the grid, or block:thread as 2,0,0:17 "
    "(cpu, under all sanitizers, one thread at a time, in this process). With --json a line for every step.",
)
@click.option(
    "--trace-limit",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Steps that are shown.",
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where it runs."
)
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for outputs, and for inputs the kernel changed. Default: outputs where --arg names them, "
    "changed inputs nowhere.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=600, show_default=True, help="Seconds it may run."
)
@json_option
@click.pass_context
def run(
    context: click.Context,
    file: Path,
    entry: str | None,
    grid: tuple[int, ...] | None,
    block: tuple[int, ...] | None,
    arguments: tuple[str, ...],
    extents: tuple[str, ...],
    shared: int | None,
    check: bool,
    profiling: bool,
    tracing: str | None,
    trace_limit: int,
    device: str,
    save: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Launch a kernel on .npy files: exit 0 where it ran, 1 where something was found wrong.

    Grid, block and arguments come from the options, or from the `//@ launch` lines of FILE with --extent.
    """
    from llmptx.run.arguments import argument, request
    from llmptx.run.module import Module

    if (check or profiling or tracing is not None) and device == "cuda":
        raise click.UsageError("--check, --profile and --trace run on the CPU: leave out --device cuda")
    if profiling and tracing is not None:
        raise click.UsageError("--profile and --trace run the kernel in different ways: give one of them")
    text = file.read_bytes().decode("utf-8", "surrogateescape")
    asked = request(
        Module(text, str(file)),
        [argument(each) for each in arguments],
        entry=entry,
        grid=grid,
        block=block,
        shared=shared,
        extents=dict(_extent(each) for each in extents),
        check=check,
    )
    need_device(device)
    begun = time.perf_counter()
    profiles: tuple[Profile, ...] = ()
    traces: tuple[Trace, ...] = ()
    if profiling or tracing is not None:
        outcome, profiles, traces = _watched(asked.job, text, str(file), tracing, trace_limit)
    else:
        outcome = _outcome(asked, device, timeout)
    seconds = outcome.seconds or time.perf_counter() - begun
    written = _save(asked, outcome, save) if outcome.status == "ok" else {}
    # A run that ended early says nothing by what it left unwritten.
    masks = outcome.unwritten if outcome.status == "ok" else {}
    unwritten = {name: int(mask.sum()) for name, mask in masks.items() if mask.any()}
    if as_json:
        for trace in traces:
            for row in step_rows(trace, text.split("\n"), asked.job):
                print_json(row, line=True)
        print_json(
            {
                "status": outcome.status,
                "findings": outcome.findings,
                "written": written,
                "unwritten": unwritten,
                "seconds": seconds,
                "printed": outcome.printed,
                "notes": outcome.notes,
                "profiles": profiles,
                **({"stopped": any(trace.stopped for trace in traces)} if traces else {}),
            },
            line=bool(traces),
        )
    else:
        for profile in profiles:
            _print_profile(profile, text.split("\n"))
        for trace in traces:
            print_trace(trace, text.split("\n"), asked.job)
        _print(outcome, text, str(file), written, unwritten, seconds)
    context.exit({"ok": YES, "error": WRONG_USE}.get(outcome.status, NO))


def _watched(
    job: Job, text: str, file: str, tracing: str | None, limit: int
) -> tuple[Outcome, tuple[Profile, ...], tuple[Trace, ...]]:
    """Run here, under all sanitizers, with what was counted or told."""
    from llmptx.ptx.errors import PtxError
    from llmptx.run.cpu import profiled, traced
    from llmptx.run.lane import lanes

    try:
        if tracing is None:
            return *profiled(job), ()
        outcome, traces = traced(job, lanes(tracing, job.launches), limit)
        return outcome, (), traces
    except PtxError as error:
        raise error.within(text, file) from None


def _extent(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not name or not value.isdecimal():
        raise click.BadParameter(f"{text!r} is not NAME=COUNT", param_hint="--extent")
    return name, int(value)


def _outcome(asked: Request, device: str, timeout: float) -> Outcome:
    """In a process of its own: an access outside every buffer ends that one, not this."""
    if device == "cuda":
        from llmptx.run.cuda import run_job

        return run_job(asked.job)
    from llmptx.run.worker import Worker

    with Worker() as worker:
        return worker.run(asked.job, timeout)


def _save(asked: Request, outcome: Outcome, folder: Path | None) -> dict[str, str]:
    """Writes outputs, and with a folder the changed inputs; where each went, by the name of its buffer."""
    import numpy as np

    written: dict[str, str] = {}
    for name, file in asked.files.items():
        array: Array | None = outcome.buffers.get(name)
        if array is None or (file.data is not None and (folder is None or _same(array, file.data))):
            continue
        path = folder / file.path.name if folder else file.path
        if str(path) in written.values():
            raise Failure(f"two arrays would be saved as {path}: give them names that differ", WRONG_USE)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        np.save(path, array.reshape(file.shape))
        written[name] = str(path)
    return written


def _same(one: Array, other: Array) -> bool:
    return one.tobytes() == other.tobytes()


def _print(
    outcome: Outcome,
    text: str,
    file: str,
    written: dict[str, str],
    unwritten: dict[str, int],
    seconds: float,
) -> None:
    from rich.text import Text

    from llmptx.review.plain import plain

    console = stdout()
    lines = text.split("\n")
    if outcome.printed:
        console.print(Text(plain(outcome.printed).rstrip("\n")), soft_wrap=True)
    for finding in outcome.findings:
        console.print(finding_text(finding, lines, file), soft_wrap=True)
    for note in outcome.notes:
        console.print(finding_text(note, lines, file, note=True), soft_wrap=True)
    for name, count in unwritten.items():
        console.print(Text(f"note: {count} elements of {name} were never written"), soft_wrap=True)
    for name, path in written.items():
        console.print(Text(f"{name} -> {path}"), soft_wrap=True)
    good = outcome.status == "ok"
    head = Text("ran" if good else outcome.status, style="bold green" if good else "bold red")
    console.print(head.append(f" in {seconds:.3f} s", style="not bold default"), soft_wrap=True)


def _print_profile(profile: Profile, source: list[str]) -> None:
    """A row for every line that ran. A dash: nothing to count, or no warps to count it by."""
    from rich.text import Text

    console = stdout()
    way = "warps as vectors of 32" if profile.width > 1 else f"one thread at a time: {profile.why}"
    console.print(Text(f"{profile.entry}, {way}", style="bold"), soft_wrap=True)
    numbers = ("line", "threads", "warps", "lanes", "global B", "shared B", "sectors/request", "bank ways")
    made = table(*numbers, "source", right=numbers)
    for line in profile.lines:
        lanes = f"{line.threads / (32 * line.warps):.0%}" if line.warps else "-"
        sectors = f"{line.sectors / line.requests:.2f}" if line.requests else "-"
        counts = (line.line, line.threads, line.warps or "-", lanes, line.global_bytes or "-")
        made.add_row(
            *(f"{count:,}" if isinstance(count, int) else count for count in counts),
            f"{line.shared_bytes:,}" if line.shared_bytes else "-",
            sectors,
            str(line.ways) if line.ways else "-",
            cell(source[line.line - 1].strip() if 0 < line.line <= len(source) else ""),
        )
    console.print(made)
