"""Kernels that are nearly the same: sets of instruction runs, compared by MinHash.

An inserted instruction breaks runs of text, and renamed registers all of it; runs of opcodes with their types
hold. Needs the `hf` extra (datasketch).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmptx.corpus.store import passing
from llmptx.ptx import ast, parse
from llmptx.ptx.errors import PtxError
from llmptx.record import Record

RUN = 3
PERMUTATIONS = 128


def shingles(text: str) -> frozenset[str]:
    """Runs of three instructions, opcode and modifiers, in a text's order. Raises PtxError."""
    opcodes = [".".join((i.opcode, *i.modifiers)) for i in _instructions(parse(text))]
    return frozenset(" ".join(opcodes[at : at + RUN]) for at in range(max(1, len(opcodes) - RUN + 1)))


def unlike(records: Iterable[Record], threshold: float = 0.9) -> Iterator[Record]:
    """The records without those whose passing kernel is nearly that of an earlier one of routine and dtype.

    threshold  the least share of runs in common (Jaccard) of kernels that are nearly the same
    Records without a kernel that passed, or that parses, are all kept.
    """
    from datasketch import MinHash, MinHashLSH

    indices: dict[tuple[str, str], Any] = {}
    kept: list[frozenset[str]] = []
    for record in records:
        candidate = passing(record)
        try:
            runs = shingles(candidate.text) if candidate else frozenset()
        except PtxError:
            runs = frozenset()
        if runs:
            sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
            sketch.update_batch([run.encode() for run in sorted(runs)])
            task = record.routine, record.dtype
            if task not in indices:
                # An index at the threshold itself misses one in seven of those that lie just above it.
                indices[task] = MinHashLSH(threshold=0.7 * threshold, num_perm=PERMUTATIONS)
            if any(_alike(kept[at], runs) >= threshold for at in indices[task].query(sketch)):
                continue
            indices[task].insert(len(kept), sketch)
            kept.append(runs)
        yield record


def _alike(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)


def _instructions(module: ast.Module) -> Iterator[ast.Instruction]:
    for function in module.functions:
        yield from _within(function.body or ())


def _within(statements: Iterable[Any]) -> Iterator[ast.Instruction]:
    for statement in statements:
        if isinstance(statement, ast.Instruction):
            yield statement
        elif isinstance(statement, ast.Scope):
            yield from _within(statement.body)
