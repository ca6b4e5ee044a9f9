"""From a model's reply to the PTX text in it: text to text, nothing is run, opened or looked up.

Knows Markdown fences and what a complete PTX module looks like from afar; whether it is right, others say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST = 1 << 20  # characters of a module; the judge reads no more
LABELS = frozenset({"", "ptx", "asm", "assembly", "nvptx", "text", "plaintext", "txt"})

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^`\n]*?)[ \t]*$")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_START = re.compile(r"^[ \t]*(?://@|\.version\b)", re.MULTILINE)


class ReplyError(ValueError):
    """A reply without a PTX module; the text says what was found instead."""


@dataclass(frozen=True, slots=True)
class _Block:
    label: str
    text: str
    line: int
    closed: bool


def ptx_of(reply: str) -> str:
    """The PTX module in a reply, with LF line ends and one newline at its end.

    The last complete module wins: one in a fence labelled ptx, asm or not at all, else one written without
    a fence, from its first `//@` or `.version` line to its last brace. Failing that, the last closed fence
    that starts a module: its faults are the judge's to name.

    Raises ReplyError where there is none.
    """
    text = reply.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    if not text.strip():
        raise ReplyError("the reply is empty")
    blocks = _blocks(text)
    modules = [block for block in blocks if block.label in LABELS and ".version" in _code(block.text)]
    for block in reversed(modules):
        if _complete(block.text):
            return _tidy(block.text)
    bare = _bare(text) if not modules else ""
    if bare:
        return _tidy(bare)
    for block in reversed(modules):
        if block.closed:
            return _tidy(block.text)
    raise ReplyError(_found(blocks, modules))


def _blocks(text: str) -> list[_Block]:
    """The fenced blocks in order; a fence left open runs to the end."""
    blocks: list[_Block] = []
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        at += 1
        if not opening:
            continue
        indent, fence, info = opening.groups()
        start = at
        while at < len(lines) and not _closes(lines[at], fence):
            at += 1
        body = "\n".join(line.removeprefix(indent) for line in lines[start:at])
        label = info.split()[0].lower().strip("{}.") if info else ""
        blocks.append(_Block(label, body, start, closed=at < len(lines)))
        at += 1
    return blocks


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    return len(mark) >= len(fence) and set(mark) == {fence[0]}


def _bare(text: str) -> str:
    start = _START.search(text)
    if not start:
        return ""
    end = text.rfind("}")
    module = text[start.start() : end + 1]
    return module if _complete(module) else ""


def _code(text: str) -> str:
    return _COMMENT.sub(" ", text)


def _complete(text: str) -> bool:
    code = _code(text)
    balanced = code.count("{") == code.count("}") > 0
    return balanced and ".version" in code and ".entry" in code


def _tidy(text: str) -> str:
    module = text.strip("\n") + "\n"
    if len(module) > LARGEST:
        raise ReplyError(f"the module has {len(module):,} characters; at most {LARGEST:,} are read")
    return module


def _found(blocks: list[_Block], modules: list[_Block]) -> str:
    if modules:
        return f"the block that opens at line {modules[-1].line} of the reply ends before the module does"
    if not blocks:
        return "no fenced block, and no line that starts with .version"
    found = ", ".join(f"{block.label or 'unlabelled'} at line {block.line}" for block in blocks[:6])
    return f"no fenced block holds a PTX module (.version, an .entry and its body); the blocks found: {found}"
