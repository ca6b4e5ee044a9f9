"""Warp and block rows on 32 lanes, against results worked out by hand or by numpy."""

from __future__ import annotations

import numpy as np
import pytest

from llmptx.ptx.types import PRED, Type
from tests.isa.run import run_lanes
from tests.isa.scalar import B32, Lanes, Scalar

LANES = np.arange(32)
ALL = 0xFFFFFFFF


def warp(*sources: object, head: str, active: int = ALL) -> list[list[int]]:
    """Each destination's lanes. Sources: arrays of 32, or one number; bool arrays are predicates."""
    e = Scalar(32, active)
    values = []
    for source in sources:
        array = np.broadcast_to(np.asarray(source), 32)
        type = PRED if array.dtype == bool else Type("b", 64) if ".b64" in head and not values else B32
        values.append(e.of(type, *map(int, array)))
    result = run_lanes(head, *values, emitter=e)
    if isinstance(result, Lanes):
        return [list(result.bits)]
    assert isinstance(result, tuple)
    return [list(lanes.bits) for lanes in result]


def test_shuffles_move_values_between_lanes() -> None:
    a = LANES * 10
    got, ok = warp(a, 1, 0, ALL, head="shfl.sync.up.b32")
    assert got == [0, *a[:-1]]
    assert ok == [0] + [1] * 31
    got, ok = warp(a, 3, 31, ALL, head="shfl.sync.down.b32")
    assert got == [*a[3:], *a[29:]]
    assert ok == [1] * 29 + [0] * 3
    assert warp(a, 1, 31, ALL, head="shfl.sync.bfly.b32")[0] == list(a.reshape(16, 2)[:, ::-1].ravel())
    assert warp(a, 5, 31, ALL, head="shfl.sync.idx.b32")[0] == [50] * 32
    assert warp(a, 37, 31, ALL, head="shfl.sync.idx.b32")[0] == [50] * 32
    assert warp(a, 5, 31, head="shfl.idx.b32")[0] == [50] * 32


def test_a_segment_mask_splits_the_warp() -> None:
    """c = 0x1807 for width 8: the segment mask is 0b11000, the clamp 7."""
    a = LANES * 10
    rows = a.reshape(4, 8)
    got, ok = warp(a, 2, 0x1807, ALL, head="shfl.sync.down.b32")
    assert got == list(np.concatenate([rows[:, 2:], rows[:, 6:]], axis=1).ravel())
    assert ok == [1, 1, 1, 1, 1, 1, 0, 0] * 4
    assert warp(a, 3, 0x1807, ALL, head="shfl.sync.idx.b32")[0] == list(np.repeat(rows[:, 3], 8))
    assert warp(a, 2, 0x1800, ALL, head="shfl.sync.up.b32")[0] == list(
        np.concatenate([rows[:, :2], rows[:, :-2]], axis=1).ravel()
    )


def test_votes() -> None:
    odd = LANES % 2 == 1
    assert warp(odd, ALL, head="vote.sync.ballot.b32")[0] == [0xAAAAAAAA] * 32
    assert warp(odd, 0xFF, head="vote.sync.ballot.b32")[0][0] == 0xAA
    for mode, want in (("all", 0), ("any", 1), ("uni", 0)):
        assert warp(odd, ALL, head=f"vote.sync.{mode}.pred")[0] == [want] * 32
        assert warp(odd, head=f"vote.{mode}.pred")[0] == [want] * 32
    assert warp(odd, 0x55555555, head="vote.sync.uni.pred")[0][0] == 1
    assert warp(odd, 0xAAAAAAAA, head="vote.sync.all.pred")[0][1] == 1


def test_inactive_lanes_do_not_vote() -> None:
    odd = LANES % 2 == 1
    assert warp(odd, head="vote.ballot.b32", active=0xF)[0][0] == 0b1010
    assert warp(odd, ALL, head="vote.sync.all.pred", active=0xAAAAAAAA)[0][1] == 1
    assert warp(head="activemask.b32", active=0x1234)[0] == [0x1234] * 32


@pytest.mark.parametrize("width", [32, 64])
def test_match_finds_equal_lanes(width: int) -> None:
    values = LANES % 4 + (1 << 40 if width == 64 else 0)
    got = warp(values, ALL, head=f"match.any.sync.b{width}")[0]
    assert got == [0x11111111 << lane % 4 for lane in range(32)]
    assert warp(values, ALL, head=f"match.all.sync.b{width}") == [[0] * 32, [0] * 32]
    assert warp(values, 0x11111111, head=f"match.all.sync.b{width}")[0][0] == 0x11111111
    assert warp(7, 0xF, head=f"match.all.sync.b{width}") == [[0xF] * 32, [1] * 32]


def test_redux_reduces_the_members() -> None:
    values = (LANES.astype(np.int64) * 0x0F0F0F0F) % (1 << 32)
    signed = values.astype(np.uint32).view(np.int32)
    want = {
        "add.u32": int(values.sum()) & ALL, "min.u32": int(values.min()), "max.u32": int(values.max()),
        "min.s32": int(signed.min()) & ALL, "max.s32": int(signed.max()) & ALL,
        "and.b32": int(np.bitwise_and.reduce(values)), "or.b32": int(np.bitwise_or.reduce(values)),
        "xor.b32": int(np.bitwise_xor.reduce(values)),
    }  # fmt: skip
    for op, result in want.items():
        assert warp(values, ALL, head=f"redux.sync.{op}")[0] == [result] * 32
    assert warp(values, 0b110, head="redux.sync.add.u32")[0][1] == int(values[1] + values[2]) & ALL


def test_barriers_say_what_they_wait_for() -> None:
    e = Scalar()
    one, count, yes = e.of(B32, 1), e.of(B32, 64), e.of(PRED, 1)
    run_lanes("bar.sync", one, emitter=e)
    run_lanes("bar.cta.sync", one, count, emitter=e)
    run_lanes("bar.arrive", one, count, emitter=e)
    run_lanes("barrier.sync", one, emitter=e)
    run_lanes("barrier.sync.aligned", one, emitter=e)
    run_lanes("barrier.arrive", one, count, emitter=e)
    assert e.events == [
        ("barrier", 1, None, True, False), ("barrier", 1, 64, True, False), ("barrier", 1, 64, True, True),
        ("barrier", 1, None, False, False), ("barrier", 1, None, True, False),
        ("barrier", 1, 64, False, True),
    ]  # fmt: skip
    e = Scalar()
    assert run_lanes("bar.red.popc.u32", one, yes, emitter=e) == e.of(B32, 1)
    assert run_lanes("barrier.red.and.pred", one, count, yes, emitter=e) == yes
    assert e.events == [("barrier", 1, None, True, False), ("barrier", 1, 64, False, False)]


def test_fences_and_traps_reach_the_machine() -> None:
    e = Scalar()
    for head in ("membar.gl", "membar.cta", "fence.acq_rel.gpu", "fence.sc.sys", "trap"):
        assert run_lanes(head, emitter=e) is None
    run_lanes("bar.warp.sync", e.of(B32, 0xF), emitter=e)
    run_lanes("nanosleep.u32", e.of(B32, 100), emitter=e)
    run_lanes("pmevent.mask", e.of(B32, 1), emitter=e)
    scopes = ["gpu", "cta", "gpu", "sys"]
    assert e.events == [*(("fence", s) for s in scopes), ("trap",), ("warp_barrier", 0xF)]


def test_the_lowest_lane_that_is_there_is_elected() -> None:
    e = Scalar(lanes=32, active=0xFFFF0FF0)
    for mask, leader in ((0xFFFFFFFF, 4), (0xFFF00000, 20), (0x80000000, 31)):
        found = run_lanes("elect.sync", e.of(B32, mask), emitter=e)
        assert isinstance(found, tuple)
        lane, leads = found
        assert set(lane.bits) == {leader}
        assert [i for i in range(32) if leads.bits[i]] == [leader]


def test_what_has_no_effect_here_has_none() -> None:
    e = Scalar()
    for head in ("griddepcontrol.wait", "griddepcontrol.launch_dependents"):
        assert run_lanes(head, emitter=e) is None
    assert e.events == []
    for head in (
        "fence.proxy.alias",
        "membar.proxy.async",
        "fence.acquire.sync_restrict::shared::cluster.cluster",
    ):
        assert run_lanes(head, emitter=e) is None
    assert e.events == [("fence", "cta")] * 3
