"""Memory, address and byte rows, on bytes made by struct."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx.ptx.types import Type
from tests.isa.run import ADDRESS, bits, integers, run, run_lanes
from tests.isa.scalar import Lanes, Scalar

CODES = {
    "u8": "B",
    "s8": "b",
    "b16": "H",
    "s16": "h",
    "u32": "I",
    "s32": "i",
    "f32": "f",
    "u64": "Q",
    "f64": "d",
}


def filled(space: str, at: int, content: bytes) -> Scalar:
    e = Scalar()
    e.memory.update({(space, at + i): byte for i, byte in enumerate(content)})
    return e


def contents(e: Scalar, space: str, at: int, size: int) -> bytes:
    return bytes(e.memory[space, at + i] for i in range(size))


@pytest.mark.parametrize("type", sorted(CODES))
@pytest.mark.parametrize("space", ["", ".global", ".shared", ".local", ".const", ".param"])
def test_a_load_reads_little_endian_bytes_of_its_space(space: str, type: str) -> None:
    content = struct.pack(f"<{CODES[type]}", 77)
    e = filled(space[1:] or "generic", 64, content)
    assert run(f"ld{space}.{type}", 64, emitter=e) == int.from_bytes(content, "little")


@pytest.mark.parametrize("head", [
    "ld.global.nc.u32", "ld.volatile.global.u32", "ld.relaxed.gpu.global.u32", "ld.acquire.sys.global.u32",
    "ld.global.ca.u32", "ld.global.L1::no_allocate.L2::128B.u32", "ld.global.cg.nc.u32", "ldu.global.u32",
    "ld.weak.global.L2::64B.u32", "ld.mmio.relaxed.sys.global.u32",
])  # fmt: skip
def test_cache_and_ordering_qualifiers_load_the_same(head: str) -> None:
    assert run(head, 8, emitter=filled("global", 8, b"\x01\x02\x03\x04")) == 0x04030201


def test_sub_qualified_spaces_are_the_space() -> None:
    assert run("ld.shared::cta.u16", 0, emitter=filled("shared", 0, b"\x05\x06")) == 0x0605
    assert run("ld.param::entry.u16", 0, emitter=filled("param", 0, b"\x05\x06")) == 0x0605


def test_vectors_are_loaded_and_stored_in_order() -> None:
    content = struct.pack("<4f", 1.0, 2.0, -3.0, 4.0)
    e = filled("global", 16, content)
    loaded = run_lanes("ld.global.v4.f32", e.of(ADDRESS, 16), emitter=e)
    assert isinstance(loaded, list)
    assert [v.bits[0] for v in loaded] == [bits(x, 32) for x in (1.0, 2.0, -3.0, 4.0)]
    run_lanes("st.shared.v4.f32", e.of(ADDRESS, 32), loaded, emitter=e)  # type: ignore[arg-type]
    assert contents(e, "shared", 32, 16) == content


@pytest.mark.parametrize("head", ["st.global.u16", "st.global.wb.u16", "st.volatile.global.u16",
                                  "st.release.gpu.global.u16", "st.global.L1::evict_first.u16"])  # fmt: skip
def test_a_store_writes_as_many_bytes_as_its_type(head: str) -> None:
    e = filled("global", 0, b"\xff" * 4)
    run_lanes(head, e.of(ADDRESS, 1), e.of(Type("b", 16), 0x1234), emitter=e)
    assert contents(e, "global", 0, 4) == b"\xff\x34\x12\xff"


def test_prefetch_touches_nothing() -> None:
    e = Scalar()
    for head in ("prefetch.global.L1", "prefetch.L2", "prefetchu.L1", "prefetch.global.L2::evict_last"):
        assert run_lanes(head, e.of(ADDRESS, 12345), emitter=e) is None
    assert not e.memory


ATOMS = {  # op, type, before, operand: after
    ("add", "u32", 0xFFFFFFFF, 2): 1,
    ("add", "u64", 5, 7): 12,
    ("min", "s32", 0xFFFFFFFF, 3): 0xFFFFFFFF,
    ("min", "u32", 0xFFFFFFFF, 3): 3,
    ("max", "s64", (1 << 64) - 5, 2): 2,
    ("and", "b32", 0b1100, 0b1010): 0b1000,
    ("or", "b64", 0b1100, 0b1010): 0b1110,
    ("xor", "b32", 0b1100, 0b1010): 0b0110,
    ("inc", "u32", 4, 5): 5,
    ("inc", "u32", 5, 5): 0,
    ("dec", "u32", 0, 5): 5,
    ("dec", "u32", 9, 5): 5,
    ("dec", "u32", 3, 5): 2,
    ("add", "f32", bits(1.5, 32), bits(0.25, 32)): bits(1.75, 32),
    ("add", "f64", bits(1.5, 64), bits(0.25, 64)): bits(1.75, 64),
}


@pytest.mark.parametrize(("op", "type", "before", "operand"), sorted(ATOMS))
def test_atoms_give_the_old_value_and_red_none(op: str, type: str, before: int, operand: int) -> None:
    after, size = ATOMS[op, type, before, operand], int(type[1:]) // 8
    for head in (f"atom.global.{op}.{type}", f"atom.acq_rel.gpu.global.{op}.{type}"):
        e = filled("global", 0, before.to_bytes(size, "little"))
        assert run(head, 0, operand, emitter=e) == before
        assert contents(e, "global", 0, size) == after.to_bytes(size, "little")
    e = filled("shared", 0, before.to_bytes(size, "little"))
    value = e.of(Type.parse(type), operand)
    assert run_lanes(f"red.relaxed.cta.shared.{op}.{type}", e.of(ADDRESS, 0), value, emitter=e) is None
    assert contents(e, "shared", 0, size) == after.to_bytes(size, "little")


def test_exch_and_cas() -> None:
    e = filled("global", 0, b"\x07\0\0\0\0\0\0\0")
    assert run("atom.global.exch.b32", 0, 9, emitter=e) == 7
    assert run("atom.global.cas.b64", 0, 8, 1, emitter=e) == 9
    assert run("atom.global.cas.b16", 0, 9, 3, emitter=e) == 9
    assert contents(e, "global", 0, 8) == b"\x03\0\0\0\0\0\0\0"


HALVES = {  # each element's before, operand, after
    ("f16", "add"): ((0x3C00, 0x3C00, 0x4000), (0x7C00, 0xFC00, 0x7FFF), (0x0001, 0x0001, 0x0002)),
    ("f16", "min"): ((0x8000, 0x0000, 0x8000), (0x7E01, 0x4000, 0x4000), (0x3C00, 0xBC00, 0xBC00)),
    ("f16", "max"): ((0x0000, 0x8000, 0x0000), (0x4000, 0xFE00, 0x4000), (0x7E00, 0x7D00, 0x7FFF)),
    # 1 + 2^-8 is a tie: the even neighbour is 1
    ("bf16", "add"): ((0x3F80, 0x3B80, 0x3F80), (0x3F81, 0x3B80, 0x3F82), (0x7F7F, 0x7F7F, 0x7F80)),
    ("bf16", "min"): ((0xBF80, 0x3F80, 0xBF80), (0x0000, 0x8000, 0x8000), (0x7FC1, 0x0001, 0x0001)),
    ("bf16", "max"): ((0xBF80, 0x3F80, 0x3F80), (0x0001, 0x0002, 0x0002), (0x7FC1, 0x7FC1, 0x7FFF)),
}


@pytest.mark.parametrize(("type", "op"), sorted(HALVES))
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("packed", [False, True])
def test_half_precision_atoms_work_element_by_element(type: str, op: str, count: int, packed: bool) -> None:
    if op != "add" and count == 1:
        return  # there is no such form
    elements = [HALVES[type, op][i % 3] for i in range(count * (2 if packed else 1))]
    before, operand, after = zip(*elements, strict=True)
    e = filled("global", 0, struct.pack(f"<{len(before)}H", *before))
    size = 32 if packed else 16
    values = [
        e.of(Type("f" if type == "f16" and not packed else "b", size), word)
        for word in struct.unpack(
            f"<{count}{'I' if packed else 'H'}", struct.pack(f"<{len(operand)}H", *operand)
        )
    ]
    name = f"{type}x2" if packed else type
    vec = f".v{count}" if count > 1 else ""
    head = f"atom.global.{op}.noftz{vec}.{name}"
    old = run_lanes(head, e.of(ADDRESS, 0), values if vec else values[0], emitter=e)  # type: ignore[arg-type]
    words = b"".join(
        v.bits[0].to_bytes(size // 8, "little") for v in (old if isinstance(old, list) else [old])
    )
    assert words == struct.pack(f"<{len(before)}H", *before)
    assert contents(e, "global", 0, len(words)) == struct.pack(f"<{len(after)}H", *after)


def test_vectors_of_f32_are_added_each_by_itself_and_128_bits_are_exchanged() -> None:
    e = filled("global", 0, struct.pack("<2f", 1.5, -2.0))
    both = [e.of(Type("f", 32), bits(x, 32)) for x in (0.25, 2.0)]
    assert run_lanes("red.global.add.v2.f32", e.of(ADDRESS, 0), both, emitter=e) is None  # type: ignore[arg-type]
    assert contents(e, "global", 0, 8) == struct.pack("<2f", 1.75, 0.0)
    e = filled("shared", 0, bytes(range(16)))
    old = int.from_bytes(bytes(range(16)), "little")
    assert run("atom.shared.cas.b128", 0, old + 1, 7, emitter=e) == old
    assert run("atom.shared.exch.b128", 0, 1 << 127, emitter=e) == old
    assert run("ld.shared.b128", 0, emitter=e) == 1 << 127


def test_a_cache_policy_changes_nothing() -> None:
    e = filled("global", 0, b"\x01\x02\x03\x04")
    policy = run("createpolicy.fractional.L2::evict_first.L2::evict_unchanged.b64", bits(0.5, 32))
    assert run("ld.global.L2::cache_hint.u16", 0, policy, emitter=e) == 0x0201
    assert run("ld.global.nc.L1::no_allocate.L2::cache_hint.u16", 2, policy, emitter=e) == 0x0403
    assert run("atom.global.add.L2::cache_hint.u32", 0, 1, policy, emitter=e) == 0x04030201
    value = e.of(Type.parse("u16"), 9)
    hinted = "st.global.cs.L2::cache_hint.u16"
    assert run_lanes(hinted, e.of(ADDRESS, 0), value, e.of(ADDRESS, 3), emitter=e) is None
    assert contents(e, "global", 0, 4) == b"\x09\0\x03\x04"
    for head in ("applypriority.global.L2::evict_normal", "discard.global.L2"):
        assert run_lanes(head, e.of(ADDRESS, 0), e.of(Type("b", 32), 128), emitter=e) is None
    assert contents(e, "global", 0, 4) == b"\x09\0\x03\x04"


def test_a_generic_address_goes_back_where_it_came_from() -> None:
    for space in ("global", "shared", "local", "const"):
        generic = run(f"cvta.{space}.u64", 40)
        assert isinstance(generic, int)
        assert run(f"cvta.to.{space}.u64", generic) == 40
        inside = {
            other: run(f"isspacep.{other}", generic) for other in ("global", "shared", "local", "const")
        }
        assert inside == {other: int(other == space) for other in inside}


def test_mov_moves_bits() -> None:
    for head, value in (("mov.pred", 1), ("mov.b16", 7), ("mov.u64", 1 << 60), ("mov.f32", bits(2.5, 32))):
        assert run(head, value) == value


@settings(max_examples=200, deadline=None)
@given(a=integers(32), b=integers(32), c=integers(32))
def test_prmt_picks_bytes_and_signs(a: int, b: int, c: int) -> None:
    source = struct.pack("<II", a, b)
    picked = []
    for i in range(4):
        nibble = c >> 4 * i & 15
        byte = source[nibble & 7]
        picked.append((255 if byte & 128 else 0) if nibble & 8 else byte)
    assert run("prmt.b32", a, b, c) == int.from_bytes(bytes(picked), "little")


MODES = {  # the manual's table: for each selector, the source byte of bytes 3, 2, 1, 0
    "f4e": ("3210", "4321", "5432", "6543"),
    "b4e": ("5670", "6701", "7012", "0123"),
    "rc8": ("0000", "1111", "2222", "3333"),
    "ecl": ("3210", "3211", "3222", "3333"),
    "ecr": ("0000", "1110", "2210", "3210"),
    "rc16": ("1010", "3232", "1010", "3232"),
}


@pytest.mark.parametrize("mode", sorted(MODES))
def test_prmt_modes_follow_the_manuals_table(mode: str) -> None:
    source = bytes(random.Random(mode).sample(range(256), 8))
    a, b = struct.unpack("<II", source)
    for selector, indices in enumerate(MODES[mode]):
        want = bytes(source[int(i)] for i in reversed(indices))
        for c in (selector, selector | 0xABCDEF0C):
            assert run(f"prmt.b32.{mode}", a, b, c) == int.from_bytes(want, "little")


@given(lanes=st.integers(2, 5))
@settings(max_examples=5, deadline=None)
def test_each_lane_loads_from_its_own_address(lanes: int) -> None:
    e = Scalar(lanes)
    e.memory.update({("global", i): i + 1 for i in range(8)})
    loaded = run_lanes("ld.global.u8", e.of(ADDRESS, *range(lanes)), emitter=e)
    assert isinstance(loaded, Lanes)
    assert loaded.bits == tuple(range(1, lanes + 1))
