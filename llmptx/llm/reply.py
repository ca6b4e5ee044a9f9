"""What arrives of a reply, whichever protocol it comes by: gathered piece by piece, then read as one.

Knows no protocol and no endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Reply:
    """What has arrived so far.

    reasoning  pieces by kind: full, summary or encrypted
    finish     the endpoint's reason, "" while there is none
    usage      tokens as `prompt_tokens` and `completion_tokens`, and `cost` where it is stated
    """

    content: list[str] = field(default_factory=list)
    reasoning: dict[str, list[str]] = field(default_factory=dict)
    finish: str = ""
    model: str = ""
    usage: Mapping[str, Any] | None = None

    def think(self, kind: str, piece: object) -> None:
        """Add a piece of reasoning; what is no text is none."""
        if isinstance(piece, str) and piece:
            self.reasoning.setdefault(kind, []).append(piece)

    @property
    def thought(self) -> tuple[str, str]:
        """The reasoning and its kind: the fullest there is."""
        for kind in ("full", "summary", "encrypted"):
            if pieces := self.reasoning.get(kind):
                return joined(pieces), kind
        return "", "none"


def joined(pieces: Sequence[str]) -> str:
    """The pieces as one text that UTF-8 can hold: JSON can name half a surrogate pair, which no text has."""
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def short(value: object) -> str:
    """A name of at most 200 characters; "" for what is no text."""
    return joined([value[:200]]) if isinstance(value, str) else ""


def count(value: object) -> int:
    """A number of tokens; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
