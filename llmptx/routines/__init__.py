"""The catalogue: what can be rewritten, one entry a routine, one module a family.

Knows what a routine means and what its true answers are; knows nothing of PTX, engines, verdicts or models.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Literal

from llmptx.record import Routine

FAMILIES = (
    "arithmetic",
    "rounding",
    "comparison",
    "bitwise",
    "exponential",
    "trigonometric",
    "reduction",
    "scan",
    "product",
    "sorting",
    "special",
)

# What a student is never taught, so that what it can do is measured on routines of a kind it has not seen:
# elementwise, along an axis across threads, and both.
HELD_OUT = frozenset({"trigonometric", "scan", "special"})


class UnknownRoutine(KeyError):  # noqa: N818 - a public name, read as a sentence
    """A name or pattern that is in no entry. `nearest` holds up to five names that look like it."""

    def __init__(self, name: str, nearest: tuple[str, ...], why: str) -> None:
        super().__init__(name)
        self.name = name
        self.nearest = nearest
        hint = (
            f"; did you mean {', '.join(nearest)}?" if nearest else "; `llmptx catalog` lists all there are"
        )
        self.message = f"{why}{hint}"

    def __str__(self) -> str:
        return self.message


@cache
def catalog() -> Mapping[str, Routine]:
    """Every routine by its dotted name, families in order."""
    entries: dict[str, Routine] = {}
    for family in FAMILIES:
        for routine in import_module(f"llmptx.routines.{family}").ROUTINES:
            if routine.name in entries:
                raise ValueError(f"{routine.name} is in the catalogue twice, the second time in {family}.py")
            entries[routine.name] = routine
    return MappingProxyType(entries)


@cache
def families() -> Mapping[str, str]:
    """The family of every routine, by dotted name."""
    return MappingProxyType(
        {
            routine.name: family
            for family in FAMILIES
            for routine in import_module(f"llmptx.routines.{family}").ROUTINES
        }
    )


def split(name: str) -> Literal["train", "test"]:
    """The part of the catalogue a routine is in: whole families are held out, so that nothing leaks.

    Raises UnknownRoutine.
    """
    return "test" if families()[find(name).name] in HELD_OUT else "train"


def find(name: str) -> Routine:
    """The routine of that dotted name, or of that last part of a name where only one has it.

    Raises UnknownRoutine with the nearest names.
    """
    entries = catalog()
    if name in entries:
        return entries[name]
    matches = [full for full in entries if full.rpartition(".")[2] == name]
    if len(matches) == 1:
        return entries[matches[0]]
    if matches:
        raise UnknownRoutine(name, tuple(matches), f"several routines are named {name!r}")
    raise UnknownRoutine(name, _nearest(name), f"no routine is named {name!r}")


def select(patterns: Iterable[str]) -> tuple[Routine, ...]:
    """Routines that match any of the shell patterns (`numpy.*`, `exp*`), in catalogue order; all if none.

    A pattern is tried on the dotted name and on its last part. Raises UnknownRoutine if it matches nothing.
    """
    entries = catalog()
    wanted = list(patterns)
    if not wanted:
        return tuple(entries.values())
    chosen: set[str] = set()
    for pattern in wanted:
        hits = {n for n in entries if fnmatchcase(n, pattern) or fnmatchcase(n.rpartition(".")[2], pattern)}
        if not hits:
            raise UnknownRoutine(pattern, _nearest(pattern), f"no routine matches {pattern!r}")
        chosen |= hits
    return tuple(routine for name, routine in entries.items() if name in chosen)


def _nearest(name: str) -> tuple[str, ...]:
    """Up to five names by how alike their last parts are: the package is the part one remembers least."""
    wanted = name.lower().rpartition(".")[2]
    likeness = {n: difflib.SequenceMatcher(None, wanted, n.rpartition(".")[2]).ratio() for n in catalog()}
    close = sorted((n for n in likeness if likeness[n] >= 0.6), key=lambda n: -likeness[n])
    return tuple(close[:5])
