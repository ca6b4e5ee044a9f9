"""`llmptx recheck`: what an earlier judge let pass, judged again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from llmptx.commands.output import (
    NO,
    YES,
    Workspace,
    cell,
    json_option,
    pass_workspace,
    print_json,
    stderr,
    stdout,
    table,
)

if TYPE_CHECKING:
    from llmptx.record import Level, Verdict

_MARKS = {"current": "dim", "passed": "green", "recalled": "red"}


@click.command()
@click.option("--corpus", is_flag=True, help="The corpus's candidates that passed, too.")
@click.option(
    "--all", "everything", is_flag=True, help="Also what this judge and engine have judged already."
)
@json_option
@pass_workspace
@click.pass_context
def recheck(
    context: click.Context, workspace: Workspace, corpus: bool, everything: bool, as_json: bool
) -> None:
    """Judge everything in verified/ again after the judge, the engine or a routine's spec changed.

    What passes gets a new certificate. What does not is recalled: moved to recalled/, and a recall with the
    reason is filed beside people's decisions. Exit 0 where nothing was recalled, 1 where something was.
    """
    from llmptx.review.desk import Desk
    from llmptx.review.recheck import Rechecked
    from llmptx.review.recheck import recheck as rechecked

    results: list[Rechecked] = []
    with stderr().status("judging again") as status:
        for result in rechecked(Desk(workspace.root), _judge, everything, corpus):
            results.append(result)
            status.update(f"{result.routine} {result.dtype}: {result.outcome}")
    counts: Counter[str] = Counter(result.outcome for result in results)
    if as_json:
        print_json(results)
    else:
        listing = table("routine", "dtype", "hash", "outcome", "why")
        for result in results:
            listing.add_row(
                cell(result.routine),
                cell(result.dtype),
                cell(result.candidate[:12]),
                cell(result.outcome, _MARKS[result.outcome]),
                cell(result.reason),
            )
        if results:
            stdout().print(listing)
        said = ", ".join(f"{counts[o]} {o}" for o in _MARKS if counts[o])
        click.echo(said or "there is nothing to judge again")
    context.exit(NO if counts["recalled"] else YES)


def _judge(text: str, routine: str, dtype: str, level: Level, device: str) -> Verdict:
    from llmptx.commands.output import need_device
    from llmptx.verify.judge import verify

    need_device(device)
    return verify(text, routine, dtype, level, device, shrink=True)  # type: ignore[arg-type]  # as certified
