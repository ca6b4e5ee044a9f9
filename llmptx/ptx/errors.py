"""The error every reader of PTX raises: what, where, and the line with a caret under it."""

from __future__ import annotations

from llmptx.ptx.ast import NOWHERE, Span

_WIDTH = 160
_BEFORE = 100


class PtxError(ValueError):
    """Wrong PTX: `.message`, `.file`, `.span`; str() is `file:line:col: message`, the line, a caret line."""

    def __init__(self, message: str, span: Span = NOWHERE, source: str = "", file: str = "<ptx>") -> None:
        self.message = message
        self.span = span
        self.file = file
        self.source = source
        super().__init__(self._render())

    def _render(self) -> str:
        if not self.span.line:
            return f"{self.file}: {self.message}"
        head = f"{self.file}:{self.span.line}:{self.span.column}: {self.message}"
        lines = self.source.split("\n")
        if self.span.line > len(lines):
            return head
        whole = lines[self.span.line - 1]
        # a window of a very long line, and nothing in it that a terminal would obey
        first = max(0, self.span.column - 1 - _BEFORE)
        line = "".join(c if c.isprintable() else " " for c in whole[first : first + _WIDTH])
        column = self.span.column - 1 - first
        last = self.span.end_column - 1 - first if self.span.end_line == self.span.line else len(line)
        carets = "^" * max(1, min(last, len(line)) - column)
        return f"{head}\n    {line}\n    {' ' * column}{carets}"

    def __reduce__(self) -> tuple[type[PtxError], tuple[str, Span, str, str]]:
        return PtxError, (self.message, self.span, self.source, self.file)

    def within(self, source: str, file: str = "<ptx>") -> PtxError:
        """The same error with the source it speaks of, for passes that only have the tree."""
        return PtxError(self.message, self.span, source, file)
