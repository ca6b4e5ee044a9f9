"""A finding as people read it: place, sentence, the source line with a caret, who did it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from llmptx.record import Finding


def finding_text(finding: Finding, lines: list[str], file: str, note: bool = False) -> Text:
    """file:line:col, what is wrong, the source line with a caret, and who did it."""
    from rich.text import Text

    from llmptx.review.plain import plain, plain_line

    style = "bold yellow" if note else "bold red"
    place = file
    if finding.line:
        place += f":{finding.line}:{finding.column}" if finding.column else f":{finding.line}"
    text = Text(f"{plain_line(place)}: ", style="bold")
    text.append(f"note: {finding.kind}: " if note else f"{finding.kind}: ", style=style)
    text.append(plain(finding.message), style="not bold default")
    if 0 < finding.line <= len(lines):
        source = plain(lines[finding.line - 1].rstrip("\r").replace("\t", " "))
        text.append(f"\n    {source}", style="not bold default")
        if finding.column:
            text.append(f"\n    {' ' * (finding.column - 1)}^", style=style)
    who = _who(finding)
    if who:
        text.append(f"\n    {plain(who)}", style="not bold dim")
    if finding.counterexample:
        text.append(f"\n    smallest: {plain(finding.counterexample)}", style="not bold default")
    return text


def _who(finding: Finding) -> str:
    parts = []
    if finding.block is not None:
        parts.append(f"block {finding.block}")
    if finding.thread is not None:
        parts.append(f"thread {finding.thread}")
    if finding.lane is not None:
        parts.append(f"lane {finding.lane}")
    if finding.buffer:
        at = f" at byte {finding.address}" if finding.address is not None else ""
        parts.append(f"buffer {finding.buffer}{at}")
    if finding.element is not None:
        parts.append(f"element {finding.element}")
    if finding.case:
        parts.append(f"case {finding.case}")
    return ", ".join(parts)
