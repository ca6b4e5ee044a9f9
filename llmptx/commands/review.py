"""`llmptx review`: what waits for a person, and the person's decisions, one candidate at a time."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import click

from llmptx.commands.output import NO, Workspace, cell, json_option, pass_workspace, print_json, stdout, table

if TYPE_CHECKING:
    from pathlib import Path

    from llmptx.review import Desk, Entry

_MARKS = {"waiting": "yellow", "approved": "green", "rejected": "red", "returned": "blue", "recalled": "red"}


@click.group()
def review() -> None:
    """The human queue: candidates that passed the judge, and decisions on them."""


def _narrowing(function: Any) -> Any:
    """A hash, and what tells two routines with the same text apart."""
    function = click.option("--dtype", default="", help="Where the hash is of several: this dtype's.")(
        function
    )
    function = click.option("--routine", default="", help="Where the hash is of several: this routine's.")(
        function
    )
    return click.argument("hash", metavar="HASH")(function)


def _signed(function: Any) -> Any:
    text = "Who decides. Default: $LLMPTX_REVIEWER, else the name you are logged in under."
    return click.option("--reviewer", envvar="LLMPTX_REVIEWER", default=None, help=text)(function)


@review.command("list")
@click.option("--all", "everything", is_flag=True, help="Decided ones too.")
@json_option
@pass_workspace
@click.pass_context
def list_(context: click.Context, workspace: Workspace, everything: bool, as_json: bool) -> None:
    """What waits for a decision, the riskiest first."""
    from llmptx.review import Desk

    entries, problems = Desk(workspace.root).queue()
    shown = [entry for entry in entries if everything or entry.state == "waiting"]
    for problem in problems:
        click.echo(f"llmptx: {problem}", err=True)
    if as_json:
        print_json([_row(entry) for entry in shown])
    elif shown:
        listing = table("hash", "routine", "dtype", "state", "risk", "why", right=("risk",))
        for entry in shown:
            listing.add_row(
                cell(entry.candidate.hash[:12]),
                cell(entry.candidate.routine),
                cell(entry.candidate.dtype),
                cell(entry.state, _MARKS[entry.state]),
                str(entry.risk),
                cell("; ".join(risk.reason for risk in entry.risks)),
            )
        stdout().print(listing)
        click.echo(
            "\nllmptx review show HASH shows one; approve HASH or reject HASH --reason TEXT decides on it."
        )
    else:
        click.echo(f"nothing waits ({len(entries)} decided)" if entries else "no candidate has passed yet")
    context.exit(0 if shown else NO)


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "hash": entry.candidate.hash,
        "routine": entry.candidate.routine,
        "dtype": entry.candidate.dtype,
        "state": entry.state,
        "risk": entry.risk,
        "risks": [risk.reason for risk in entry.risks],
        "records": [record.hash for record in entry.records],
        "review": entry.review,
    }


@review.command()
@_narrowing
@click.option(
    "--comments", is_flag=True, help="With the comments the model wrote, which nobody has verified."
)
@json_option
@pass_workspace
def show(workspace: Workspace, hash: str, routine: str, dtype: str, comments: bool, as_json: bool) -> None:
    """A candidate: the reference beside it, the verdict, the way it took, and its PTX without comments."""
    from llmptx.review import Desk, plain

    entry = Desk(workspace.root).find(hash, routine, dtype)
    text = entry.candidate.text
    if not comments:
        from llmptx.review.uncommented import uncommented

        text = uncommented(text)
    if as_json:
        print_json({**_row(entry), "verdict": entry.verdict, "ptx": entry.candidate.text})
        return
    for line in _about(entry):
        click.echo(line)
    click.echo()
    for number, line in enumerate(plain(text).split("\n"), start=1):
        if line.strip() or comments:
            click.echo(f"{number:5}  {line}".rstrip())


def _about(entry: Entry) -> list[str]:
    from llmptx.review import plain_line
    from llmptx.routines import find
    from llmptx.search.loop import in_one_line

    spec, verdict, record = find(entry.candidate.routine), entry.verdict, entry.records[-1]
    lines = [
        f"{spec.name} {entry.candidate.dtype}  {entry.candidate.hash}",
        f"  {spec.summary}",
        f"  {spec.reference}",
    ]
    lines += [f"    {note}" for note in spec.notes]
    lines.append(f"  state     {entry.state}")
    if entry.review:
        decided = entry.review
        lines.append(f"            {decided.decision} by {plain_line(decided.reviewer)} on {decided.created}")
        lines.append(f"            {plain_line(decided.reason)}")
    lines += [f"  risk      {risk.reason}" for risk in entry.risks]
    lines.append(
        f"  verdict   {in_one_line(verdict)}; level {verdict.level}, "
        f"judge {verdict.judge}, engine {verdict.engine}"
    )
    lines += [
        f"  {r.target:<9} {r.entry}: {r.registers} registers, "
        f"{r.spill_stores + r.spill_loads} B spilled, {r.shared} B shared"
        for r in verdict.resources
    ]
    lines.append(
        f"  model     {plain_line(record.model)} ({record.terms_class} terms), record {record.hash[:12]}"
    )
    for number, attempt in enumerate(record.attempts, start=1):
        said = in_one_line(attempt.verdict) if attempt.verdict else "no PTX in the reply"
        lines.append(f"  round {number}   {plain_line(said)}")
    return lines


@review.command()
@_narrowing
@_signed
@click.option("--reason", default="", help="What was looked at; kept with the decision.")
@json_option
@pass_workspace
def approve(
    workspace: Workspace,
    hash: str,
    routine: str,
    dtype: str,
    reviewer: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Approve one candidate: it is written to verified/ with its certificate."""
    desk, entry = _found(workspace, hash, routine, dtype)
    path = desk.approve(entry, reviewer or getpass.getuser(), reason)
    if as_json:
        print_json({**_row(entry), "state": "approved" if path else "waiting", "path": path})
    else:
        where = path or f"{len(entry.standing.approvers) + 1} of {entry.standing.needed} people"
        click.echo(f"approved {_named(entry)}: {where}")


@review.command()
@_narrowing
@_signed
@click.option("--reason", required=True, help="What is wrong with it; kept with the decision.")
@json_option
@pass_workspace
def reject(
    workspace: Workspace,
    hash: str,
    routine: str,
    dtype: str,
    reviewer: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Reject one candidate; if it was approved before, it leaves verified/."""
    desk, entry = _found(workspace, hash, routine, dtype)
    _turned_down(entry, "rejected", desk.reject(entry, reviewer or getpass.getuser(), reason), as_json)


@review.command("return")
@_narrowing
@_signed
@click.option("--reason", required=True, help="What another draft should do; kept with the decision.")
@json_option
@pass_workspace
def return_(
    workspace: Workspace,
    hash: str,
    routine: str,
    dtype: str,
    reviewer: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Send one candidate back for another draft; if it was approved before, it leaves verified/."""
    desk, entry = _found(workspace, hash, routine, dtype)
    _turned_down(entry, "returned", desk.send_back(entry, reviewer or getpass.getuser(), reason), as_json)


@review.command()
@_narrowing
@_signed
@json_option
@pass_workspace
def undo(
    workspace: Workspace, hash: str, routine: str, dtype: str, reviewer: str | None, as_json: bool
) -> None:
    """Take back your last decision on a candidate; both stay in the log."""
    desk, entry = _found(workspace, hash, routine, dtype)
    taken = desk.undo(entry, reviewer or getpass.getuser())
    if as_json:
        print_json({**_row(entry), "undone": taken})
    else:
        click.echo(f"{_named(entry)}: {taken.decision} is taken back")


@review.command()
@_narrowing
@click.argument("text")
@click.option("--line", type=click.IntRange(min=0), default=0, help="Of the PTX; 0, the default: the whole.")
@_signed
@json_option
@pass_workspace
def comment(
    workspace: Workspace,
    hash: str,
    text: str,
    line: int,
    routine: str,
    dtype: str,
    reviewer: str | None,
    as_json: bool,
) -> None:
    """Remark on a candidate, or on a line of it."""
    desk, entry = _found(workspace, hash, routine, dtype)
    filed = desk.comment(entry, line, text, reviewer or getpass.getuser())
    if as_json:
        print_json(filed)
    else:
        click.echo(f"{_named(entry)}: comment on {f'line {line}' if line else 'the whole'} filed")


@review.command()
@click.option("--out", type=click.File("w"), default="-", help="Where to write it. Default: stdout.")
@json_option
@pass_workspace
def audit(workspace: Workspace, out: Any, as_json: bool) -> None:
    """Every decision and comment in order of time, as JSON Lines; with --json as well."""
    from llmptx.review import Desk

    for line in Desk(workspace.root).audit():
        out.write(line + "\n")


@review.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0: any free one."
)
@click.option("--name", "names", multiple=True, help="A name others reach it by; may be given again.")
@_signed
@json_option
@pass_workspace
def serve(
    workspace: Workspace, host: str, port: int, names: tuple[str, ...], reviewer: str | None, as_json: bool
) -> None:
    """Serve the review page: prints the address that logs you in, and runs until Ctrl-C.

    Only this machine reaches it, unless --host says otherwise; put a server that speaks TLS before it then.
    Others log in with tokens of their own: see llmptx review token.
    """
    try:
        from llmptx.review.web.serve import run
    except ModuleNotFoundError as error:
        raise click.UsageError(f"this needs {error.name}: pip install 'llmptx[web]'") from error

    def ready(address: str) -> None:
        if as_json:
            print_json({"address": address})
        else:
            click.echo(f"review page: {address}")

    run(workspace.root, host, port, names, reviewer or getpass.getuser(), ready)


@review.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "reviewer", "admin"]),
    default="reviewer",
    show_default=True,
    help="viewer: looks; reviewer: decides; admin: also undoes what others decided.",
)
@json_option
@pass_workspace
def token(workspace: Workspace, name: str, role: str, as_json: bool) -> None:
    """Make a token for a person of your team. It is shown once; an earlier one of theirs ends."""
    try:
        from llmptx.review.web.access import add_token
    except ModuleNotFoundError as error:
        raise click.UsageError(f"this needs {error.name}: pip install 'llmptx[web]'") from error
    secret = add_token(workspace.root / ".llmptx" / "tokens.json", name, role)  # type: ignore[arg-type]
    if as_json:
        print_json({"name": name, "role": role, "token": secret})
    else:
        click.echo(secret)


def _turned_down(entry: Entry, state: str, removed: Path | None, as_json: bool) -> None:
    """Say what was decided, and what left verified/ with it."""
    if as_json:
        print_json({**_row(entry), "state": state, "removed": removed})
    else:
        click.echo(f"{state} {_named(entry)}{f'; removed {removed}' if removed else ''}")


def _named(entry: Entry) -> str:
    return f"{entry.candidate.routine} {entry.candidate.dtype} {entry.candidate.hash[:12]}"


def _found(workspace: Workspace, hash: str, routine: str, dtype: str) -> tuple[Desk, Entry]:
    from llmptx.review import Desk

    desk = Desk(workspace.root)
    return desk, desk.find(hash, routine, dtype)
