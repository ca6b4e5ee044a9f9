"""`llmptx verify`: one PTX file, judged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmptx.commands.findings import finding_text
from llmptx.commands.output import NO, YES, json_option, need_device, print_json, stderr, stdout

if TYPE_CHECKING:
    from rich.console import Console

    from llmptx.record import Accuracy, Verdict


@click.command()
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--routine", help="What it claims to be, numpy.exp or short exp. Needed without --replay.")
@click.option("--dtype", help="Which of the routine's dtypes, float32 say. Needed without --replay.")
@click.option(
    "--replay",
    "certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Judge again as this certificate says, and say what comes out otherwise. FILE: the .ptx beside it.",
)
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
    file: Path | None,
    routine: str | None,
    dtype: str | None,
    certificate: Path | None,
    level: str,
    device: str,
    shrink: bool,
    as_json: bool,
) -> None:
    """Judge a PTX file as a routine: exit 0 where it passes, 1 where it does not.

    FILE holds PTX with its launch plan in `//@` lines at the top; - is standard input.
    """
    if certificate is not None:
        for name, value in (("--routine", routine), ("--dtype", dtype)):
            if value is not None:
                raise click.UsageError(f"{name} is the certificate's with --replay")
        context.exit(_replay(certificate, file or certificate.with_suffix(".ptx"), as_json))
    if file is None or routine is None or dtype is None:
        missing = (
            "argument 'FILE'" if file is None else f"option '--{'routine' if routine is None else 'dtype'}'"
        )
        raise click.UsageError(f"Missing {missing}.")
    from llmptx.routines import find
    from llmptx.verify.judge import verify as judge

    spec = find(routine)
    try:
        spec.signature(dtype)
    except KeyError as error:
        raise click.BadParameter(str(error.args[0]), param_hint="--dtype") from error
    need_device(device)
    text = _text(file)
    with _progress(f"judging {spec.name} {dtype}") as tick:
        verdict = judge(
            text,
            spec.name,
            dtype,
            level,  # type: ignore[arg-type]
            device,  # type: ignore[arg-type]
            on_progress=tick,
            file=str(file),
            shrink=shrink,
        )
    if as_json:
        click.echo(verdict.to_json())
    else:
        _print(stdout(), verdict, text, str(file))
    context.exit(0 if verdict.passed else NO)


def _text(file: Path) -> str:
    raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    return raw.decode("utf-8", "surrogateescape")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[str, int, int], None] | None]:
    """What to call with a stage and its cases; None where nobody looks."""
    progress = stderr()
    with progress.status(what) as status:

        def tick(stage: str, done: int, of: int) -> None:
            status.update(f"{stage} {done}{f'/{of}' if of else ''}")

        yield tick if progress.is_terminal else None


def _replay(path: Path, file: Path, as_json: bool) -> int:
    """Says whether the certificate's verdict comes out again, and what is different; the exit code."""
    from rich.text import Text

    from llmptx.verify.certificate import CertificateError
    from llmptx.verify.replay import replay

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        given = content.get("certificate", content)
        text = _text(file)
        need_device(str(given.get("device")))
        with _progress(f"judging {file} again") as tick:
            found = replay(given, text, on_progress=tick)
    except (ValueError, AttributeError) as error:
        raise CertificateError(f"{path}: {error}") from error
    if as_json:
        print_json({"same": found.same, "differences": found.differences, "verdict": found.verdict})
    else:
        console = stdout()
        _print(console, found.verdict, text, str(file))
        for difference in found.differences:
            console.print(Text(f"different: {difference}"), soft_wrap=True)
        says = "the same verdict, bit for bit" if found.same else "not the verdict that was certified"
        console.print(Text(says, style="bold green" if found.same else "bold red"))
    return YES if found.same else NO


def _print(console: Console, verdict: Verdict, text: str, file: str) -> None:
    from rich.text import Text

    lines = text.split("\n")
    commands = list(dict.fromkeys(f.reproduce for f in verdict.findings if f.reproduce))
    for finding in verdict.findings:
        console.print(finding_text(finding, lines, file), soft_wrap=True)
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
    if verdict.accuracy and verdict.accuracy.rounded is not None:
        console.print(Text(f"  {_in_full(verdict.accuracy)}"), soft_wrap=True)
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


def _in_full(accuracy: Accuracy) -> str:
    """What only trying every input can tell."""
    said = [f"{accuracy.rounded:.4%} correctly rounded"]
    if accuracy.at:
        said.insert(0, f"worst at {accuracy.at}")
    if accuracy.monotonicity_breaks is not None:
        said.append(f"{accuracy.monotonicity_breaks:,} neighbours in the wrong order")
    return ", ".join(said)
