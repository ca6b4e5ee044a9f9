"""Asynchronous copies and barriers in shared memory (PTX ISA 9.7.9.25, 9.7.13.15).

A copy is done where it is issued, which is one of the times the manual allows; in checked mode its bytes
count as unwritten until its thread has waited for it. Waits are polls: a thread that gets false gives way to
others.
"""

from __future__ import annotations

from llmptx.isa.arith import B32
from llmptx.isa.emitter import Address, Emitter, Value
from llmptx.isa.form import Modifiers, form
from llmptx.ptx.types import PRED

_SHARED = "space:shared|shared::cta"
# A cluster is one block here: its shared memory is the block's own.
_REMOTE = f"{_SHARED}|shared::cluster"
_PREFETCH = "[.prefetch:L2::64B|L2::128B|L2::256B]"


# cp.async


def _cp_async_rows(cop: str, size: int) -> None:
    def plain(e: Emitter, m: Modifiers, to: Address, source: Address, imm: Value, *policy: Value) -> None:
        """`imm` bytes, from global memory. A policy `h` changes nothing."""
        e.copy(m.space, to, source, size, None)

    def partial(
        e: Emitter, m: Modifiers, to: Address, source: Address, imm: Value, given: Value, *policy: Value
    ) -> None:
        """Only `n` bytes are read, the rest are zeros; where `n` is a predicate none are read if it holds."""
        if e.type_of(given) == PRED:
            given = e.select(given, e.const(B32, 0), e.const(B32, size))
        e.copy(m.space, to, source, size, given)

    for hint, policy in (("", ""), (".hint:L2::cache_hint", ", h:b64")):
        head = f"cp.async.{cop}.{_SHARED}.global{hint}{_PREFETCH}  [a], [b:global], {size}"
        form(head + policy)(plain)
        form(f"{head}, n:own{policy}")(partial)


for _cop, _size in (("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)):
    _cp_async_rows(_cop, _size)


@form("cp.async.commit_group")
def commit_group(e: Emitter, m: Modifiers) -> None:
    """The thread's copies since the last one are a group."""
    e.commit_copies()


@form("cp.async.wait_group  imm:b32")
def wait_group(e: Emitter, m: Modifiers, pending: Value) -> None:
    """All but the thread's last `imm` groups have come."""
    e.wait_copies(pending)


@form("cp.async.wait_all")
def wait_all(e: Emitter, m: Modifiers) -> None:
    e.wait_copies(None)


@form(f"cp.async.mbarrier.arrive[.noinc][.{_SHARED}].b64  [a]")
def copies_arrive(e: Emitter, m: Modifiers, address: Address) -> None:
    """The thread's copies are there, so it arrives at once; without .noinc one more arrival is waited for."""
    e.wait_copies(None)
    if m.noinc:
        e.mbarrier("arrive", m.space or "", address, e.const(B32, 1))


# mbarrier


@form(f"mbarrier.init[.{_SHARED}].b64  [a], b:u32")
def mbarrier_init(e: Emitter, m: Modifiers, address: Address, count: Value) -> None:
    """Phase 0 waits for `b` arrivals, as each later one will."""
    e.mbarrier("init", m.space or "", address, count)


@form(f"mbarrier.inval[.{_SHARED}].b64  [a]")
def mbarrier_inval(e: Emitter, m: Modifiers, address: Address) -> None:
    e.mbarrier("inval", m.space or "", address, e.const(B32, 0))


def mbarrier_tx(e: Emitter, m: Modifiers, address: Address, count: Value) -> None:
    """The phase waits for `b` more (.expect_tx) or fewer (.complete_tx) bytes of asynchronous copies."""
    e.mbarrier("expect" if m.get("expect_tx") else "complete", m.space or "", address, count)


for _sem in ("", ".sem:relaxed.scope:cta|cluster"):
    form(f"mbarrier.expect_tx{_sem}[.{_REMOTE}].b64  [a], b:u32")(mbarrier_tx)
    form(f"mbarrier.complete_tx{_sem}[.{_REMOTE}].b64  [a], b:u32")(mbarrier_tx)


def _arrive_rows(opcode: str, op: str) -> None:
    def arrive(e: Emitter, m: Modifiers, address: Address, *count: Value) -> Value:
        """`c` arrivals, one where it is left out; .arrive_drop: in later phases that many are not expected.

        Gives the state before. The last arrival, with no bytes outstanding, completes the phase.
        """
        return e.mbarrier(op, m.space or "", address, count[0] if count else e.const(B32, 1))

    def expecting(e: Emitter, m: Modifiers, address: Address, count: Value) -> Value:
        """The phase waits for `c` more bytes; then one arrival."""
        return e.mbarrier(f"expect_{op}", m.space or "", address, count)

    for sem in ("", ".sem:release|relaxed.scope:cta|cluster"):
        form(f"mbarrier.{opcode}{sem}[.{_SHARED}].b64  d:b64, [a]")(arrive)
        form(f"mbarrier.{opcode}{sem}[.{_SHARED}].b64  d:b64, [a], c:u32")(arrive)
        form(f"mbarrier.{opcode}.expect_tx{sem}[.{_SHARED}].b64  d:b64, [a], c:u32")(expecting)
        # what a barrier of another block says is nobody's to read: the destination is _
        remote = f"{sem}.space:shared::cluster.b64"
        form(f"mbarrier.{opcode}{remote}  _, [a]")(arrive)
        form(f"mbarrier.{opcode}{remote}  _, [a], c:u32")(arrive)
        form(f"mbarrier.{opcode}.expect_tx{remote}  _, [a], c:u32")(expecting)
    for sem in ("", ".release.cta"):
        form(f"mbarrier.{opcode}.noComplete{sem}[.{_SHARED}].b64  d:b64, [a], c:u32")(arrive)


_arrive_rows("arrive", "arrive")
_arrive_rows("arrive_drop", "drop")


def wait(e: Emitter, m: Modifiers, address: Address, state: Value, *limit: Value) -> Value:
    """Whether the phase of the state is complete. .try_wait gives up as soon as .test_wait: it may."""
    return e.mbarrier_done(m.space or "", address, e.mbarrier_phase(state))


def wait_parity(e: Emitter, m: Modifiers, address: Address, parity: Value, *limit: Value) -> Value:
    """Whether the phase of this parity, the current or the last, is complete."""
    return e.mbarrier_done(m.space or "", address, e.and_(parity, e.const(B32, 1)))


for _sem in ("", ".sem:acquire|relaxed.scope:cta|cluster"):
    for _how, _limits in (("test_wait", ("",)), ("try_wait", ("", ", n:u32"))):
        for _limit in _limits:
            form(f"mbarrier.{_how}{_sem}[.{_SHARED}].b64  p:pred, [a], b:b64{_limit}")(wait)
            form(f"mbarrier.{_how}.parity{_sem}[.{_SHARED}].b64  p:pred, [a], b:u32{_limit}")(wait_parity)


@form("mbarrier.pending_count.b64  d:b32, a:b64")
def pending_count(e: Emitter, m: Modifiers, state: Value) -> Value:
    """The arrivals that were waited for before the arrival that gave the state."""
    return e.mbarrier_pending(state)


@form("fence.proxy.async[.space:global|shared::cta|shared::cluster]")
@form("fence.mbarrier_init.release.cluster")
def fence(e: Emitter, m: Modifiers) -> None:
    e.fence("cta")
