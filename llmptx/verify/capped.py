"""A launch plan with fewer blocks than it asks for, to run the loops that only huge extents would reach.

A grid of `min(tiles,2147483647)` promises that the kernel goes round until all tiles are done, however many
there are. No test can have that many; but with the cap lowered to 2, a few tiles will do. That is fair only
to a kernel that learns the number of blocks from the hardware or from its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Set
from dataclasses import replace

from llmptx.ptx.ast import Int, Module
from llmptx.ptx.plan import Expr, Plan, PlanLaunch
from llmptx.verify import walk
from llmptx.verify.plan_run import GRID_LIMITS

BLOCKS = 2


def capped(plan: Plan, module: Module, blocks: int = BLOCKS) -> Plan | None:
    """The plan with every cap of a grid lowered to `blocks`, wherever it stands; None where none may be.

    No cap is lowered that the kernel has no way to ask for, or that it holds as a number, in blocks or in
    threads. The hardware's own limits are numbers like any other there: 2147483647 is also the largest int.
    """
    caps = {cap for launch in plan.launches for axis in launch.grid for cap in _caps(axis)}
    known = set(_numbers(module))
    threads = {math.prod(launch.block) for launch in plan.launches}
    caps = {c for c in caps if c in GRID_LIMITS or not known & {c, *(c * each for each in threads)}}
    if not caps or not all(_asks(launch, module) for launch in plan.launches if _has(launch, caps)):
        return None

    def lower(expression: Expr) -> Expr:
        operands = tuple(map(lower, expression.operands))
        if expression.operator == "min":
            operands = tuple(
                Expr("int", blocks) if o.operator == "int" and o.value in caps else o for o in operands
            )
        return replace(expression, operands=operands)

    return replace(
        plan,
        launches=tuple(_lowered(launch, lower) for launch in plan.launches),
        buffers=tuple(replace(buffer, size=lower(buffer.size)) for buffer in plan.buffers),
    )


def _lowered(launch: PlanLaunch, lower: Callable[[Expr], Expr]) -> PlanLaunch:
    x, y, z = map(lower, launch.grid)
    args = launch.args
    if args is not None:
        args = tuple(lower(each) if isinstance(each, Expr) else each for each in args)
    return replace(launch, grid=(x, y, z), args=args)


def _caps(expression: Expr) -> Iterator[int]:
    """Numbers that a `min` holds an extent to."""
    if expression.operator == "min":
        yield from (o.value for o in expression.operands if o.operator == "int" and o.value > BLOCKS)
    for operand in expression.operands:
        yield from _caps(operand)


def _has(launch: PlanLaunch, caps: Set[int]) -> bool:
    return any(cap in caps for axis in launch.grid for cap in _caps(axis))


def _asks(launch: PlanLaunch, module: Module) -> bool:
    """Whether a kernel can know how many blocks there are: by %nctaid, or by an argument with a cap."""
    if any(isinstance(each, Expr) and any(_caps(each)) for each in launch.args or ()):
        return True
    functions = [f for f in module.functions if f.name == launch.entry or f.kind == "func"]
    registers = (reg.name for f in functions for i in walk.instructions(f) for reg in walk.registers(i))
    return any(name.startswith("%nctaid") for name in registers)


def _numbers(module: Module) -> Iterator[int]:
    """Every whole number among the operands."""
    for function in module.functions:
        for instruction in walk.instructions(function):
            for operand in instruction.operands:
                for leaf in walk.leaves(operand):
                    if isinstance(leaf, Int):
                        yield leaf.value
