"""Which kernel parameters an address comes from: a pass of checked mode.

An index that is far too large may lead into another buffer, where there is memory. An address made from one
pointer alone must stay in that pointer's buffer. Only what is certain counts: an address that may come from
memory, from a variable, or from two pointers is let be. Knows blocks and registers; what a parameter holds is
known at launch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmptx.engine.blocks import Flow, Sync, defs, slot_names, slot_of
from llmptx.engine.program import Ins, Program, registers_of
from llmptx.ptx.ast import Addr, Operand, Reg, Sym, Vec

Homes = Mapping[int, frozenset[int]]  # by pc, offsets of parameters in the parameter buffer

_ACCESSES = ("ld", "ldu", "st", "atom", "red")
_MEMORY = ("ld", "ldu", "atom")
# Results are numbers, whatever went in.
_NUMBERS = frozenset(
    {"mul", "mul24", "shl", "shr", "div", "rem", "popc", "clz", "bfind", "setp", "set", "sad"}
)
_SUMS = frozenset({"add", "sub", "addc", "subc"})
_PRODUCT_SUMS = frozenset({"mad", "madc", "mad24"})


@dataclass(frozen=True, slots=True)
class _From:
    """params: those it hangs on; other: it may be an address from elsewhere."""

    params: frozenset[int] = frozenset()
    other: bool = False


_NUMBER = _From()
_ELSEWHERE = _From(other=True)


def homes(flow: Flow) -> Homes:
    """Accesses whose address comes from parameters and nothing else, and which those are."""
    found = _Provenance(flow).known
    result = {}
    for block in flow.blocks:
        for ins in block.body:
            if ins.opcode not in _ACCESSES:
                continue
            base = next(o.base for o in ins.matched.instruction.operands if isinstance(o, Addr))
            source = found.get(base.name, _NUMBER) if isinstance(base, Reg) else _ELSEWHERE
            if source.params and not source.other:
                result[ins.pc] = source.params
    return result


class _Provenance:
    """known: by register. Grows until it holds of every definition."""

    def __init__(self, flow: Flow) -> None:
        self.program: Program = flow.program
        self.known: dict[str, _From] = {}
        code = [ins for block in flow.blocks for ins in block.body]
        code += [block.end.ins for block in flow.blocks if isinstance(block.end, Sync)]
        changed = True
        while changed:
            changed = False
            for ins in code:
                for name, source in self._results(ins):
                    old = self.known.get(name, _NUMBER)
                    new = _join((old, source))
                    if new != old:
                        self.known[name], changed = new, True

    def _results(self, ins: Ins) -> Iterable[tuple[str, _From]]:
        slot = slot_of(ins)
        names = [name for name, _ in slot_names(self.program, ins, slot)] if slot else []
        operands = ins.matched.instruction.operands
        if names:
            other = next(o for o in operands if not isinstance(o, Addr))
            values = other.elements if isinstance(other, Vec) else (other,)
            for name, value in zip(names, values, strict=True):
                if ins.opcode == "st":
                    yield name, self._of(value)
                else:
                    yield from ((n, self.known.get(name, _NUMBER)) for n in registers_of(value))
        elif ins.opcode in _MEMORY:
            yield from self._loaded(ins)
        else:
            source = self._computed(ins)
            yield from ((name, source) for name in defs(self.program, ins))

    def _loaded(self, ins: Ins) -> Iterable[tuple[str, _From]]:
        type = ins.matched.modifiers.get("type")
        address = next(o for o in ins.matched.instruction.operands if isinstance(o, Addr))
        base = address.base if isinstance(address.base, Sym) else None
        placed = self.program.params.get(base.name) if base else None
        for i, name in enumerate(defs(self.program, ins)):
            if type.bytes < 8:
                yield name, _NUMBER
            elif base is None or placed is None:
                yield name, _ELSEWHERE
            else:
                yield name, _From(frozenset({placed.offset + base.offset + address.offset + 8 * i}))

    def _computed(self, ins: Ins) -> _From:
        sources = [o for spec, o, _ in ins.matched.operands if not spec.destination]
        if ins.opcode in _NUMBERS:
            return _NUMBER
        if ins.opcode in _PRODUCT_SUMS:
            return self._of(sources[-1])
        parts = [self._of(o) for o in sources]
        if ins.opcode in _SUMS:
            params = frozenset().union(*(p.params for p in parts))
            # Of a pointer and a number from memory, the number is the offset.
            return _From(params, any(p.other and (p.params or not params) for p in parts))
        return _join(parts)

    def _of(self, operand: Operand) -> _From:
        if isinstance(operand, Sym):
            return _ELSEWHERE
        parts = [self.known.get(name, _NUMBER) for name in registers_of(operand)]
        # Halves put together may be any address.
        return _join([*parts, _ELSEWHERE] if isinstance(operand, Vec) else parts)


def _join(parts: Iterable[_From]) -> _From:
    parts = list(parts)
    return _From(frozenset().union(*(p.params for p in parts)), any(p.other for p in parts))
