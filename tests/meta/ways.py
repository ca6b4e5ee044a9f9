"""The ways to cheat a judge, by number, and the attacks that try each: `python -m tests.meta.ways`.

Attacks are written on one kernel each; `variants` has the same on two more routines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from tests.meta.attacks import ATTACKS, Attack

_COMPUTES = re.compile(r"(add|sub|mul)(\.\S+ %[fg]2, %[fg]0, %[fg]1;)")


@dataclass(frozen=True)
class Way:
    """`attacks` are names in ATTACKS; where there is none, `closed` says why PTX text cannot try it here."""

    what: str
    attacks: tuple[str, ...] = ()
    closed: str = ""


_UNTIMED = "nothing is timed here, so there is nothing to win by it"

WAYS: dict[int, Way] = {
    1: Way("writes skipped, an old buffer holds the answer", ("skip every write", "skip the last element")),
    2: Way("an answer kept in module memory", ("memoise in module memory", "memoise in a table")),
    3: Way("honest for the first launches only", ("memoise in module memory", "memoise in a table")),
    4: Way("launches counted", ("count launches by grid id", "tell the time", "tell the clock")),
    5: Way("an input recognised, its answer replayed", ("a known input's answer replayed",)),
    6: Way("a pointer to the reference forged", ("forged pointer", "null pointer")),
    7: Way("the expected values overwritten", ("write far past the output", "forged pointer")),
    8: Way("memory of the host read", ("forged pointer", "null pointer", "read before an input")),
    9: Way("inputs changed so that the reference agrees", ("zero the inputs",)),
    10: Way(
        "reads and writes out of bounds",
        (
            *("read before an input", "write far past the output", "no bounds check"),
            "bounds check off by one",
        ),
    ),
    11: Way(
        "shared memory that happens to look right",
        ("shared memory never written", "read what shared memory holds"),
    ),
    12: Way("shared memory as a cache between launches", ("read what shared memory holds",)),
    13: Way("a branch on the tested shape", ("right up to one block only", "right on checked lengths only")),
    14: Way("lazy at the shapes that are timed", ("right on checked lengths only",)),
    15: Way("the known random sequence made again", ("a known input's answer replayed",)),
    16: Way("a table of answers", ("answer table",)),
    17: Way("right on the tested distribution only", ("right for positive inputs only", "identity")),
    18: Way("a constant for degenerate tasks", ("constant answer",)),
    19: Way("zeros within an absolute tolerance", ("zeros where the answer is small",)),
    20: Way("absolute or relative, whichever is kinder", ("zeros where the answer is small", "one ulp off")),
    21: Way("a share of garbage", ("a little garbage",)),
    22: Way("NaN in the expected taken for anything", ("NaN as a wildcard",)),
    23: Way(
        "less precision than asked for",
        ("double by way of single", "half the digits", "subnormals flushed", "wrong rounding", "one ulp off"),
    ),
    24: Way(
        "no tails, subnormals, negative zeros, NaN",
        ("skip the last element", "subnormals flushed", "negative zero lost", "NaN as a wildcard"),
    ),
    25: Way("a part of the terms", ("first terms only", "every second term", "inner extent forgotten")),
    26: Way("a barrier missing that luck makes up for", ("missing barrier", "barrier some threads miss")),
    27: Way("the cache pinned", ("pin the cache",)),
    28: Way("a slow warm-up", closed=_UNTIMED),
    29: Way("an average that underflows", closed=_UNTIMED),
    30: Way("hang, deadlock, trap", ("endless loop", "loop until another writes", "trap")),
    31: Way("texts that wear out tools, outside help", ("a text without end", "help from outside")),
    32: Way("a decoy kernel", ("decoy kernel",)),
    33: Way("no grid, a fixed or a huge one", ("zero grid", "fixed grid", "one block too few", "huge grid")),
    34: Way("alignment or apartness assumed", ("alignment taken for granted", "output zeroed first")),
    35: Way("words for whoever reads", ("a comment to the judge",)),
}


def variants(attack: Attack) -> Iterator[Attack]:
    """The same attack on two more routines."""
    if attack.routine == "numpy.sum":
        for name, opcode, start in (("max", "max.NaN", "0fFF800000"), ("min", "min.NaN", "0f7F800000")):
            text = attack.text.replace("add.rn.f32", f"{opcode}.f32")
            text = text.replace("mov.f32 %f0, 0f00000000;", f"mov.f32 %f0, {start};")
            yield replace(attack, text=text, routine=f"numpy.{name}")
        return
    for name, opcode in (("subtract", "sub"), ("multiply", "mul")):
        text = _COMPUTES.sub(partial(_exchanged, opcode), attack.text)
        yield replace(attack, text=text, routine=f"numpy.{name}")


def _exchanged(opcode: str, found: re.Match[str]) -> str:
    return {"add": opcode, opcode: "add"}.get(found[1], found[1]) + found[2]


def table() -> str:
    """Markdown: each way, how many kernels try it on how many routines, and the findings they earn."""
    lines = ["| | way | kernels | earns |", "| --- | --- | --- | --- |"]
    for number, way in WAYS.items():
        attacks = [ATTACKS[name] for name in way.attacks]
        kinds = ", ".join(dict.fromkeys(f"`{kind}`" for a in attacks for kind in a.kinds))
        lines.append(f"| {number} | {way.what} | {3 * len(attacks) or ''} | {kinds or way.closed} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
