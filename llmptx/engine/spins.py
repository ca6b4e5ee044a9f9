"""Loops in which a thread may wait for another thread of its block: a lock, a flag, a ticket.

Lanes that run as one vector meet behind a loop, and warps run one after the other up to a barrier: who
waits so for a neighbour would wait for ever. Threads one at a time give way. Knows blocks, definitions and
shapes.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmptx.engine.blocks import Branch, Flow, Loop, uses
from llmptx.engine.emit import Value
from llmptx.engine.flow import WARP_OPS, dominators
from llmptx.engine.program import Ins
from llmptx.ptx.ast import Int, Reg

# Atomics that change nothing where this operand is 0.
_READING = ("add", "or", "xor")
_TAKING = ("cas", "exch")
_WRITING = ("st", "atom", "red")
_PRIVATE = ("param", "const", "local")
_UNSTEADY = (*WARP_OPS, "ld", "atom", "mbarrier", "call")


def waits(flow: Flow, shapes: Mapping[str, Value]) -> bool:
    """Whether a loop ends only when memory changes that nothing in the loop changes.

    One lane alone that polls global memory waits for another block, and may do so as part of a vector.
    """
    return any(_polls(flow, loop, shapes) for loop in flow.loops)


def _polls(flow: Flow, loop: Loop, shapes: Mapping[str, Value]) -> bool:
    ends = (flow.blocks[index] for index in loop.members)
    leaving = [b.end for b in ends if not loop.members.issuperset(b.successors)]
    values = _Loop(flow, loop)
    polls = [
        ins for end in leaving if isinstance(end, Branch) for ins in values.reads(end.pred, frozenset()) or ()
    ]
    return any(map(_shared, polls)) or (bool(polls) and not _alone(flow, loop, shapes))


class _Loop:
    """What a value in a loop hangs on."""

    def __init__(self, flow: Flow, loop: Loop) -> None:
        self.flow, self.loop = flow, loop
        bodies = [ins for index in loop.members for ins in flow.blocks[index].body]
        self.quiet = not any(ins.opcode in _WRITING for ins in bodies)

    def _inside(self, register: str) -> list[Ins]:
        return [ins for at, ins in self.flow.definitions.get(register, ()) if at in self.loop.members]

    def reads(self, register: str, trail: frozenset[str]) -> list[Ins] | None:
        """The polls that a value is made from; None where it is made from anything else that changes."""
        inside = self._inside(register)
        if not inside:
            return []
        if len(inside) > 1 or register in trail or inside[0].opcode in WARP_OPS:
            return None
        ins = inside[0]
        if ins.opcode in ("ld", "atom"):
            return [ins] if self._is_poll(ins) else None
        found: list[Ins] = []
        for name in uses(self.flow.program, ins):
            more = self.reads(name, trail | {register})
            if more is None:
                return None
            found += more
        return found

    def _is_poll(self, ins: Ins) -> bool:
        space = ins.matched.modifiers.get("space")
        if space and space.partition("::")[0] in _PRIVATE:
            return False
        if not all(self._steady(name, frozenset()) for name in uses(self.flow.program, ins)):
            return False
        if ins.opcode == "ld":
            return self.quiet
        ops = set(ins.matched.instruction.modifiers)
        return not ops.isdisjoint(_TAKING) or (not ops.isdisjoint(_READING) and self._zero(ins))

    def _steady(self, register: str, trail: frozenset[str]) -> bool:
        """Whether it is the same in every turn."""
        inside = self._inside(register)
        if not inside:
            return True
        if len(inside) > 1 or register in trail or inside[0].opcode in _UNSTEADY:
            return False
        return all(self._steady(name, trail | {register}) for name in uses(self.flow.program, inside[0]))

    def _zero(self, ins: Ins) -> bool:
        operand = ins.matched.instruction.operands[-1]
        if isinstance(operand, Reg):
            made = self.flow.definitions.get(operand.name, [])
            if len(made) != 1 or made[0][1].opcode != "mov":
                return False
            operand = made[0][1].matched.instruction.operands[-1]
        return isinstance(operand, Int) and operand.value == 0


def _shared(ins: Ins) -> bool:
    """Whether it may read shared memory: what a generic address does is not known."""
    space = ins.matched.modifiers.get("space") or ""
    return space.partition("::")[0] != "global"


def _alone(flow: Flow, loop: Loop, shapes: Mapping[str, Value]) -> bool:
    """Whether one lane at most gets to the loop: behind a test of what differs in every lane for equality."""
    over = dominators(flow)[loop.header]
    for block in flow.blocks:
        end = block.end
        if not (isinstance(end, Branch) and over >> block.index & 1):
            continue
        compare = _comparison(flow, end.pred, shapes)
        if compare is None:
            continue
        ways = (end.then, end.other) if (compare == "eq") != end.negated else (end.other, end.then)
        if over >> ways[0] & 1 and not over >> ways[1] & 1:
            return True
    return False


def _comparison(flow: Flow, predicate: str, shapes: Mapping[str, Value]) -> str | None:
    """`eq` or `ne` where the predicate compares what differs in every lane with what is the same in all."""
    made = flow.definitions.get(predicate, [])
    if len(made) != 1 or made[0][1].opcode != "setp" or made[0][1].guard is not None:
        return None
    test = made[0][1].matched
    names = [o.name for o in test.instruction.operands[1:] if isinstance(o, Reg)]
    kinds = sorted(shapes[n].kind if n in shapes else "u" for n in names)
    compare: str = test.modifiers.get("cmp")
    return compare if compare in ("eq", "ne") and kinds in (["a"], ["a", "u"]) else None
