"""`llmptx mcp`: the judge as tools for a coding agent."""

from __future__ import annotations

import click

from llmptx.commands.output import Workspace, json_option, pass_workspace


@click.command()
@json_option
@pass_workspace
def mcp(workspace: Workspace, as_json: bool) -> None:
    """Serve the judge to a coding agent over stdio, by the Model Context Protocol.

    Its tools: verify_ptx, show_verdict, list_routines, describe_routine. In an agent's configuration, the
    command is llmptx, the argument mcp. What it speaks is JSON with or without --json.
    """
    try:
        from llmptx.agents import server

        tools = server(workspace.root)
    except ModuleNotFoundError as error:
        raise click.UsageError(f"this needs {error.name}: pip install 'llmptx[mcp]'") from error
    tools.run("stdio")
