"""docs/cli.md, from the commands themselves: `python -m llmptx.reference > docs/cli.md`.

A test compares the file with this, so no option goes undocumented.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

import click

from llmptx.cli import main

_HEAD = """\
# The command line

Written by `python -m llmptx.reference > docs/cli.md`.

Every command takes `--json`: data on stdout as one JSON document, progress on stderr. `llmptx` and
`python -m llmptx` are the same.

| exit code | means |
| --- | --- |
| 0 | yes |
| 1 | no: a verdict failed, an item has no kernel that passed, nothing was found |
| 2 | wrong use or bad input |
| 3 | the budget is spent |
| 4 | the model's endpoint failed, so that items could not be carried out |
| 5 | the toolchain or a GPU is missing |
| 130 | interrupted; a job goes on with `llmptx jobs resume` |

A workspace is the current folder, or `--workspace DIR`, or `$LLMPTX_WORKSPACE`:

| path | holds |
| --- | --- |
| `.llmptx/jobs.sqlite` | jobs, replies, verdicts, costs |
| `corpus/records.jsonl` | every trajectory, append-only |
| `corpus/reviews.jsonl` | every decision, append-only |
| `verified/PACKAGE/ROUTINE/DTYPE.ptx`, `.json` | approved kernels, each with its certificate |
| `corpus/rechecks.jsonl` | verdicts of `llmptx recheck --corpus`, append-only |
| `recalled/PACKAGE/ROUTINE/DTYPE.ptx`, `.json` | kernels that no longer pass, each with the reason |
| `report.html` | the last run's report |
"""


def reference(group: click.Group, name: str = "llmptx") -> str:
    """The page."""
    return "\n".join([_HEAD, *_section(group, click.Context(group, info_name=name))]).rstrip() + "\n"


def _paragraph(text: str) -> str:
    """A paragraph that click is told not to fill stays as it is laid out."""
    mark = "\b\n"
    return textwrap.indent(text.removeprefix(mark), "    ") if text.startswith(mark) else text


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"## {context.command_path}\n"
    yield f"    {' '.join(usage.split())}\n"
    yield "\n\n".join(map(_paragraph, inspect.cleandoc(command.help or "").split("\n\n"))) + "\n"
    rows = list(_options(command, context))
    if rows:
        yield "| option | what it does |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _section(child, click.Context(child, info_name=name, parent=context))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            names, text = (" ".join(part.split()).replace("|", "\\|") for part in record)
            yield f"| `{names}` | {text} |"


if __name__ == "__main__":
    click.echo(reference(main), nl=False)
