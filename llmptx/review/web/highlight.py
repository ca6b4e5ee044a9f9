"""PTX in colours, line by line, with what the ISA table says of each instruction. Escapes; runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup, escape
from pygments.lexer import RegexLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text, _TokenType

from llmptx.isa import table
from llmptx.review.plain import plain

LONGEST = 4000  # characters of a line that are coloured


class PtxLexer(RegexLexer):
    """PTX, whole: guards, hexadecimal floats, launch lines, and opcodes with their modifiers as one word."""

    name = "PTX"
    tokens = {  # noqa: RUF012 - pygments wants a dict here
        "root": [
            (r"//@[^\n]*", Comment.Special),
            (r"//[^\n]*", Comment),
            (r"/\*", Comment, "comment"),
            (r'"[^"\n]*"?', String),
            (r"@!?", Operator, "guard"),
            (r"[%][\w$]+(?:\.[xyzw])?", Name.Variable),
            (r"[A-Za-z_$][\w$]*(?=:)", Name.Label),
            (r"0[fFdD][0-9a-fA-F]+|0[xX][0-9a-fA-F]+U?|\b\d[\w.]*", Number),
            (r"\.[A-Za-z_][\w:]*", Keyword.Type),
            (r"[a-z][a-z0-9]*(?:\.[\w:]+)+|\b(?:ret|exit|trap|brkpt|bra|call|activemask)\b", Keyword),
            (r"[A-Za-z_$][\w$]*", Name),
            (r"[{}()\[\],;<>|]", Punctuation),
            (r"[-+*/=!~&^?:]", Operator),
            (r"\s+", Text),
            (r".", Text),
        ],
        "guard": [(r"%?[\w$]+", Name.Builtin, "#pop"), (r"", Text, "#pop")],
        "comment": [(r"[^*]+", Comment), (r"\*/", Comment, "#pop"), (r"\*", Comment)],
    }


_CLASSES: Sequence[tuple[_TokenType, str]] = (
    (Comment.Special, "plan"),
    (Comment, "c"),
    (Keyword.Type, "t"),
    (Keyword, "k"),
    (Name.Label, "l"),
    (Name.Builtin, "g"),
    (Name.Variable, "v"),
    (Number, "n"),
    (String, "s"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a text: its number from 1, and its HTML."""

    number: int
    html: Markup


def highlighted(text: str) -> tuple[Line, ...]:
    """The lines of a text. Control and format characters are written out."""
    rows: list[list[str]] = [[]]
    for kind, value in PtxLexer().get_tokens(plain(text).replace("\r", "")):
        mark = next((name for token, name in _CLASSES if token is kind or kind in token), "")  # type: ignore[comparison-overlap]
        for at, piece in enumerate(value.split("\n")):
            if at:
                rows.append([])
            if piece:
                rows[-1].append(_span(mark, piece))
    while rows and not "".join(rows[-1]).strip():
        rows.pop()
    return tuple(Line(number, Markup("".join(row))) for number, row in enumerate(rows, start=1))


def _span(mark: str, text: str) -> str:
    text, rest = text[:LONGEST], text[LONGEST:]
    more = f" ... {len(rest):,} more characters" if rest else ""
    if not mark:
        return str(escape(text + more))
    told = f' data-help="{escape(help_of(text))}"' if mark == "k" and help_of(text) else ""
    return f'<span class="{mark}"{told}>{escape(text + more)}</span>'


@cache
def help_of(instruction: str) -> str:
    """What the table says of `fma.rn.f32`: the form it matches, and its meaning; empty where it has none."""
    opcode, _, modifiers = instruction.partition(".")
    rows = table().get(opcode, ())
    for row in rows:
        if row.regex.fullmatch("." + modifiers if modifiers else ""):
            return f"{row.pattern}\n{' '.join(row.doc.split())}".strip()
    docs = dict.fromkeys(" ".join(row.doc.split()) for row in rows if row.doc)
    return f"{opcode}: {next(iter(docs))}" if docs else ""
