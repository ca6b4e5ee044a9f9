"""The ISA page: every row of the table as Markdown. `python -m llmptx.isa.page > docs/isa.md` writes it."""

from __future__ import annotations

import sys
from importlib import import_module

from llmptx.isa import table
from llmptx.isa.form import Form

CHAPTERS = (
    "integer", "extended", "floating", "half", "compare", "logic", "convert", "narrow", "data",
    "asynchronous", "matrix", "parallel", "control", "video",
)  # fmt: skip

_HEAD = """# The instructions

Written by `python -m llmptx.isa.page` from the table in `llmptx/isa`; do not edit. What is not here is
refused, with the nearest forms named. `.x:a|b` is one of `.a` and `.b`; brackets may be left out; an
operand without a type has the instruction's `type`, `:wide` twice its width; `d[|p]` may be a pair of
destinations and `d|p` must be one; `imm` is an integer constant;
`a:b32*4` four registers in braces, `n:own` a b32 or a predicate. Modifiers may stand in another order,
as long as types keep theirs. A rounding left out is `.rn`; `.ftz` flushes subnormal inputs and results
to zeros of their sign; `.sat` of a float clamps to [0, 1] and makes NaN +0.

{count} rows, {opcodes} opcodes.
"""


def page() -> str:
    """The whole page; ends in a newline."""
    rows = [row for rows in table().values() for row in rows]
    text = [_HEAD.format(count=len(rows), opcodes=len(table()))]
    for chapter in CHAPTERS:
        text.append(_chapter(chapter, [row for row in rows if row.chapter == chapter]))
    return "\n".join(text)


def _chapter(name: str, rows: list[Form]) -> str:
    about = (import_module(f"llmptx.isa.{name}").__doc__ or "").strip()
    title, _, more = about.partition("\n")
    lines = [f"## {title.rstrip('.')}", "", *([more.strip(), ""] if more.strip() else [])]
    groups: dict[str, list[Form]] = {}
    for row in rows:
        groups.setdefault(row.opcode, []).append(row)
    for opcode in sorted(groups):
        lines += [f"### {opcode}", ""]
        for doc in dict.fromkeys(" ".join(row.doc.split()) for row in groups[opcode]):
            patterns = [_spaced(row) for row in groups[opcode] if " ".join(row.doc.split()) == doc]
            lines += ["```", *patterns, "```", *([doc] if doc else []), ""]
    return "\n".join(lines)


def _spaced(row: Form) -> str:
    modifiers, _, operands = row.pattern.partition(" ")
    return f"{modifiers}  {operands.strip()}".rstrip()


if __name__ == "__main__":
    sys.stdout.write(page())
