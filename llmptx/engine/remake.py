"""Registers that a unit need not keep over a cut: those made from what never changes are made again.

Knows definitions, uses and shapes; emits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmptx.engine.blocks import Flow, uses
from llmptx.engine.emit import Value
from llmptx.engine.flow import dominators
from llmptx.engine.program import Ins, registers_of
from llmptx.ptx.ast import Addr, Reg

# Scalar arithmetic of one instruction or two, without state.
CHEAP = frozenset(["mov", "add", "sub", "mul", "mad", "shl", "cvt", "cvta", "ld"])
STEADY = ("%tid", "%ntid", "%ctaid", "%nctaid", "%laneid", "%warpid")
MOST = 12  # instructions that are made again at one cut


@dataclass
class Remaking:
    """Asks once for every register. shapes: as `rows.Shapes` found them; varying registers are kept."""

    flow: Flow
    shapes: Mapping[str, Value]
    _made: dict[str, Ins | None] = field(default_factory=dict)
    _over: dict[int, int] | None = None

    def split(self, live: list[str], block: int) -> tuple[list[str], list[Ins]]:
        """(registers to keep over the cut that ends a block, instructions that make the others, in order)."""
        kept: list[str] = []
        again: dict[int, Ins] = {}
        for name in live:
            more: dict[int, Ins] = {}
            if self._collect(name, block, more, frozenset()) and len(again | more) <= MOST:
                again |= more
            else:
                kept.append(name)
        return kept, list(again.values())

    def _collect(self, name: str, block: int, found: dict[int, Ins], trail: frozenset[str]) -> bool:
        """Adds what makes a register, operands first; False where it must be kept."""
        ins = self._maker(name, block)
        if ins is None or name in trail or len(found) > MOST:
            return False
        if not all(
            self._collect(source, block, found, trail | {name}) for source in uses(self.flow.program, ins)
        ):
            return False
        found.setdefault(ins.pc, ins)
        return True

    def _maker(self, name: str, block: int) -> Ins | None:
        """Its one instruction, if that has been run whenever the block ends, and is cheap and steady."""
        definitions = self.flow.definitions.get(name, [])
        shape = self.shapes.get(name)
        if len(definitions) != 1 or (shape and shape.kind == "v"):
            return None
        at, ins = definitions[0]
        if not self._dominates(at, block):
            return None
        if name not in self._made:
            self._made[name] = ins if _steady(self.flow, ins) else None
        return self._made[name]

    def _dominates(self, above: int, below: int) -> bool:
        if self._over is None:
            self._over = dominators(self.flow)
        return bool(self._over[below] >> above & 1)


def _steady(flow: Flow, ins: Ins) -> bool:
    matched = ins.matched
    if ins.opcode not in CHEAP or ins.guard is not None or "cc" in matched.instruction.modifiers:
        return False
    sources = [operand for spec, operand, _ in matched.operands if not spec.destination]
    if len(matched.operands) - len(sources) != 1 or matched.instruction.opcode != ins.opcode:
        return False
    if ins.opcode == "ld":
        named = [o for o in matched.instruction.operands if isinstance(o, Addr)]
        return matched.modifiers.get("space") == "param" and all(
            not isinstance(o.base, Reg) and getattr(o.base, "name", "") in flow.program.params for o in named
        )
    special = {n for o in sources for n in registers_of(o)} - set(flow.program.registers)
    return all(name.partition(".")[0] in STEADY for name in special)
