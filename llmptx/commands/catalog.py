"""`llmptx catalog`: what can be rewritten, and how far each routine is in this workspace."""

from __future__ import annotations

import click

from llmptx.commands.output import NO, Workspace, json_option, pass_workspace, print_json, stdout, table


@click.command()
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@json_option
@pass_workspace
@click.pass_context
def catalog(context: click.Context, workspace: Workspace, patterns: tuple[str, ...], as_json: bool) -> None:
    """What can be rewritten, and how far each is: waiting for review, approved, rejected.

    PATTERN is a name or a shell pattern, 'numpy.*' or 'exp*'; without one, everything is listed.
    """
    from llmptx.review import Desk
    from llmptx.routines import select

    routines = select(patterns)
    entries, _ = Desk(workspace.root).queue()
    states: dict[tuple[str, str], str] = {}
    for entry in entries:
        key = entry.candidate.routine, entry.candidate.dtype
        if states.get(key) != "approved":
            states[key] = entry.state
    if as_json:
        print_json(
            [
                {
                    "routine": routine.name,
                    "kind": routine.kind,
                    "summary": routine.summary,
                    "dtypes": {
                        s.dtype: states.get((routine.name, s.dtype), "open") for s in routine.signatures
                    },
                    "tolerance": {d: t.rule for d, t in routine.tolerance.items()},
                }
                for routine in routines
            ]
        )
        return
    listing = table("routine", "kind", "dtypes", "summary")
    marks = {"approved": "green", "waiting": "yellow", "rejected": "red", "recalled": "red"}
    for routine in routines:
        dtypes = []
        for signature in routine.signatures:
            state = states.get((routine.name, signature.dtype), "")
            dtypes.append(f"[{marks[state]}]{signature.dtype}[/]" if state else signature.dtype)
        listing.add_row(routine.name, routine.kind, " ".join(dtypes), routine.summary)
    console = stdout()
    console.print(listing)
    counts = " · ".join(
        f"[{colour}]{sum(s == state for s in states.values())} {state}[/]" for state, colour in marks.items()
    )
    kernels = sum(len(routine.signatures) for routine in routines)
    console.print(f"\n{len(routines)} routines, {kernels} kernels · in this workspace {counts}")
    if not routines:
        context.exit(NO)
