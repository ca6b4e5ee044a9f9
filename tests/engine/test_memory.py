"""Loads and stores of every width and shape of address, tables, windows and generic addresses."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.launching import entry, every_way, outcome, result

COUNT = 77  # threads: two full warps and a part of one
RNG = np.random.default_rng(7)

# how thread %tid finds its element's number
ORDERS = {
    "consecutive": ("mov.u32 %n, %tid;", np.arange(COUNT)),
    "reversed": ("sub.u32 %n, 76, %tid;", np.arange(COUNT)[::-1]),
    "every third": ("mul.lo.u32 %n, %tid, 3;", 3 * np.arange(COUNT)),
    "blocked": ("xor.b32 %n, %tid, 5;", np.arange(COUNT) ^ 5),
    "shuffled": (
        "mul.lo.u32 %n, %tid, 37; rem.u32 %n, %n, 77;",
        (37 * np.arange(COUNT)) % COUNT,
    ),
}
SHAPES = [(vec, bits) for vec in ("", ".v2", ".v4") for bits in (8, 16, 32, 64) if (vec, bits) != (".v4", 64)]


def _copy(vec: str, bits: int, load: str, store: str) -> str:
    """out[place of store] = in0[place of load], the elements of a vector turned round."""
    count = int(vec[2:] or 1)
    register = max(16, bits)
    names = [f"%e{i}" for i in range(count)]
    group = "{" + ", ".join(names) + "}" if vec else names[0]
    turned = "{" + ", ".join(reversed(names)) + "}" if vec else names[0]
    size = bits // 8 * count
    return entry(f"""
    .reg .b32 %n;
    .reg .pred %p;
    .reg .b64 %a;
    .reg .b{register} {", ".join(names)};
    setp.ge.u32 %p, %tid, 77;
    @%p bra done;
    {load}
    mul.wide.u32 %a, %n, {size};
    add.u64 %a, %a, %in0;
    ld.global{vec}.b{bits} {group}, [%a];
    {store}
    mul.wide.u32 %a, %n, {size};
    add.u64 %a, %a, %out;
    st.global{vec}.b{bits} [%a], {turned};
done:""")


@every_way
@pytest.mark.parametrize(("vec", "bits"), SHAPES)
def test_vectors_are_loaded_and_stored_wherever_lanes_point(
    vec: str, bits: int, width: int, check: bool
) -> None:
    count = int(vec[2:] or 1)
    dtype = f"uint{bits}"
    data = RNG.integers(0, 1 << bits, 400 * count, np.uint64).astype(dtype)
    names = list(ORDERS)
    for i, load in enumerate(names):
        store = names[(i + 1) % len(names)]
        text = _copy(vec, bits, ORDERS[load][0], ORDERS[store][0])
        got = result(text, {"in0": data, "out": np.zeros(400 * count, dtype)}, 96, width, check)
        want = np.zeros((400, count), dtype)
        want[ORDERS[store][1]] = data.reshape(400, count)[ORDERS[load][1], ::-1]
        assert np.array_equal(got, want.ravel()), (load, store)


@every_way
def test_a_uniform_address_is_one_load_for_all_and_the_last_store_of_all(width: int, check: bool) -> None:
    text = entry("""
    .reg .b32 %r<6>;
    .reg .b64 %a;
    ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%in0+16];
    add.u32 %r1, %r1, %r4;
    mul.wide.u32 %a, %tid, 4;
    add.u64 %a, %a, %out;
    st.global.u32 [%a], %r1;
    st.global.v2.u32 [%out+160], {%r2, %r3};""")
    data = np.arange(10, 18, dtype=np.uint32)
    got = result(text, {"in0": data, "out": np.zeros(42, np.uint32)}, 40, width, check)
    assert got.tolist() == [14 + 17] * 40 + [15, 16]


NARROW = [("u8", 8), ("s8", 8), ("u16", 16), ("s16", 16), ("b8", 8), ("u32", 32), ("s32", 32)]


@every_way
@pytest.mark.parametrize(("type_", "bits"), NARROW)
def test_narrow_loads_are_extended_and_narrow_stores_cut(
    type_: str, bits: int, width: int, check: bool
) -> None:
    """PTX ISA 9.4.1: a wider register is filled as the type's sign says."""
    wide = [w for w in (16, 32, 64) if w > bits]
    body = f"""
    .reg .b64 %a, %o, %w64;
    .reg .b32 %w32;
    .reg .b16 %w16;
    mul.wide.u32 %a, %tid, {bits // 8};
    add.u64 %a, %a, %in0;
    mul.wide.u32 %o, %tid, 32;
    add.u64 %o, %o, %out;
"""
    for i, w in enumerate(wide):
        body += f"    ld.global.{type_} %w{w}, [%a];\n    st.global.b{w} [%o+{8 * i}], %w{w};\n"
    body += f"    st.global.{type_} [%o+24], %w{wide[-1]};"
    data = RNG.integers(0, 1 << bits, 48, np.uint64).astype(f"uint{bits}")
    got = result(entry(body), {"in0": data, "out": np.zeros(48 * 4, np.uint64)}, 48, width, check).reshape(
        48, 4
    )
    values = data.view(f"int{bits}") if type_[0] == "s" else data
    for i, w in enumerate(wide):
        assert np.array_equal(got[:, i], values.astype(f"int{w}").view(f"uint{w}").astype(np.uint64))
    assert np.array_equal(got[:, 3], data.astype(np.uint64))


TABLES = """
.const .align 8 .u32 primes[5] = {2, 3, 5, 7, 11};
.global .align 8 .s16 signs[6] = {-1, 2, -3};
.global .align 8 .f64 numbers[2] = {0d3FF8000000000000, 0d4000000000000000};
.global .align 4 .f32 one = 0f3F800000;
.global .align 8 .u64 places[2] = {primes, signs+4};
.const .align 1 .b8 bytes[8] = {1, 2, 255, 0x7F};
.global .align 8 .u64 counter;
"""


@every_way
def test_tables_hold_their_initialisers_and_zeros(width: int, check: bool) -> None:
    text = entry(
        """
    .reg .b32 %r<9>;
    .reg .b16 %h;
    .reg .f64 %d;
    .reg .f32 %f;
    .reg .b64 %a, %b, %c, %o;
    rem.u32 %r1, %tid, 5;
    mul.wide.u32 %a, %r1, 4;
    mov.u64 %b, primes;
    add.u64 %b, %b, %a;
    ld.const.u32 %r2, [%b];
    rem.u32 %r3, %tid, 6;
    mul.wide.u32 %a, %r3, 2;
    mov.u64 %b, signs;
    add.u64 %b, %b, %a;
    ld.global.s16 %r4, [%b];
    ld.global.f64 %d, [numbers+8];
    cvt.rzi.s32.f64 %r5, %d;
    ld.global.u64 %c, [places+8];
    ld.s16 %r6, [%c];
    ld.const.u8 %r7, [bytes+2];
    ld.global.f32 %f, [one];
    cvt.rzi.s32.f32 %r8, %f;
    ld.global.u64 %c, [counter];
    add.s32 %r2, %r2, %r4;
    mad.lo.s32 %r2, %r5, 100, %r2;
    mad.lo.s32 %r2, %r6, 1000, %r2;
    mad.lo.s32 %r2, %r7, 100000, %r2;
    add.s32 %r2, %r2, %r8;
    cvt.u32.u64 %r7, %c;
    add.s32 %r2, %r2, %r7;
    mul.wide.u32 %o, %tid, 4;
    add.u64 %o, %o, %out;
    st.global.u32 [%o], %r2;""",
        "out",
        TABLES,
    )
    got = result(text, {"out": np.zeros(50, np.int32)}, 50, width, check)
    i = np.arange(50)
    want = np.array([2, 3, 5, 7, 11])[i % 5] + np.array([-1, 2, -3, 0, 0, 0])[i % 6] + 200 - 3000 + 25_500_001
    assert got.tolist() == want.tolist()


@every_way
def test_local_memory_is_a_threads_own_and_indexed_at_run_time(width: int, check: bool) -> None:
    text = entry(
        """
    .local .align 8 .b8 stack[64];
    .reg .b32 %r<6>;
    .reg .b64 %a, %b, %g, %o;
    .reg .pred %p;
    mov.u32 %r1, 0;
    mov.u64 %b, stack;
    cvta.local.u64 %g, %b;
fill:
    mul.wide.u32 %a, %r1, 8;
    add.u64 %a, %b, %a;
    mad.lo.u32 %r2, %tid, 100, %r1;
    st.local.u32 [%a], %r2;
    add.u64 %a, %a, 4;
    st.local.u32 [%a], %tid;
    add.u32 %r1, %r1, 1;
    setp.lt.u32 %p, %r1, 8;
    @%p bra fill;
    and.b32 %r3, %tid, 7;
    mul.wide.u32 %a, %r3, 8;
    add.u64 %a, %g, %a;
    ld.v2.u32 {%r4, %r5}, [%a];
    ld.local.u32 %r1, [stack+56];
    mul.wide.u32 %o, %tid, 12;
    add.u64 %o, %o, %out;
    st.global.u32 [%o], %r4;
    st.global.u32 [%o+4], %r5;
    st.global.u32 [%o+8], %r1;""",
        "out",
    )
    got = result(text, {"out": np.zeros(150, np.uint32)}, 50, width, check).reshape(50, 3)
    i = np.arange(50)
    assert np.array_equal(got, np.stack([100 * i + (i & 7), i, 100 * i + 7], 1))


@every_way
def test_shared_memory_by_short_and_generic_addresses_static_and_dynamic(width: int, check: bool) -> None:
    text = entry(
        """
    .shared .align 8 .b8 tile[512];
    .reg .b32 %s, %d, %r<4>;
    .reg .b64 %a, %g, %o;
    mov.u32 %s, tile;
    mad.lo.u32 %s, %tid, 4, %s;
    st.shared.u32 [%s], %tid;
    mov.u32 %d, dynamic;
    mad.lo.u32 %d, %tid, 8, %d;
    mul.lo.u32 %r1, %tid, 7;
    st.shared.v2.u32 [%d], {%r1, %tid};
    bar.sync 0;
    sub.u32 %r1, 63, %tid;
    mul.wide.u32 %a, %r1, 4;
    mov.u64 %g, tile;
    cvta.shared.u64 %g, %g;
    add.u64 %g, %g, %a;
    ld.u32 %r2, [%g];
    mov.u64 %g, dynamic;
    mul.wide.u32 %a, %r1, 8;
    add.u64 %g, %g, %a;
    ld.shared.u32 %r3, [%g];
    mul.wide.u32 %o, %tid, 8;
    add.u64 %o, %o, %out;
    st.global.v2.u32 [%o], {%r2, %r3};""",
        "out",
        ".extern .shared .align 8 .b8 dynamic[];",
    )
    got = result(text, {"out": np.zeros(256, np.uint32)}, 64, width, check, blocks=1, shared=512)
    turned = 63 - np.arange(64)
    assert np.array_equal(got[:128].reshape(64, 2), np.stack([turned, 7 * turned], 1))


@every_way
def test_generic_addresses_know_their_space(width: int, check: bool) -> None:
    lines = []
    for i, space in enumerate(("global", "shared", "local", "const")):
        for j, name in enumerate(("table", "tile", "stack", "fixed")):
            place = ("global", "shared", "local", "const")[j]
            lines.append(f"""
    mov.u64 %a, {name};
    cvta.{place}.u64 %a, %a;
    isspacep.{space} %p, %a;
    selp.u32 %r, 1, 0, %p;
    st.global.u8 [%o+{4 * i + j}], %r;
    cvta.to.{place}.u64 %b, %a;
    mov.u64 %c, {name};
    setp.eq.u64 %p, %b, %c;
    selp.u32 %r, 1, 0, %p;
    st.global.u8 [%o+{16 + 4 * i + j}], %r;""")
    text = entry(
        "    .shared .b32 tile;\n    .local .b32 stack;\n    .reg .b64 %a, %b, %c, %o;\n    .reg .pred %p;\n"
        "    .reg .b32 %r;\n    mul.wide.u32 %o, %tid, 32;\n    add.u64 %o, %o, %out;" + "".join(lines),
        "out",
        ".global .b32 table[4];\n.const .b32 fixed[4];\n",
    )
    got = result(text, {"out": np.zeros(40 * 32, np.uint8)}, 40, width, check).reshape(40, 2, 4, 4)
    assert np.array_equal(got[:, 1], np.ones((40, 4, 4)))
    known = got[:, 0, :3]  # whether a constant counts as global memory too is not asked
    assert np.array_equal(known[..., :3], np.broadcast_to(np.eye(3), (40, 3, 3)))
    assert not known[:, 1:, 3].any()


UNPACK = [(32, 2), (64, 2), (64, 4)]


@every_way
@pytest.mark.parametrize(("bits", "count"), UNPACK)
def test_mov_takes_values_apart_and_puts_them_together(
    bits: int, count: int, width: int, check: bool
) -> None:
    part = bits // count
    names = [f"%e{i}" for i in range(count)]
    text = entry(f"""
    .reg .b64 %a, %o;
    .reg .b{bits} %w, %v;
    .reg .b{part} {", ".join(names)};
    mul.wide.u32 %a, %tid, {bits // 8};
    add.u64 %o, %a, %out;
    add.u64 %a, %a, %in0;
    ld.global.b{bits} %w, [%a];
    mov.b{bits} {{{", ".join(names)}}}, %w;
    mov.b{bits} %v, {{{", ".join(reversed(names))}}};
    st.global.b{bits} [%o], %v;
    mov.b{bits} {{{", ".join(["_"] * (count - 1) + [names[0]])}}}, %v;
    st.global.b{part} [%o+{44 * bits // 8}], {names[0]};""")
    data = RNG.integers(0, 1 << bits, 44, np.uint64, endpoint=False).astype(f"uint{bits}")
    got = result(text, {"in0": data, "out": np.zeros(88 + 8, f"uint{bits}")}, 44, width, check)
    parts = data.view(f"uint{part}").reshape(44, count)
    assert np.array_equal(got[:44].view(f"uint{part}").reshape(44, count), parts[:, ::-1])


INVALID = {
    "load": "ld.global.u32 %r1, [%bad];",
    "vector load": "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%bad];",
    "generic load": "ld.u32 %r1, [%bad];",
    "constant load": "ld.global.nc.u32 %r1, [%bad];",
    "store": "st.global.u32 [%bad], %r2;",
    "vector store": "st.global.v2.u32 [%bad], {%r2, %r3};",
    "atomic": "atom.global.add.u32 %r1, [%bad], %r2;",
    "compare and swap": "atom.global.cas.b32 %r1, [%bad], %r2, %r3;",
    "reduction": "red.global.max.s32 [%bad], %r2;",
}
SHAPE = {
    "the same": "mov.u64 %bad, 16;",
    "consecutive": "mul.wide.u32 %bad, %tid, 4; add.u64 %bad, %bad, 16;",
    "scattered": "mul.wide.u32 %bad, %tid, 1000; and.b64 %bad, %bad, 0xFFF0;",
}


@every_way
@pytest.mark.parametrize("what", INVALID)
def test_where_the_guard_is_false_no_address_is_touched(what: str, width: int, check: bool) -> None:
    """By threads that hold an address where nothing is: all of a warp, or some."""
    conditions = ["setp.ge.u32 %p, %tid, 64;", "setp.lt.u32 %p, %tid, 9;", "setp.ge.u32 %p, %tid, 64;"]
    for shape, condition in zip(SHAPE.values(), conditions, strict=True):
        text = entry(f"""
    .reg .b32 %r<5>;
    .reg .b64 %bad, %good, %o;
    .reg .pred %p, %never;
    mov.u32 %r1, 123;
    mov.u32 %r2, 7;
    mov.u32 %r3, 8;
    mov.u32 %r4, 9;
    {shape}
    {condition}
    mul.wide.u32 %o, %tid, 16;
    add.u64 %good, %o, %in0;
    @!%p mov.u64 %bad, 48;
    @%p mov.u64 %bad, %good;
    @%p ld.global.u32 %r4, [%bad];
    setp.eq.u32 %never, %r4, 424242;
    {shape}
    @%never {INVALID[what]}
    add.u64 %o, %o, %out;
    st.global.v2.u32 [%o], {{%r1, %r4}};""")
        data = np.arange(400, dtype=np.uint32)
        got = result(text, {"in0": data, "out": np.zeros(400, np.uint32)}, 96, width, check).reshape(-1, 4)
        i = np.arange(96)
        held = i >= 64 if "ge" in condition else i < 9
        assert np.array_equal(got[:96, 0], np.full(96, 123))
        assert np.array_equal(got[:96, 1], np.where(held, 4 * i, 9))


def test_checked_mode_names_a_vector_access_that_is_not_aligned() -> None:
    text = entry(".reg .b32 %a, %b;\n    ld.global.v2.u32 {%a, %b}, [%in0+4];\n    st.global.u32 [%out], %b;")
    arrays = {"in0": np.zeros(4, np.uint32), "out": np.zeros(1, np.uint32)}
    found = outcome(text, arrays, 1, 32, True)
    assert [f.kind for f in found.findings] == ["misaligned"]
