"""PTX text to tokens, and the cursor every part of the parser reads them through. Knows no grammar.

PTX ISA 4.1 to 4.5, and where the manual is silent, what ptxas does: a `//` comment ends at a line feed alone;
`/* */` does not nest; blanks are space, tab, CR, LF and FF. Characters beyond ASCII are refused in comments
too, though some releases of ptxas let them stand there: what a text shows must be what it is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from llmptx.ptx.ast import Span
from llmptx.ptx.errors import PtxError

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n\f]+)
  | (?P<comment>//[^\n]*|/\*[\s\S]*?\*/)
  | (?P<float>(?:\.\d+|\d+\.\d*)(?:[eE][+-]?\d+)?(?![\w$])|\d+[eE][+-]?\d+(?![\w$]))
  | (?P<dot>\.\w[\w$]*(?:::\w+)*)
  | (?P<word>[A-Za-z][\w$]*|[_$%][\w$]+)
  | (?P<hexfloat>0[fF][0-9a-fA-F]{8}(?![\w$])|0[dD][0-9a-fA-F]{16}(?![\w$]))
  | (?P<int>(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[0-7]*|[1-9]\d*)U?(?![\w$]))
  | (?P<string>"(?:[^"\\\n]|\\[^\n])*")
  | (?P<punct><<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&^|~!<>=?:;,(){}\[\]@_])
  | (?P<bad>[\s\S])
    """,
    re.VERBOSE | re.ASCII,
)


class Token(NamedTuple):
    """kind is word, dot (`.f32`), int, float, hexfloat, string, punct or end; `start` a 0-based offset."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Comment(NamedTuple):
    """A comment, `first` if it stands before every token, `alone` if only blanks precede it on its line."""

    text: str
    start: int
    first: bool
    alone: bool


class Source:
    """A text and its name: turns offsets into spans and into errors that show the line."""

    def __init__(self, text: str, file: str = "<ptx>") -> None:
        self.text = text
        self.file = file
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def span(self, start: int, end: int) -> Span:
        """The span of text[start:end]."""
        lines = self._lines
        line = bisect_right(lines, start)
        end_line = bisect_right(lines, end) if end > start else line
        return Span(line, start - lines[line - 1] + 1, end_line, end - lines[end_line - 1] + 1)

    def offset(self, span: Span) -> int:
        """Where a span starts."""
        return self._lines[span.line - 1] + span.column - 1

    def error(self, message: str, start: int, end: int) -> PtxError:
        """The error to raise about text[start:end]."""
        return PtxError(message, self.span(start, end), self.text, self.file)


def tokenize(source: Source) -> Sequence[Token]:
    """All tokens, an `end` token last. Raises PtxError at the first character no token starts with."""
    return _scan(source.text, source.file)[0]


def comments(source: Source) -> Sequence[Comment]:
    """All comments, in order. Raises PtxError as `tokenize` does."""
    return _scan(source.text, source.file)[1]


# Who normalises a text asks for its tokens, then for its comments.
@lru_cache(maxsize=2)
def _scan(text: str, file: str) -> tuple[tuple[Token, ...], tuple[Comment, ...]]:
    source = Source(text, file)
    if not text.isascii():
        at = next(i for i, character in enumerate(text) if ord(character) > 127)
        raise source.error(f"PTX is ASCII, comments included; found U+{ord(text[at]):04X}", at, at + 1)
    tokens: list[Token] = []
    remarks: list[Comment] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "space":
            continue
        start = match.start()
        if kind == "comment":
            line = text[text.rfind("\n", 0, start) + 1 : start]
            remarks.append(Comment(match[0], start, not tokens, not line.strip()))
        elif kind == "bad":
            raise _bad(source, start)
        else:
            tokens.append(Token(kind, match[0], start))
    tokens.append(Token("end", "", len(text)))
    return tuple(tokens), tuple(remarks)


_WORD = re.compile(r"[\w$]+", re.ASCII)


def _bad(source: Source, start: int) -> PtxError:
    text = source.text
    character = text[start]
    if text.startswith("/*", start):
        return source.error("this comment is never closed; end it with */", start, start + 2)
    if character == '"':
        return source.error("this string is not closed on its line", start, start + 1)
    if character.isdigit():
        word = _WORD.match(text, start)
        assert word
        return source.error(f"{_short(word[0])} is no number: {_advice(word[0])}", start, word.end())
    return source.error(f"no PTX token starts with {character!r}", start, start + 1)


def _advice(word: str) -> str:
    prefix = word[:2].lower()
    if prefix == "0f":
        return "0f takes exactly 8 hexadecimal digits"
    if prefix == "0d":
        return "0d takes exactly 16 hexadecimal digits"
    if prefix == "0x":
        return "0x takes hexadecimal digits, and U at most after them"
    if word.isdigit():
        return "a leading 0 makes it octal, with digits 0 to 7"
    return "write digits, and no suffix but U"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


class Cursor:
    """A place in the token list: what stands here, stepping over it, and errors about it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens = tokenize(source)
        self.at = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    @property
    def kind(self) -> str:
        return self.tokens[self.at].kind

    @property
    def text(self) -> str:
        return self.tokens[self.at].text

    def after(self) -> str:
        """The text of the token after this one, "" at the end."""
        return self.tokens[self.at + 1].text if self.at + 1 < len(self.tokens) else ""

    def take(self) -> Token:
        """Steps over this token and returns it; stays at the end."""
        token = self.tokens[self.at]
        if token.kind != "end":
            self.at += 1
        return token

    def accept(self, text: str) -> bool:
        """Steps over this token if it is `text`."""
        if self.tokens[self.at].text != text:
            return False
        self.at += 1
        return True

    def expect(self, text: str, where: str) -> Token:
        """Steps over `text`; PtxError that says it was expected `where` otherwise."""
        if self.tokens[self.at].text != text:
            raise self.error(f"expected {text!r} {where}, found {self.found()}")
        return self.take()

    def expect_kind(self, kind: str, what: str) -> Token:
        """Steps over a token of `kind`; PtxError that says `what` was expected otherwise."""
        if self.tokens[self.at].kind != kind:
            raise self.error(f"expected {what}, found {self.found()}")
        return self.take()

    def found(self) -> str:
        """What stands here, for an error."""
        return "the end of the text" if self.kind == "end" else _short(self.text)

    def span(self, start: int) -> Span:
        """From offset `start` to the end of the last token taken."""
        return self.source.span(start, self.tokens[self.at - 1].end if self.at else start)

    def error(self, message: str, token: Token | None = None) -> PtxError:
        """The error to raise about `token`, or about what stands here."""
        token = token or self.token
        return self.source.error(message, token.start, token.end)
