"""`llmptx export`: approved kernels, out into the forms that other people's programs take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmptx.commands.output import Workspace, json_option, pass_workspace, print_json

if TYPE_CHECKING:
    from llmptx.review import Verified

_ROUTINES = click.argument("routines", metavar="[ROUTINE]...", nargs=-1)
_NAME = click.option("--name", required=True, help="Of what is written: a Python identifier, vk say.")
_OUT = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write it in."
)


@click.group()
def export() -> None:
    """Approved kernels, for other people's programs.

    ROUTINE is a name or a shell pattern; without one, everything that is approved is exported. Each form
    carries the certificates and a manifest, and refuses a kernel whose bytes were changed.
    """


def _form(function: Callable[..., None]) -> click.Command:
    """A command with what every form of export takes."""
    for decorate in (pass_workspace, json_option, _OUT, _NAME, _ROUTINES):
        function = decorate(function)
    return export.command()(function)


@click.option("--version", default="0.1.0", show_default=True, help="Of the package.")
def package(
    workspace: Workspace, routines: tuple[str, ...], name: str, out: Path, version: str, as_json: bool
) -> None:
    """An installable Python package whose functions have numpy's and scipy's names.

    They run approved kernels on numpy arrays on the CPU, and on CuPy arrays on the GPU.
    """
    from llmptx.export.package import write

    kernels = _approved(workspace, routines)
    _said(
        name, out, write(name, out, kernels, version), kernels, f"install it with: pip install {out}", as_json
    )


def cupy(workspace: Workspace, routines: tuple[str, ...], name: str, out: Path, as_json: bool) -> None:
    """A folder of PTX files for CuPy's RawModule, with a loader that knows their launch plans."""
    from llmptx.export.cupy import write

    kernels = _approved(workspace, routines)
    advice = f"use it with: PYTHONPATH={out} python -c 'import {name}; {name}.kernels()'"
    _said(name, out, write(name, out, kernels), kernels, advice, as_json)


def header(workspace: Workspace, routines: tuple[str, ...], name: str, out: Path, as_json: bool) -> None:
    """A C header: texts as bytes, launch plans as functions; with an example on the driver API."""
    from llmptx.export.header import write

    kernels = _approved(workspace, routines)
    advice = f"build the example with: cc -O2 -I$CUDA_HOME/include {out}/example.c -lcuda -o example"
    _said(name, out, write(name, out, kernels), kernels, advice, as_json)


def hub(workspace: Workspace, routines: tuple[str, ...], name: str, out: Path, as_json: bool) -> None:
    """A Hugging Face kernel repository: a universal build that runs on torch tensors."""
    from llmptx.export.hub import write

    kernels = _approved(workspace, routines)
    advice = f"upload it with: hf upload OWNER/{name.replace('_', '-')} {out} ."
    _said(name, out, write(name, out, kernels), kernels, advice, as_json)


for _function in (package, cupy, header, hub):
    _form(_function)


def _approved(workspace: Workspace, routines: tuple[str, ...]) -> list[Verified]:
    from llmptx.review import Desk
    from llmptx.routines import select

    chosen = {routine.name for routine in select(routines)}
    return [kernel for kernel in Desk(workspace.root).kernels() if kernel.routine in chosen]


def _said(
    name: str, out: Path, names: Sequence[str], kernels: Sequence[Any], advice: str, as_json: bool
) -> None:
    if as_json:
        print_json({"name": name, "out": out, "routines": names, "kernels": len(kernels)})
    else:
        click.echo(f"{name}: {len(names)} routines, {len(kernels)} kernels in {out}")
        click.echo(advice)
