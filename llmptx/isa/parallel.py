"""Synchronisation and communication between threads (PTX ISA 9.7.13, shfl of 9.7.9)."""

from __future__ import annotations

from llmptx.isa.emitter import Emitter, Value
from llmptx.isa.form import Modifiers, form


@form("bar[.cta].sync  a:u32")
@form("bar[.cta].sync  a:u32, b:u32")
def bar_sync(e: Emitter, m: Modifiers, id: Value, count: Value | None = None) -> None:
    """All threads of the block wait for each other, or `count` of them; every one reaches the same bar."""
    e.barrier(id, count, aligned=True, arrive=False)


@form("barrier[.cta].sync[.aligned]  a:u32")
@form("barrier[.cta].sync[.aligned]  a:u32, b:u32")
def barrier_sync(e: Emitter, m: Modifiers, id: Value, count: Value | None = None) -> None:
    """Without .aligned the threads of a warp may reach it on different paths."""
    e.barrier(id, count, aligned=m.aligned, arrive=False)


@form("bar[.cta].arrive  a:u32, b:u32")
def bar_arrive(e: Emitter, m: Modifiers, id: Value, count: Value) -> None:
    """Counts, and does not wait."""
    e.barrier(id, count, aligned=True, arrive=True)


@form("barrier[.cta].arrive[.aligned]  a:u32, b:u32")
def barrier_arrive(e: Emitter, m: Modifiers, id: Value, count: Value) -> None:
    e.barrier(id, count, aligned=m.aligned, arrive=True)


def bar_red(e: Emitter, m: Modifiers, id: Value, *rest: Value) -> Value:
    """How many of the waiting threads gave true (.popc), whether all (.and), whether any (.or)."""
    count = rest[0] if len(rest) == 2 else None
    return e.barrier_reduce(m.op, id, count, rest[-1], aligned=m.get("aligned", True))


for _count in ("", "b:u32, "):
    form(f"bar[.cta].red.op:popc.u32  d:u32, a:u32, {_count}c:pred")(bar_red)
    form(f"bar[.cta].red.op:and|or.pred  d:pred, a:u32, {_count}c:pred")(bar_red)
    form(f"barrier[.cta].red.op:popc[.aligned].u32  d:u32, a:u32, {_count}c:pred")(bar_red)
    form(f"barrier[.cta].red.op:and|or[.aligned].pred  d:pred, a:u32, {_count}c:pred")(bar_red)


@form("bar.warp.sync  a:b32")
def bar_warp_sync(e: Emitter, m: Modifiers, mask: Value) -> None:
    e.warp_barrier(mask)


@form("membar.scope:cta|gl|sys")
@form("fence[.sem:sc|acq_rel|acquire|release].scope:cta|cluster|gpu|sys")
def fence(e: Emitter, m: Modifiers) -> None:
    e.fence("gpu" if m.scope == "gl" else m.scope)


@form("fence.acquire.how:sync_restrict::shared::cluster.cluster")
@form("fence.release.how:sync_restrict::shared::cta.cluster")
@form("fence.proxy.alias")
@form("membar.proxy.kind:alias|async")
def fence_between_proxies(e: Emitter, m: Modifiers) -> None:
    """As a fence of the block: memory is reached in one way here."""
    e.fence("cta")


@form("griddepcontrol.action:launch_dependents|wait")
def griddepcontrol(e: Emitter, m: Modifiers) -> None:
    """Nothing happens: a launch begins when those before it have ended."""


@form("shfl.sync.mode:up|down|bfly|idx.b32  d:b32[|p], a:b32, b:b32, c:b32, n:b32")
@form("shfl.mode:up|down|bfly|idx.b32  d:b32[|p], a:b32, b:b32, c:b32")
def shfl(
    e: Emitter, m: Modifiers, a: Value, b: Value, c: Value, mask: Value | None = None
) -> tuple[Value, Value]:
    """Another lane's a, and whether that lane is in range (where not, the lane's own a)."""
    return e.shfl(m.mode, a, b, c, mask)


@form("vote.sync.mode:all|any|uni.pred  d:pred, a:pred, n:b32")
@form("vote.sync.mode:ballot.b32  d:b32, a:pred, n:b32")
@form("vote.mode:all|any|uni.pred  d:pred, a:pred")
@form("vote.mode:ballot.b32  d:b32, a:pred")
def vote(e: Emitter, m: Modifiers, a: Value, mask: Value | None = None) -> Value:
    return e.vote(m.mode, a, mask)


@form("match.any.sync.type:b32|b64  d:b32, a, n:b32")
def match_any(e: Emitter, m: Modifiers, a: Value, mask: Value) -> Value:
    """The lanes that hold the same value."""
    return e.match("any", a, mask)[0]


@form("match.all.sync.type:b32|b64  d:b32[|p], a, n:b32")
def match_all(e: Emitter, m: Modifiers, a: Value, mask: Value) -> tuple[Value, Value]:
    """All the lanes and true, or 0 and false where they differ."""
    return e.match("all", a, mask)


@form("activemask.b32  d:b32")
def activemask(e: Emitter, m: Modifiers) -> Value:
    return e.activemask()


@form("elect.sync  d:b32|p, n:b32")
def elect(e: Emitter, m: Modifiers, mask: Value) -> tuple[Value, Value]:
    """The lowest of the lanes, and whether this is it."""
    return e.elect(mask)


@form("redux.sync.op:add|min|max.type:u32|s32  d, a, n:b32")
@form("redux.sync.op:and|or|xor.type:b32  d, a, n:b32")
def redux(e: Emitter, m: Modifiers, a: Value, mask: Value) -> Value:
    return e.redux(m.op, a, m.type.signed, mask)
