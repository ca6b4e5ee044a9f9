"""Control flow of a flat program: basic blocks, a loop-contiguous order, dominance, liveness, divergence.

Knows instructions only as definitions, uses and ways to leave a block; no LLVM, no values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from llmptx import isa
from llmptx.engine.blocks import (
    Block,
    Branch,
    Exit,
    Flow,
    Invoke,
    Jump,
    Leave,
    Loop,
    Switch,
    Sync,
    Terminator,
    defs,
    end_defs,
    end_uses,
    uses,
)
from llmptx.engine.program import BARRIERS, Call, Ins, Mark, Program, Return
from llmptx.engine.webs import separate
from llmptx.ptx.ast import Instruction, Int, Sym
from llmptx.ptx.errors import PtxError

WARP_OPS = ("shfl", "vote", "match", "redux", "activemask", "elect")
MATRIX_OPS = ("mma", "ldmatrix", "stmatrix", "movmatrix")
# A barrier of the warp that no program wrote: all lanes come before any of them reads.
MEETING = isa.match(Instruction("bar", ("warp", "sync"), (Int(0xFFFFFFFF),)))


class Irreducible(Exception):  # noqa: N818 - a fact about the code, not a fault in it
    """A loop with two ways in: masks cannot run it, threads one at a time can."""


def build(program: Program, threads: bool) -> Flow:
    """Blocks of the program, unreachable ones gone, cut at barriers; for threads one at a time at warp
    operations too.

    Raises Irreducible for a loop with two ways in, unless for threads.
    """
    starts: dict[str, int] = {}
    blocks = [Block(0)]
    pending: list[tuple[Block, Ins]] = []

    def fresh() -> Block:
        blocks.append(Block(len(blocks)))
        return blocks[-1]

    current: Block | None = blocks[0]
    for item in program.code:
        if isinstance(item, Mark):
            if current is None or current.body or current is blocks[0] or item.name in starts:
                following = fresh()
                if current is not None:
                    current.end = Jump(following.index)
                current = following
            starts[item.name] = current.index
            continue
        if current is None:
            current = fresh()
        if isinstance(item, Return):
            current.end = Leave(item.function)
            current = None
        elif isinstance(item, Call):
            following = fresh()
            current.end = Invoke(item, (), following.index)
            current = following
        else:
            if _reads_matrices(item):
                meeting = Ins(MEETING, item.guard, item.pc, shadow=True)
                current = _place(meeting, current, fresh, pending, threads)
                assert current is not None
            current = _place(item, current, fresh, pending, threads)
    for block, ins in pending:
        _resolve(program, block, ins, starts)
    for block in blocks:
        if isinstance(block.end, Invoke):
            labels = (program.frames[name].label for name in block.end.call.callees)
            block.end = replace(block.end, targets=tuple(starts[label] for label in labels))
    flow = Flow(program, blocks)
    _prune(flow)
    separate(program, flow.blocks)
    try:
        _layout(flow, {b.index for b in flow.blocks}, 0, None)
        flow.elsewhere = _elsewhere(flow)
    except Irreducible:
        if not threads:
            raise
        # Threads one at a time follow plain branches: any order will do.
        flow.order = [b.index for b in flow.blocks]
        flow.loops, flow.loop_of = [], {}
    liveness(flow)
    return flow


def _place(
    ins: Ins, block: Block, fresh: Callable[[], Block], pending: list[tuple[Block, Ins]], cut_warp_ops: bool
) -> Block | None:
    opcode = ins.opcode
    if opcode in ("bra", "brx"):
        pending.append((block, ins))
        if ins.guard is None:
            return None
        following = fresh()
        block.end = Jump(following.index)
        return following
    if opcode in ("ret", "exit"):
        if ins.guard is None:
            block.end = Exit()
            return None
        leaving, following = fresh(), fresh()
        block.end = Branch(ins.guard.reg.name, ins.guard.negated, leaving.index, following.index, ins.pc)
        return following
    if (opcode in BARRIERS and "warp" not in ins.matched.instruction.modifiers) or (
        cut_warp_ops and _of_warp(ins)
    ):
        sync = block
        following = fresh()
        if ins.guard is not None:
            sync = fresh()
            block.end = Branch(ins.guard.reg.name, ins.guard.negated, sync.index, following.index, ins.pc)
        # The branch was the guard: a value read before the cut is not at hand after it.
        sync.end = Sync(replace(ins, guard=None), following.index)
        return following
    block.body.append(ins)
    return block


def _reads_matrices(ins: Ins) -> bool:
    """Whether it reads what other lanes of the warp may have written just before."""
    return ins.opcode == "ldmatrix" or (ins.opcode == "wmma" and "load" in ins.matched.instruction.modifiers)


def _of_warp(ins: Ins) -> bool:
    if ins.opcode == "wmma":
        return "mma" in ins.matched.instruction.modifiers
    if ins.opcode in BARRIERS:
        return "warp" in ins.matched.instruction.modifiers
    return ins.opcode in WARP_OPS + MATRIX_OPS


def _resolve(program: Program, block: Block, ins: Ins, starts: dict[str, int]) -> None:
    def find(name: str) -> int:
        if name not in starts:
            raise PtxError(f"no label is named {name.partition('@')[0]}", program.spans[ins.pc])
        return starts[name]

    operands = ins.matched.instruction.operands
    target = operands[-1]
    assert isinstance(target, Sym)
    if ins.opcode == "brx":
        if target.name not in program.targets:
            raise PtxError(f"{target.name} names no .branchtargets", program.spans[ins.pc])
        if ins.guard is not None:
            raise PtxError("a guarded brx.idx is not supported: branch around it", program.spans[ins.pc])
        block.end = Switch(ins, tuple(find(name) for name in program.targets[target.name]))
    elif ins.guard is None:
        block.end = Jump(find(target.name))
    else:
        assert isinstance(block.end, Jump)
        block.end = Branch(ins.guard.reg.name, ins.guard.negated, find(target.name), block.end.target, ins.pc)


def _prune(flow: Flow) -> None:
    """Keeps what can be reached, renumbered, empty blocks that only jump bypassed."""
    blocks = flow.blocks

    def through(index: int) -> int:
        seen = set()
        while not blocks[index].body and isinstance(end := blocks[index].end, Jump) and index not in seen:
            seen.add(index)
            index = end.target
        return index

    for block in blocks:
        block.end = _retarget(block.end, through)
    reached: dict[int, None] = {}
    stack = [0]
    while stack:
        index = stack.pop()
        if index not in reached:
            reached[index] = None
            stack.extend(reversed(blocks[index].successors))
    number = {old: new for new, old in enumerate(sorted(reached))}
    kept = [blocks[old] for old in sorted(reached)]
    for block in kept:
        block.index = number[block.index]
        block.end = _retarget(block.end, number.__getitem__)
    flow.blocks = kept


def _retarget(end: Terminator, to: Callable[[int], int]) -> Terminator:
    match end:
        case Jump(target):
            return Jump(to(target))
        case Sync(ins, target):
            return Sync(ins, to(target))
        case Branch(pred, negated, then, other, pc):
            if to(then) == to(other):
                return Jump(to(then))
            return Branch(pred, negated, to(then), to(other), pc)
        case Switch(ins, targets):
            return Switch(ins, tuple(to(t) for t in targets))
        case Invoke(call, targets, after):
            return Invoke(call, tuple(to(t) for t in targets), to(after))
        case _:
            return end


# order and loops


def _layout(flow: Flow, nodes: set[int], entry: int, parent: Loop | None) -> None:
    """Appends `nodes` to the order: components topologically, each loop as one piece, header first."""
    header = parent.header if parent else None
    components = _components(flow, nodes, entry, header)
    for component in components:
        single = len(component) == 1
        only = next(iter(component))
        looping = not single or (only in flow.blocks[only].successors and only != header)
        if not looping:
            flow.order.append(only)
            if parent:
                flow.loop_of[only] = parent
            continue
        heads = {
            s for b in nodes - component for s in flow.blocks[b].successors if s in component and s != header
        }
        if entry in component:
            heads.add(entry)
        if len(heads) != 1:
            raise Irreducible
        head = heads.pop()
        loop = Loop(head, frozenset(component), parent)
        flow.loops.append(loop)
        _layout(flow, set(component), head, loop)


def _components(flow: Flow, nodes: set[int], entry: int, header: int | None) -> list[set[int]]:
    """Strongly connected components in topological order; edges back to `header` do not count (Tarjan, no
    recursion).
    """

    def edges(node: int) -> Iterable[int]:
        return [s for s in flow.blocks[node].successors if s in nodes and s != header]

    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on: set[int] = set()
    stack: list[int] = []
    found: list[set[int]] = []
    work = [(entry, iter(edges(entry)))]
    index[entry] = low[entry] = 0
    stack.append(entry)
    on.add(entry)
    while work:
        node, following = work[-1]
        for successor in following:
            if successor not in index:
                index[successor] = low[successor] = len(index)
                stack.append(successor)
                on.add(successor)
                work.append((successor, iter(edges(successor))))
                break
            if successor in on:
                low[node] = min(low[node], index[successor])
        else:
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == index[node]:
                component = set()
                while True:
                    member = stack.pop()
                    on.discard(member)
                    component.add(member)
                    if member == node:
                        break
                found.append(component)
    return found[::-1]


# who waits where


def _elsewhere(flow: Flow) -> dict[int, frozenset[int]]:
    """By block, where other lanes may wait while it runs.

    Blocks run in order, so they wait at later ones, or at the head of a loop around for its next turn.
    Not where only lanes come that have been here in this turn of the innermost loop: they are here now.
    """
    over = dominators(flow)
    position = {index: i for i, index in enumerate(flow.order)}
    result = {}
    for here in flow.order:
        loop = flow.loop_of.get(here)
        inside = loop.members if loop else frozenset(flow.order)
        found = {w for w in flow.order[position[here] + 1 :] if w not in inside or not over[w] >> here & 1}
        innermost = loop
        while loop is not None:
            latches = [m for m in loop.members if loop.header in flow.blocks[m].successors]
            if loop is not innermost or not all(over[m] >> here & 1 for m in latches):
                found.add(loop.header)
            loop = loop.parent
        result[here] = frozenset(found)
    return result


def dominators(flow: Flow) -> dict[int, int]:
    """Blocks on every way to a block, itself included, as bits."""
    every = (1 << len(flow.blocks)) - 1
    before: dict[int, list[int]] = {b.index: [] for b in flow.blocks}
    for block in flow.blocks:
        for s in block.successors:
            before[s].append(block.index)
    sets = dict.fromkeys(before, every)
    changed = True
    while changed:
        changed = False
        for index in flow.order:
            meet = every if index != flow.order[0] else 0
            for p in before[index]:
                meet &= sets[p]
            if (new := meet | 1 << index) != sets[index]:
                sets[index], changed = new, True
    return sets


# liveness


def liveness(flow: Flow) -> None:
    """Which registers every block finds needed and leaves needed, and where each is written; done anew."""
    program = flow.program
    flow.definitions, flow._crossing = {}, None
    for block in flow.blocks:
        block.live_in = block.live_out = frozenset()
    gen: dict[int, set[str]] = {}
    kill: dict[int, set[str]] = {}
    for block in flow.blocks:
        read: set[str] = set()
        written: set[str] = set()
        for ins in block.body:
            read |= uses(program, ins) - written
            for name in defs(program, ins):
                flow.definitions.setdefault(name, []).append((block.index, ins))
                # A guarded write leaves the old value where the guard is false.
                if ins.guard is not None:
                    read |= {name} - written
                written.add(name)
        read |= end_uses(program, block.end) - written
        for name in end_defs(program, block.end):
            assert isinstance(block.end, Sync)
            flow.definitions.setdefault(name, []).append((block.index, block.end.ins))
            written.add(name)
        gen[block.index], kill[block.index] = read, written
    changed = True
    while changed:
        changed = False
        for index in reversed(flow.order):
            block = flow.blocks[index]
            out = frozenset().union(*(flow.blocks[s].live_in for s in block.successors))
            live = frozenset(gen[index] | (out - kill[index]))
            if live != block.live_in or out != block.live_out:
                block.live_in, block.live_out, changed = live, out, True


# divergence


def mark_divergence(flow: Flow, varies: Callable[[Block], bool]) -> bool:
    """Marks blocks between a branch on a varying predicate and the point where all its ways meet. True if
    any is new.
    """
    changed = False
    post = _postdominators(flow)
    for block in flow.blocks:
        if len(block.successors) < 2 or not varies(block):
            continue
        meet = post[block.index]
        stack, seen = list(block.successors), set()
        while stack:
            node = stack.pop()
            if node == meet or node in seen:
                continue
            seen.add(node)
            if not flow.blocks[node].divergent:
                flow.blocks[node].divergent = changed = True
            stack.extend(flow.blocks[node].successors)
    return changed


def _stuck(flow: Flow) -> set[int]:
    """Blocks from which no way leads out: they meet nobody, and count as ways out themselves."""
    leaving = {b.index for b in flow.blocks if not b.successors}
    changed = True
    while changed:
        more = {b.index for b in flow.blocks if leaving.intersection(b.successors)} - leaving
        leaving |= more
        changed = bool(more)
    return {b.index for b in flow.blocks} - leaving


def _postdominators(flow: Flow) -> dict[int, int]:
    """Immediate post-dominator of every block; -1 is the exit of them all (bit sets: graphs here are
    small).
    """
    every = (1 << (len(flow.blocks) + 1)) - 1
    leave = 1 << len(flow.blocks)
    sets = {b.index: every for b in flow.blocks}
    stuck = _stuck(flow)
    changed = True
    while changed:
        changed = False
        for index in reversed(flow.order):
            block = flow.blocks[index]
            meet = every
            if not block.successors or index in stuck:
                meet = leave
            for s in block.successors:
                meet &= sets[s]
            new = meet | (1 << index)
            if new != sets[index]:
                sets[index], changed = new, True
    result: dict[int, int] = {}
    for block in flow.blocks:
        strict = sets[block.index] & ~(1 << block.index)
        size = strict.bit_count()
        best = -1
        for other in flow.blocks:
            if strict >> other.index & 1 and sets[other.index].bit_count() == size:
                best = other.index
        result[block.index] = best
    return result
