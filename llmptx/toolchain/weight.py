"""What a kernel costs before it runs: registers, instructions, bytes of fast memory.

Of the machine code ptxas makes, so that two texts of different length and the same code weigh the same. Knows
nothing of right or wrong.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from llmptx.record import TARGETS
from llmptx.toolchain.ptxas import assemble_all


@dataclass(frozen=True, slots=True)
class Weight:
    """The most that any target needs, over all entries.

    registers     of a thread
    instructions  of the machine code
    bytes         of shared memory a block, and of stack and spills a thread
    """

    registers: int
    instructions: int
    bytes: int

    def better_than(self, other: Weight) -> bool:
        """Less in one respect, and not more in any: Pareto's order."""
        pairs = list(zip(astuple(self), astuple(other), strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    def __str__(self) -> str:
        return f"{self.registers} registers, {self.instructions} instructions, {self.bytes} bytes"


def weigh(text: str) -> Weight:
    """Weigh a text. Raises ValueError for one that does not assemble, ToolchainMissing without ptxas."""
    made = assemble_all(text, TARGETS)
    if not all(assembly.ok for assembly in made):
        raise ValueError("a text that does not assemble has no weight")
    used = [resources for assembly in made for resources in assembly.resources]
    return Weight(
        registers=max(r.registers for r in used),
        instructions=max(assembly.instructions for assembly in made),
        bytes=max(r.shared + r.stack + r.spill_stores + r.spill_loads for r in used),
    )
