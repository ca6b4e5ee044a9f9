"""What every command shares: the workspace's paths, --json, where text goes, the exit codes of errors.

Data goes to stdout, progress and errors to stderr. Nothing from a model, endpoint or file is printed raw.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

YES, NO, WRONG_USE, BUDGET, ENDPOINT, TOOLCHAIN, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
PIPED_WIDTH = 160

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a project's jobs, corpus, verified kernels and report lie."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / ".llmptx" / "jobs.sqlite"

    @property
    def records(self) -> Path:
        return self.root / "corpus" / "records.jsonl"

    @property
    def report(self) -> Path:
        return self.root / "report.html"


pass_workspace = click.make_pass_decorator(Workspace)


def json_option(function: F) -> F:
    """Every command takes --json."""
    text = "Print data as JSON on stdout; progress stays on stderr."
    return click.option("--json", "as_json", is_flag=True, help=text)(function)


def print_json(value: Any, line: bool = False) -> None:
    """One JSON document on stdout, on one line where several follow each other. Dataclasses are objects."""
    click.echo(json.dumps(value, default=_plain_value, indent=None if line else 2))


def _plain_value(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def stdout() -> Console:
    """Where a command's answer is printed for people."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def stderr() -> Console:
    """Where progress is printed."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PIPED_WIDTH)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines; `right` names the columns of numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def cell(text: str, style: str = "") -> Text:
    """Text from anywhere as a table's cell: no markup in it is obeyed, no control character is left."""
    from rich.text import Text

    from llmptx.review.plain import plain_line

    return Text(plain_line(text), style=style)


class Failure(click.ClickException):
    """An error as one clear text on stderr, and its exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:
        from llmptx.review.plain import plain

        click.echo(f"llmptx: {plain(self.message)}", err=True)


def need_device(device: str) -> None:
    """Failure with exit code 5 where there is no GPU, before a model is paid or a kernel blamed."""
    if device != "cuda":
        return
    from llmptx.run.cuda import available

    if not available():
        raise Failure(
            "--device cuda needs an NVIDIA GPU and CuPy (pip install 'llmptx[gpu]'); see llmptx doctor",
            TOOLCHAIN,
        )


class Commands(click.Group):
    """The top group: turns what the parts raise into one text and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("llmptx: interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            ctx.exit(NO)
        except Exception as error:
            code = exit_code(error)
            if code is None:
                raise
            raise Failure(sentence(error), code) from error


def sentence(error: BaseException) -> str:
    """The error's own text; KeyError's without the quotes that str() puts around it."""
    if type(error) is KeyError and error.args:
        return str(error.args[0])
    return str(error)


def exit_code(error: Exception) -> int | None:
    """What an expected error ends the program with; None for a fault of our own: that shows a traceback."""
    from llmptx.export.files import ExportError
    from llmptx.jobs.errors import BudgetSpentError, JobError, StoreError
    from llmptx.llm.errors import EndpointError
    from llmptx.llm.profiles import ProfileError, UnknownModelError
    from llmptx.llm.prompt import TemplateError
    from llmptx.ptx.errors import PtxError
    from llmptx.review import PolicyError, ReviewError
    from llmptx.routines import UnknownRoutine
    from llmptx.run.arguments import ArgumentError
    from llmptx.toolchain.ptxas import ToolchainMissing
    from llmptx.verify.certificate import CertificateError
    from llmptx.verify.judge import LevelError

    wrong = (
        UnknownRoutine,
        PtxError,
        JobError,
        StoreError,
        PolicyError,
        ReviewError,
        ExportError,
        TemplateError,
        ProfileError,
        UnknownModelError,
        LevelError,
        CertificateError,
        ArgumentError,
        OSError,
    )
    for kinds, code in (
        ((BudgetSpentError,), BUDGET),
        ((EndpointError,), ENDPOINT),
        ((ToolchainMissing,), TOOLCHAIN),
        (wrong, WRONG_USE),
    ):
        if isinstance(error, kinds):
            return code
    return None
