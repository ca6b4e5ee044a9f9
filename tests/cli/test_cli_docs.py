"""docs/cli.md is what the commands say of themselves: no option goes undocumented."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from llmptx.cli import main
from llmptx.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def _commands(command: click.Command, path: str = "llmptx"):
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, f"{path} {name}")


def test_the_page_is_in_step():
    assert PAGE.read_text() == reference(main), "run: python -m llmptx.reference > docs/cli.md"


@pytest.mark.parametrize(("path", "command"), list(_commands(main)))
def test_every_option_has_a_help_text_and_stands_in_the_page(path, command):
    section = PAGE.read_text().split(f"## {path}\n", 1)[1].split("\n## ", 1)[0]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
            assert all(option in section for option in parameter.opts)
        else:
            assert parameter.make_metavar(click.Context(command)).strip("[]. ") in section.upper()


@pytest.mark.parametrize(
    ("path", "command"), [c for c in _commands(main) if not isinstance(c[1], click.Group)]
)
def test_every_command_takes_json(path, command):
    assert any("--json" in parameter.opts for parameter in command.params)
