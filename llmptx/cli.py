"""The command line: `llmptx COMMAND`. Parses, calls, prints; no logic. Exit codes are in docs/cli.md.

Importing this must stay cheap: commands import what they need when they run.
"""

from __future__ import annotations

from pathlib import Path

import click

import llmptx
from llmptx.commands.bench import bench
from llmptx.commands.catalog import catalog
from llmptx.commands.corpus import corpus
from llmptx.commands.doctor import doctor
from llmptx.commands.export import export
from llmptx.commands.jobs import jobs
from llmptx.commands.mcp import mcp
from llmptx.commands.output import Commands, Workspace
from llmptx.commands.recheck import recheck
from llmptx.commands.review import review
from llmptx.commands.rewrite import rewrite
from llmptx.commands.run import run
from llmptx.commands.verify import verify


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(llmptx.__version__, prog_name="llmptx")
@click.option(
    "--workspace",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    envvar="LLMPTX_WORKSPACE",
    help="Folder of jobs, corpus, verified kernels and report. Default: the current one.",
)
@click.pass_context
def main(context: click.Context, workspace: Path) -> None:
    """A language model rewrites numpy and scipy routines as PTX; a judge decides which are right.

    Exit codes: 0 yes, 1 no (a verdict failed, nothing found), 2 wrong use or bad input, 3 budget spent,
    4 the model's endpoint failed, 5 toolchain or GPU missing, 130 interrupted.
    """
    context.obj = Workspace(workspace)


for command in (catalog, rewrite, verify, run, recheck, jobs, review, corpus, export, bench, mcp, doctor):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="llmptx")
