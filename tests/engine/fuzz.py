"""Random programs by the thousand against the interpreter, and random text against the parser.

    python -m tests.engine.fuzz programs --count 20000 --seed 0 --journal fuzz.jsonl
    python -m tests.engine.fuzz parser --count 1000000 --seed 0 --journal parser.jsonl

Number i of a seed is always the same case. The journal has one line a hundred cases and one a failure, so
a run that was stopped goes on where it was. Exits 1 where anything failed.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmptx.ptx import parse
from llmptx.ptx.errors import PtxError
from llmptx.run.cpu import run_job
from tests.engine import programs
from tests.engine.kernels import WAYS

THREADS = [1, 31, 32, 33, 64, 70]
BATCH = 100


@dataclass(frozen=True)
class Case:
    """A program, its data, and what the interpreter says comes out."""

    text: str
    blocks: int
    threads: int
    data: NDArray[np.uint32]
    want: NDArray[np.uint32]


def data_for(random: Random, threads: int) -> NDArray[np.uint32]:
    few = [0, 1, 2, 3, 7, 500, 5000]
    return np.array(
        [random.choice([*few, random.getrandbits(32)]) for _ in range(threads + programs.DATA)], np.uint32
    )


def structured(random: Random, meets: bool) -> Case:
    """meets: its threads exchange values."""
    threads, blocks = random.choice(THREADS), random.choice([1, 2])
    data = data_for(random, threads)
    program = programs.Maker(random, meets, threads % 32 == 0).program()
    want = programs.interpret(program, blocks, threads, data.tolist())
    return Case(programs.structured(program, threads), blocks, threads, data, want)


def graph(random: Random, tangled: bool) -> Case:
    """tangled: its loops may have two ways in."""
    threads, blocks = random.choice(THREADS), random.choice([1, 2])
    data = data_for(random, threads)
    nodes = programs.graph(random, tangled)
    want = programs.interpret_graph(nodes, blocks, threads, data.tolist())
    return Case(programs.graph_text(nodes), blocks, threads, data, want)


def case(seed: int, number: int) -> Case:
    random = Random(f"{seed}/{number}")
    make = graph if number & 2 else structured
    return make(random, bool(number & 1))


def difference(case: Case, ways: Sequence[tuple[int, bool]] = WAYS) -> str:
    """How one of the ways to run the program differs from the interpreter; empty where none does."""
    for width, check in ways:
        job = programs.job(
            case.text, case.blocks, case.threads, case.data, width=width, check=check, budget=1_000_000
        )
        outcome = run_job(job)
        if outcome.status != "ok":
            return f"width {width}, check {check}: {outcome.status} {outcome.findings}"
        got = outcome.buffers["out"].reshape(case.want.shape)
        wrong = np.argwhere(got != case.want)
        if wrong.size:
            row, thread = wrong[0]
            return (
                f"width {width}, check {check}: {len(wrong)} words differ, first {row} of thread {thread}: "
                f"{got[row, thread]:#x}, not {case.want[row, thread]:#x}"
            )
    return ""


def _try_program(seed: int, number: int) -> dict[str, str] | None:
    drawn = case(seed, number)
    # Compiling is what takes the time: warps as vectors always, and one of the other ways in turn.
    ways = [WAYS[0], WAYS[1 + number // 4 % 3]]
    try:
        found = difference(drawn, ways)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    return {"what": found, "text": drawn.text} if found else None


_PIECES = """.version .target .visible .entry .func .param .reg .shared .global .const .align .b8
.address_size .u32 .s32 .f32 .f64 .pred .u64 .b64 .v2 .v4 ld.param.u64 st.global.f32 add.s32
mad.lo.s32 setp.lt.s32 bra ret exit call @%p0 @!%p1 %r1 %rd2 %f3 %tid.x [ ] { } ( ) < > , ; : |
+ - * / % ! ~ & ^ = ? << >> == && 0 1 -1 0x1F 0b11 017 1.5 1e9 0f3F800000 0d3FF0000000000000
8.0 sm_80 64 k L1: $L__BB0_1: _ "text" // /* */ .loc .file .section .branchtargets
.callprototype .pragma .extern .weak .maxntid .ptr .noreturn 99999999999999999999"""
PIECES = [*_PIECES.split(), "\\", "\n", "\t"]


def random_text(random: Random, known: list[str]) -> str | bytes:
    """Bytes, tokens in any order, or a true text with a few places changed."""
    way = random.randrange(4)
    if way == 0:
        return random.randbytes(random.randint(0, 60)).decode("latin-1")
    if way == 1:
        return " ".join(random.choice(PIECES) for _ in range(random.randint(0, 40)))
    text = list(random.choice(known))
    for _ in range(random.randint(1, 4)):
        at, end = random.randrange(len(text) + 1), random.randint(0, 8)
        piece = random.choice(
            ["", random.choice(PIECES), chr(random.randrange(1, 0x250)), "".join(text[at:][:40])]
        )
        text[at : at + end] = piece
    return "".join(text)


def _known_texts() -> list[str]:
    few = [case(0, number).text for number in range(4)]
    return [*few, *(text[: len(text) // 2] for text in few), programs.BLEND, programs.HEADER + programs.BLEND]


def _try_parse(known: list[str]) -> Callable[[int, int], dict[str, str] | None]:
    def attempt(seed: int, number: int) -> dict[str, str] | None:
        text = random_text(Random(f"{seed}/{number}"), known)
        try:
            parse(text)
        except PtxError:
            return None
        except Exception as error:
            return {"what": f"{type(error).__name__}: {error}", "text": repr(text)}
        return None

    return attempt


def _state(journal: Path, what: str, seed: int) -> tuple[int, int]:
    """(the first number not tried, failures so far), as a journal tells."""
    after, failed = 0, 0
    for line in journal.read_text().splitlines() if journal.exists() else ():
        entry: dict[str, Any] = json.loads(line)
        if (entry["fuzz"], entry["seed"]) == (what, seed):
            after = max(after, entry.get("tried", 0))
            failed += "number" in entry
    return after, failed


def run(what: str, seed: int, count: int, journal: Path) -> int:
    """Tries the numbers that the journal has not; returns how many of all have failed."""
    attempt = _try_program if what == "programs" else _try_parse(_known_texts())
    after, failed = _state(journal, what, seed)
    begun, first = time.time(), after
    gc.disable()  # a fifth of the time of a compile otherwise; a batch leaves little that is in cycles
    with journal.open("a") as file:
        while after < count:
            upto = min(count, after + (BATCH if what == "programs" else 100 * BATCH))
            for number in range(after, upto):
                wrong = attempt(seed, number)
                if wrong:
                    failed += 1
                    line = {"fuzz": what, "seed": seed, "number": number} | wrong
                    print(json.dumps(line), file=file, flush=True)
            after = upto
            gc.collect()
            print(json.dumps({"fuzz": what, "seed": seed, "tried": after}), file=file, flush=True)
            pace = (time.time() - begun) / (after - first)
            print(f"{what}: {after} of {count}, {failed} failed, {1e3 * pace:.2f} ms each", file=sys.stderr)
    return failed


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("what", choices=["programs", "parser"])
    arguments.add_argument("--count", type=int, default=20_000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument(
        "--journal", type=Path, required=True, help="a file of JSON lines; made if missing"
    )
    given = arguments.parse_args()
    failed = run(given.what, given.seed, given.count, given.journal)
    print(f"{given.what}: {given.count} of seed {given.seed} tried, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
