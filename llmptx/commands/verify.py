"""`llmptx verify`: one PTX file, judged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmptx.commands.output import NO, json_option, need_device, stderr, stdout

if TYPE_CHECKING:
    from rich.console import Console

    from llmptx.record import Finding, Verdict


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--routine", required=True, help="What it claims to be, numpy.exp or short exp.")
@click.option("--dtype", required=True, help="Which of the routine's dtypes, float32 say.")
@click.option(
    "--level",
    type=click.Choice(["quick", "full", "exhaustive"]),
    default="full",
    show_default=True,
    help="How much is tried. exhaustive: every input there is, where they are finite.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="cuda: the GPU too, compared bit by bit.",
)
@click.option(
    "--shrink/--no-shrink", default=True, show_default=True, help="Look for a small counterexample."
)
@json_option
@click.pass_context
def verify(
    context: click.Context,
    file: Path,
    routine: str,
    dtype: str,
    level: str,
    device: str,
    shrink: bool,
    as_json: bool,
) -> None:
    """Judge a PTX file as a routine: exit 0 where it passes, 1 where it does not.

    FILE holds PTX with its launch plan in `//@` lines at the top; - is standard input.
    """
    from llmptx.routines import find
    from llmptx.verify.judge import verify as judge

    spec = find(routine)
    try:
        spec.signature(dtype)
    except KeyError as error:
        raise click.BadParameter(str(error.args[0]), param_hint="--dtype") from error
    need_device(device)
    raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    text = raw.decode("utf-8", "surrogateescape")
    progress = stderr()
    with progress.status(f"judging {spec.name} {dtype}") as status:

        def tick(stage: str, done: int, of: int) -> None:
            status.update(f"{stage} {done}{f'/{of}' if of else ''}")

        verdict = judge(
            text,
            spec.name,
            dtype,
            level,  # type: ignore[arg-type]
            device,  # type: ignore[arg-type]
            on_progress=tick if progress.is_terminal else None,
            file=str(file),
            shrink=shrink,
        )
    if as_json:
        click.echo(verdict.to_json())
    else:
        _print(stdout(), verdict, text, str(file))
    context.exit(0 if verdict.passed else NO)


def _print(console: Console, verdict: Verdict, text: str, file: str) -> None:
    from rich.text import Text

    lines = text.split("\n")
    commands = list(dict.fromkeys(f.reproduce for f in verdict.findings if f.reproduce))
    for finding in verdict.findings:
        console.print(_finding(finding, lines, file), soft_wrap=True)
    for command in commands:
        console.print(Text(f"reproduce: {command}", style="dim"), soft_wrap=True)
    if verdict.findings:
        console.print()
    head = Text("PASS" if verdict.passed else "FAIL", style="bold green" if verdict.passed else "bold red")
    head.append(f" {verdict.routine} {verdict.dtype}, level {verdict.level}", style="not bold default")
    if verdict.accuracy:
        accuracy = verdict.accuracy
        head.append(
            f"; max {accuracy.max_ulp:.4g} ULP over {accuracy.checked:,} results", style="not bold default"
        )
    console.print(head, soft_wrap=True)
    for stage in verdict.stages:
        mark = Text("  ok  " if stage.passed else "  no  ", style="green" if stage.passed else "red")
        cases = f"{stage.cases:>6,} cases" if stage.cases else " " * 12
        mark.append(f"{stage.name:<11} {cases} {stage.seconds:8.2f} s  {stage.note}", style="default")
        console.print(mark, soft_wrap=True)
    if verdict.resources:
        used = [
            f"{r.target} {r.registers} registers"
            + (f", spills {r.spill_stores + r.spill_loads} B" if r.spill_stores or r.spill_loads else "")
            + (f", {r.shared} B shared" if r.shared else "")
            for r in verdict.resources
        ]
        console.print(Text(f"  {'; '.join(used)}", style="dim"), soft_wrap=True)


def _finding(finding: Finding, lines: list[str], file: str) -> object:
    """file:line:col, what is wrong, the source line with a caret, and who did it."""
    from rich.text import Text

    from llmptx.review.plain import plain, plain_line

    place = file
    if finding.line:
        place += f":{finding.line}:{finding.column}" if finding.column else f":{finding.line}"
    text = Text(f"{plain_line(place)}: ", style="bold")
    text.append(f"{finding.kind}: ", style="bold red")
    text.append(plain(finding.message), style="not bold default")
    if 0 < finding.line <= len(lines):
        source = plain(lines[finding.line - 1].rstrip("\r").replace("\t", " "))
        text.append(f"\n    {source}", style="not bold default")
        if finding.column:
            text.append(f"\n    {' ' * (finding.column - 1)}^", style="bold red")
    who = _who(finding)
    if who:
        text.append(f"\n    {plain(who)}", style="not bold dim")
    if finding.counterexample:
        text.append(f"\n    smallest: {plain(finding.counterexample)}", style="not bold default")
    return text


def _who(finding: Finding) -> str:
    parts = []
    if finding.block is not None:
        parts.append(f"block {finding.block}")
    if finding.thread is not None:
        parts.append(f"thread {finding.thread}")
    if finding.lane is not None:
        parts.append(f"lane {finding.lane}")
    if finding.buffer:
        at = f" at byte {finding.address}" if finding.address is not None else ""
        parts.append(f"buffer {finding.buffer}{at}")
    if finding.element is not None:
        parts.append(f"element {finding.element}")
    if finding.case:
        parts.append(f"case {finding.case}")
    return ", ".join(parts)
