"""The error every reader of PTX raises: what, where, and the line with a caret under it."""

from __future__ import annotations

from llmptx.ptx.ast import NOWHERE, Span


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
        line = lines[self.span.line - 1].expandtabs(1)[:200]
        last = self.span.end_column if self.span.end_line == self.span.line else len(line) + 1
        carets = "^" * max(1, min(last, len(line) + 1) - self.span.column)
        return f"{head}\n    {line}\n    {' ' * (self.span.column - 1)}{carets}"

    def within(self, source: str, file: str = "<ptx>") -> PtxError:
        """The same error with the source it speaks of, for passes that only have the tree."""
        return PtxError(self.message, self.span, source, file)
