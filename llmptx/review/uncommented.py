"""PTX without its comments, line for line: they are the model's word to its reader, verified by nobody."""

from __future__ import annotations

from llmptx.ptx.lexer import Source, comments
from llmptx.ptx.plan import MARK


def uncommented(text: str) -> str:
    """Every comment but the `//@` lines becomes a blank; line numbers stay. PtxError for what is not PTX."""
    kept, at = [], 0
    for comment in comments(Source(text)):
        if comment.text.startswith(MARK):
            continue
        end = comment.start + len(comment.text)
        kept.append(text[at : comment.start].rstrip(" \t"))
        kept.append(" " + "\n" * comment.text.count("\n"))
        at = end
    kept.append(text[at:])
    return "".join(kept)
