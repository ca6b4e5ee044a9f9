"""`llmptx export`: approved kernels, out into a package."""

from __future__ import annotations

from pathlib import Path

import click

from llmptx.commands.output import Workspace, json_option, pass_workspace, print_json


@click.group()
def export() -> None:
    """Approved kernels, for other people's programs."""


@export.command()
@click.argument("routines", metavar="[ROUTINE]...", nargs=-1)
@click.option("--name", required=True, help="Of the Python package, vk say.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write it in."
)
@click.option("--version", default="0.1.0", show_default=True, help="Of the package.")
@json_option
@pass_workspace
def package(
    workspace: Workspace, routines: tuple[str, ...], name: str, out: Path, version: str, as_json: bool
) -> None:
    """An installable Python package whose functions have numpy's and scipy's names.

    They run approved kernels on numpy arrays on the CPU, and on CuPy arrays on the GPU.
    ROUTINE is a name or a shell pattern; without one, everything that is approved is exported.
    """
    from llmptx.export.package import write
    from llmptx.review import Desk
    from llmptx.routines import select

    chosen = {routine.name for routine in select(routines)}
    kernels = [kernel for kernel in Desk(workspace.root).kernels() if kernel.routine in chosen]
    names = write(name, out, kernels, version)
    if as_json:
        print_json({"name": name, "out": out, "routines": names, "kernels": len(kernels)})
    else:
        click.echo(f"{name}: {len(names)} routines, {len(kernels)} kernels in {out}")
        click.echo(f"install it with: pip install {out}")
