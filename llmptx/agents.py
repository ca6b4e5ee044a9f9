"""The judge as tools for coding agents: a Model Context Protocol server over stdio. Needs the `mcp` extra.

Knows verdicts and the catalogue; an agent's text is judged like any other, and nothing it sends is filed.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmptx.record import Verdict

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from llmptx.verify.judge import Runs

_ABOUT = """\
Judges NVIDIA PTX kernels that claim to be a numpy or scipy routine. No GPU is needed. Ask list_routines for
names and dtypes, describe_routine for the ABI and the fine print, then verify_ptx with the whole text, its
`//@ launch` line included.
"""
_MOST_FINDINGS = 10


def server(root: Path, pool: Runs | None = None) -> MCPServer[Any]:
    """The server of a workspace. pool: workers that candidates run in; None for the judge's own."""
    from anyio import to_thread
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    import llmptx
    from llmptx.llm import prompt as prompts
    from llmptx.review import Desk, ReviewError
    from llmptx.routines import UnknownRoutine, find, select
    from llmptx.verify.judge import verify

    tools = MCPServer("llmptx", version=llmptx.__version__, instructions=_ABOUT)

    @tools.tool()
    async def verify_ptx(
        ptx: str, routine: str, dtype: str, level: Literal["quick", "full"] = "full"
    ) -> dict[str, Any]:
        """Judge a PTX text as a routine. The findings name the PTX line, and a small counterexample.

        ptx: the whole module, its launch plan in `//@` lines at the top. routine: numpy.exp, or short exp.
        dtype: float32, say. level: quick takes a fraction of a second, full is what certificates need.
        """
        judged = partial(verify, ptx, routine, dtype, level, pool=pool, shrink=True)
        try:
            return summary(await to_thread.run_sync(judged))
        except KeyError as error:
            raise ToolError(_words(error)) from error

    @tools.tool()
    def show_verdict(candidate: str) -> dict[str, Any]:
        """The verdict on a kernel that passed in this workspace, and what people decided on it.

        candidate: the first four or more characters of its hash.
        """
        try:
            entry = Desk(root).find(candidate)
        except ReviewError as error:
            raise ToolError(str(error)) from error
        decision = {"state": entry.state, "risks": [risk.reason for risk in entry.risks]}
        return summary(entry.verdict) | decision | {"ptx": entry.candidate.text}

    @tools.tool()
    def list_routines(pattern: str = "*") -> list[dict[str, Any]]:
        """Routines that can be rewritten, with their dtypes. pattern: a name or shell pattern, 'numpy.*'."""
        try:
            chosen = select([pattern])
        except UnknownRoutine as error:
            raise ToolError(str(error)) from error
        return [
            {
                "routine": r.name,
                "kind": r.kind,
                "dtypes": [s.dtype for s in r.signatures],
                "summary": r.summary,
            }
            for r in chosen
        ]

    @tools.tool()
    def describe_routine(routine: str, dtype: str) -> str:
        """What a kernel must do to pass: ABI, launch plan, tolerance, special values. As a model is asked."""
        try:
            return "\n\n".join(m.content for m in prompts.shipped().first(find(routine), dtype).messages)
        except KeyError as error:
            raise ToolError(_words(error)) from error

    return tools


def summary(verdict: Verdict) -> dict[str, Any]:
    """A verdict as an agent needs it: the first findings without what is empty, stages, resources."""
    shown = (asdict(finding) for finding in verdict.findings[:_MOST_FINDINGS])
    findings = [{k: v for k, v in finding.items() if v not in (None, "", 0)} for finding in shown]
    return {
        "passed": verdict.passed,
        "routine": verdict.routine,
        "dtype": verdict.dtype,
        "level": verdict.level,
        "candidate": verdict.candidate,
        "findings": findings,
        "more_findings": max(0, len(verdict.findings) - _MOST_FINDINGS),
        "stages": [{"name": s.name, "passed": s.passed, "cases": s.cases} for s in verdict.stages],
        "registers": {r.target: r.registers for r in verdict.resources},
        "max_ulp": verdict.accuracy.max_ulp if verdict.accuracy else None,
        "seconds": round(verdict.seconds, 3),
    }


def _words(error: KeyError) -> str:
    return str(error) if type(error) is not KeyError else str(error.args[0])
