"""Calls: recursion, function pointers, structures by value, alloca and printf, from CUDA C++ and by hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmptx import Module
from llmptx.engine import Place, Session, compile_entry
from llmptx.engine.memory import ADDRESSABLE, INITIALISED
from llmptx.engine.printing import MAX_TEXT, formatted
from llmptx.ptx import parse, print_module
from llmptx.ptx.errors import PtxError
from llmptx.record import Finding
from tests.meta.nvcc import Source, ptx_of

HEADER = ".version 8.0\n.target sm_80\n.address_size 64\n"
M32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Ran:
    findings: list[Finding]
    printed: str
    width: int


def run(
    text: str,
    threads: int,
    *args: NDArray[Any] | int,
    entry: str = "k",
    width: int = 32,
    check: bool = False,
    blocks: int = 1,
) -> Ran:
    """Launches on copies; arrays are changed in place, as a device would."""
    kernel = compile_entry(parse(text), entry, (threads, 1, 1), width=width, check=check)
    arrays = {f"a{i}": a for i, a in enumerate(args) if isinstance(a, np.ndarray)}
    with Session([(kernel, 0)], [Place(n, a.nbytes) for n, a in arrays.items()], check=check) as session:
        for name, array in arrays.items():
            session.arena.bytes(session.buffers[name])[:] = array.view(np.uint8).reshape(-1)
            session.arena.mark(session.buffers[name], ADDRESSABLE | INITIALISED)
        values = [session.buffers[f"a{i}"].start if f"a{i}" in arrays else a for i, a in enumerate(args)]
        findings = session.launch(0, (blocks, 1, 1), values)  # type: ignore[arg-type]
        for name, array in arrays.items():
            array.view(np.uint8).reshape(-1)[:] = session.arena.bytes(session.buffers[name])
        return Ran(findings, session.printed(), kernel.lowered.width)


@cache
def cuda(code: str) -> str:
    pytest.importorskip("cuda.bindings.nvrtc")
    return ptx_of(Source("", "", "", code))


def both_modes(text: str, threads: int, *args: NDArray[Any] | int, width: int = 32) -> list[NDArray[Any]]:
    """The arrays after a fast launch; a checked one gives the same and finds nothing."""
    results = []
    for check in (False, True):
        mine = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
        ran = run(text, threads, *mine, width=width, check=check)
        assert ran.findings == []
        results.append([a for a in mine if isinstance(a, np.ndarray)])
    for fast, checked in zip(*results, strict=True):
        np.testing.assert_array_equal(fast, checked)
    return results[0]


# registers


@pytest.mark.parametrize("width", [32, 1])
def test_vector_registers_are_passed_element_by_element(width: int) -> None:
    text = (
        HEADER
        + """
    .func (.reg .v2 .u32 out) turned(.reg .v4 .u32 in) {
        .reg .u32 %t; add.u32 %t, in.x, in.w; mov.v2.u32 out, {in.z, %t}; ret;
    }
    .visible .entry k(.param .u64 p) {
        .reg .u64 %p; .reg .v4 .u32 %v; .reg .v2 .u32 %w; .reg .u32 %t;
        ld.param.u64 %p, [p]; mov.u32 %t, %tid.x; mad.wide.u32 %p, %t, 16, %p;
        ld.global.v4.u32 %v, [%p];
        call (%w), turned, (%v);
        st.global.v2.u32 [%p], %w; ret;
    }"""
    )
    data = np.arange(256, dtype=np.uint32).reshape(64, 4)
    (got,) = both_modes(text, 64, data, width=width)
    np.testing.assert_array_equal(got[:, 0], data[:, 2])
    np.testing.assert_array_equal(got[:, 1], data[:, 0] + data[:, 3])


# recursion

RECURSIVE = """
extern "C" __device__ __noinline__ unsigned fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
extern "C" __device__ __noinline__ unsigned ack(unsigned m, unsigned n)
{
    return m == 0 ? n + 1 : n == 0 ? ack(m - 1, 1) : ack(m - 1, ack(m, n - 1));
}
__device__ unsigned odd(unsigned n);
extern "C" __device__ __noinline__ unsigned even(unsigned n) { return n == 0 ? 1 : odd(n - 1) + (n & 2); }
extern "C" __device__ __noinline__ unsigned odd_(unsigned n) { return n == 0 ? 0 : even(n - 1) * 3 + 1; }
__device__ unsigned odd(unsigned n) { return odd_(n); }
extern "C" __global__ void k(unsigned *out)
{
    unsigned i = threadIdx.x;
    out[3 * i] = fib(i);
    out[3 * i + 1] = ack(i & 1, i >> 1) + ack(2, i & 3);
    out[3 * i + 2] = even(i);
}
"""

QUICKSORT = """
__device__ __noinline__ void sort(int *a, int low, int high)
{
    int ends[2] = {low, high};
    if (low >= high) return;
    int pivot = a[high], i = low;
    for (int j = low; j < high; j++)
        if (a[j] < pivot) { int t = a[i]; a[i] = a[j]; a[j] = t; i++; }
    int t = a[i]; a[i] = a[high]; a[high] = t;
    volatile int *kept = ends;
    sort(a, low, i - 1);
    sort(a, i + 1, kept[1]);
}
extern "C" __global__ void k(int *a, int n) { sort(a + threadIdx.x * n, 0, n - 1); }
"""


def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def ack(m: int, n: int) -> int:
    return n + 1 if m == 0 else ack(m - 1, 1 if n == 0 else ack(m, n - 1))


def even(n: int) -> int:
    return 1 if n == 0 else odd(n - 1) + (n & 2)


def odd(n: int) -> int:
    return 0 if n == 0 else even(n - 1) * 3 + 1


def test_recursive_functions_give_what_python_gives() -> None:
    (out,) = both_modes(cuda(RECURSIVE), 12, np.zeros(36, np.uint32))
    wanted = [[fib(i), ack(i & 1, i >> 1) + ack(2, i & 3), even(i)] for i in range(12)]
    assert out.reshape(12, 3).tolist() == wanted


def test_a_recursive_quicksort_sorts_every_thread_s_row() -> None:
    rows = np.random.default_rng(5).integers(-1000, 1000, (32, 40), np.int32)
    (out,) = both_modes(cuda(QUICKSORT), 32, rows, 40)
    np.testing.assert_array_equal(out, np.sort(rows, axis=1))


DEEP = (
    HEADER
    + """
.func (.param .b32 r) sum(.param .b32 n)
{
    .reg .b32 %a, %b;
    .reg .pred %p;
    ld.param.u32 %a, [n];
    setp.eq.u32 %p, %a, 0;
    @%p bra DONE;
    sub.u32 %b, %a, 1;
    {
    .param .b32 x;
    .param .b32 y;
    st.param.b32 [x], %b;
    call (y), sum, (x);
    ld.param.b32 %b, [y];
    }
    add.u32 %a, %a, %b;
DONE:
    st.param.b32 [r], %a;
    ret;
}
.visible .entry k(.param .u64 out, .param .u32 n)
{
    .reg .b64 %out;
    .reg .b32 %n;
    ld.param.u64 %out, [out];
    ld.param.u32 %n, [n];
    .param .b32 x;
    .param .b32 y;
    st.param.b32 [x], %n;
    call (y), sum, (x);
    ld.param.b32 %n, [y];
    st.global.u32 [%out], %n;
    ret;
}
"""
)


@pytest.mark.parametrize("check", [False, True])
def test_recursion_is_as_deep_as_the_stack_and_deeper_is_a_finding(check: bool) -> None:
    out = np.zeros(1, np.uint32)
    assert run(DEEP, 1, out, 2000, check=check).findings == []
    assert out[0] == 2000 * 2001 // 2
    (finding,) = run(DEEP, 1, out, 1_000_000, check=check).findings
    assert finding.kind == "resource-limit"
    assert "call (y), sum, (x)" in DEEP.splitlines()[finding.line - 1]
    assert "stack" in finding.message


def test_a_recursion_that_never_ends_is_a_finding_not_a_hang() -> None:
    endless = DEEP.replace("@%p bra DONE;", "")
    (finding,) = run(endless, 1, np.zeros(1, np.uint32), 1).findings
    assert finding.kind == "resource-limit"


def test_local_arrays_of_a_recursion_are_fresh_in_every_activation() -> None:
    text = DEEP.replace(
        "ld.param.u32 %a, [n];",
        "ld.param.u32 %a, [n];\n.local .b32 kept[2];\nst.local.u32 [kept+4], %a;\nmov.u32 %b, %a;",
    ).replace("add.u32 %a, %a, %b;", "ld.local.u32 %a, [kept+4];\nadd.u32 %a, %a, %b;")
    (out,) = both_modes(text, 1, np.zeros(1, np.uint32), 50)
    assert out[0] == 50 * 51 // 2
    unwritten = text.replace("st.local.u32 [kept+4], %a;", "")
    (finding,) = run(unwritten, 1, np.zeros(1, np.uint32), 3, check=True).findings
    assert finding.kind == "uninitialized-read"


def test_a_store_past_the_variables_of_a_callee_is_found() -> None:
    text = DEEP.replace(
        "ld.param.u32 %a, [n];", "ld.param.u32 %a, [n];\n.local .b32 kept[2];\nst.local.u32 [kept+64], %a;"
    )
    findings = run(text, 1, np.zeros(1, np.uint32), 3, check=True).findings
    assert {f.kind for f in findings} == {"out-of-bounds"}


# pointers to functions

POINTERS = """
struct Shape { __device__ virtual int area() const = 0; __device__ virtual ~Shape() {} };
struct Square : Shape {
    int s; __device__ Square(int s) : s(s) {} __device__ int area() const override { return s * s; }
};
struct Cross : Shape {
    int r; __device__ Cross(int r) : r(r) {} __device__ int area() const override { return 5 * r * r + 1; }
};
typedef int (*Op)(int, int);
__device__ __noinline__ int add(int a, int b) { return a + b; }
__device__ __noinline__ int mul(int a, int b) { return a * b; }
__device__ __noinline__ int power(int a, int b) { return b ? a * power(a, b - 1) : 1; }
__device__ Op table[3] = {add, mul, power};
__constant__ Op constants[2] = {mul, add};
extern "C" __global__ void k(int *out)
{
    int i = threadIdx.x;
    Square square(i);
    Cross cross(i);
    Shape *shape = i % 3 ? (Shape *)&square : (Shape *)&cross;
    out[i] = shape->area();
    out[i + 32] = table[i % 3](i - 7, 3) + constants[i & 1](i, 5);
}
"""


def test_virtual_functions_and_tables_of_functions() -> None:
    (out,) = both_modes(cuda(POINTERS), 32, np.zeros(64, np.int32))
    ops = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a**b]
    assert out[:32].tolist() == [i * i if i % 3 else 5 * i * i + 1 for i in range(32)]
    assert out[32:].tolist() == [ops[i % 3](i - 7, 3) + (i + 5 if i & 1 else i * 5) for i in range(32)]


LISTED = (
    HEADER
    + """
.func (.reg .u32 r) twice(.reg .u32 a) { add.u32 r, a, a; ret; }
.func (.reg .u32 r) square(.reg .u32 a)
{
    .reg .pred %p;
    setp.gt.u32 %p, a, 1000;
    @%p exit;
    mul.lo.u32 r, a, a;
    ret;
}
.visible .entry k(.param .u64 out, .param .u64 wild)
{
    .reg .b64 %out, %f, %g, %wild;
    .reg .b32 %t, %x;
    .reg .pred %p, %q;
    ld.param.u64 %out, [out];
    ld.param.u64 %wild, [wild];
    mov.u32 %t, %tid.x;
    mad.wide.u32 %out, %t, 4, %out;
    setp.lt.u32 %p, %t, 4;
    mov.u64 %f, twice;
    mov.u64 %g, square;
    selp.b64 %f, %f, %g, %p;
    add.u64 %f, %f, %wild;
    mov.u32 %x, 7;
LIST: .calltargets twice, square;
    setp.ne.u32 %q, %t, 2;
    @%q call (%x), %f, (%t), LIST;
    st.global.u32 [%out], %x;
    mov.u32 %x, 2000;
    @!%p call (%x), square, (%x);
    st.global.u32 [%out], 99;
    ret;
}
"""
)


def test_a_guarded_call_by_list_with_registers_and_exit_in_a_function() -> None:
    (out,) = both_modes(LISTED, 8, np.zeros(8, np.uint32), 0)
    # Threads of 4 and up leave in `square`; the others go on and write 99.
    assert out.tolist() == [99, 99, 99, 99, 16, 25, 36, 49]


@pytest.mark.parametrize("check", [False, True])
def test_a_pointer_that_is_no_function_is_a_finding_with_its_line(check: bool) -> None:
    (finding,) = run(LISTED, 1, np.zeros(8, np.uint32), 8, check=check).findings
    assert finding.kind == "crash"
    assert "LIST;" in LISTED.splitlines()[finding.line - 1]


def test_lists_of_functions_survive_printing() -> None:
    module = parse(LISTED)
    assert parse(print_module(module)) == module
    assert "LIST: .calltargets twice, square;" in print_module(module)


def test_a_barrier_in_a_function_called_through_a_pointer_is_the_block_s() -> None:
    text = (
        HEADER
        + """
.shared .b32 s[64];
.func meet(.reg .u32 t, .reg .u64 unused) { bar.sync 0; ret; }
.visible .entry k(.param .u64 out)
{
    .reg .b64 %out, %f;
    .reg .b32 %t, %a, %x;
    ld.param.u64 %out, [out];
    mov.u32 %t, %tid.x;
    mov.u32 %a, s;
    mad.lo.u32 %a, %t, 4, %a;
    mul.lo.u32 %x, %t, 3;
    st.shared.u32 [%a], %x;
    mov.u64 %f, meet;
    P: .callprototype _ (.reg .u32 _, .reg .u64 _);
    call %f, (%t, 5), P;
    xor.b32 %x, %t, 63;
    mov.u32 %a, s;
    mad.lo.u32 %a, %x, 4, %a;
    ld.shared.u32 %x, [%a];
    mad.wide.u32 %out, %t, 4, %out;
    st.global.u32 [%out], %x;
    ret;
}
"""
    )
    (out,) = both_modes(text, 64, np.zeros(64, np.uint32))
    assert out.tolist() == [3 * (i ^ 63) for i in range(64)]


VIRTUAL = """
struct A {
    int x;
    __device__ virtual void up() { x++; }
    __device__ virtual ~A() {}
};
struct B : A { __device__ void up() override { x += 10; } };
extern "C" __global__ void k(int *out)
{
    A a; B b;
    a.x = b.x = threadIdx.x;
    A *p = threadIdx.x & 1 ? &a : &b;
    p->up(); p->up();
    out[threadIdx.x] = p->x;
}
"""


def test_a_destructor_that_only_the_table_names_may_call_what_is_not_there() -> None:
    text = cuda(VIRTUAL)
    assert ".extern .func free" in text
    (out,) = both_modes(text, 40, np.zeros(40, np.int32))
    assert out.tolist() == [i + (2 if i & 1 else 20) for i in range(40)]


def test_calls_nested_deeper_than_inlining_goes_take_the_stack() -> None:
    first = ".func (.reg .u32 r) f0(.reg .u32 a) { add.u32 r, a, 1; ret; }\n"
    chain = (
        f".func (.reg .u32 r) f{i}(.reg .u32 a) {{ call (r), f{i - 1}, (a); add.u32 r, r, {i}; ret; }}\n"
        for i in range(1, 200)
    )
    entry = """.visible .entry k(.param .u64 out) {
    .reg .b64 %o; .reg .b32 %x;
    ld.param.u64 %o, [out];
    call (%x), f199, (5);
    st.global.u32 [%o], %x;
}"""
    (out,) = both_modes(HEADER + first + "".join(chain) + entry, 1, np.zeros(1, np.uint32))
    assert out[0] == 5 + 1 + sum(range(200))


def test_a_function_without_a_body_is_refused_where_it_is_called() -> None:
    text = HEADER + ".extern .func f(.param .b32 a);\n.entry k() {\n.param .b32 x;\ncall f, (x);\n}"
    with pytest.raises(PtxError, match="call of f: no body") as error:
        compile_entry(parse(text), "k", (1, 1, 1))
    assert error.value.span.line == 7


def test_calls_that_fit_no_signature_are_refused() -> None:
    for old, new, message in (
        ("call (y), sum, (x);", "call (y), sum, (x, x);", "takes 1 arguments .* not 2"),
        (".param .b32 x;", ".param .b64 x;", "8 bytes where 4"),
        ("st.param.b32 [x], %n", "st.param.b32 [x+4], %n", "bytes 4 to 7 of x"),
    ):
        before, after = DEEP.rsplit(old, 1)
        with pytest.raises(PtxError, match=message):
            compile_entry(parse(before + new + after), "k", (1, 1, 1))


# what can be inlined, as warps and one thread at a time

STRUCTS = """
struct S { int a; double b; signed char c[5]; short d; };
__device__ __noinline__ S twice(S s)
{
    s.a *= 2; s.b *= 2; s.d *= 2;
    for (int i = 0; i < 5; i++) s.c[i] *= 2;
    return s;
}
struct V { float v[6]; };
__device__ __noinline__ float pick(V v, int i) { return v.v[i]; }
__device__ __noinline__ V turned(V v, int by)
{
    V r;
    for (int i = 0; i < 6; i++) r.v[i] = v.v[(i + by) % 6];
    return r;
}
extern "C" __global__ void k(int *out, float *f)
{
    int i = threadIdx.x;
    S s = {i, i * 0.5, {1, 2, 3, 4, (signed char)i}, (short)(i - 9)};
    S t = twice(s);
    out[i] = t.a + (int)t.b + t.c[4] * 1000 + t.d + t.c[1];
    V v;
    for (int j = 0; j < 6; j++) v.v[j] = i * 10 + j;
    f[i] = pick(turned(v, i), i % 5);
}
"""


@pytest.mark.parametrize("width", [1, 32])
def test_structures_go_in_and_out_by_value(width: int) -> None:
    text = cuda(STRUCTS)
    out, f = both_modes(text, 40, np.zeros(40, np.int32), np.zeros(40, np.float32), width=width)
    assert out.tolist() == [2 * i + i + 2 * i * 1000 + 2 * (i - 9) + 4 for i in range(40)]
    assert f.tolist() == [i * 10 + (i % 5 + i) % 6 for i in range(40)]
    assert run(text, 40, out, f, width=width).width == width


PIECES = (
    HEADER
    + """
.func (.param .align 8 .b8 r[16]) swap(.param .align 16 .b8 p[16])
{
    .reg .b32 %a<4>;
    .reg .b64 %at;
    .reg .b16 %h;
    ld.param.v2.b32 {%a0, %a1}, [p];
    mov.u64 %at, p;
    ld.param.b32 %a2, [%at+8];
    ld.param.b32 %a3, [p+12];
    ld.param.u8 %h, [p+1];
    st.param.b16 [r+2], %h;
    st.param.b16 [r], %a3;
    st.param.b32 [r+4], %a2;
    st.param.v2.b32 [r+8], {%a1, %a0};
    ret;
}
.visible .entry k(.param .u64 out)
{
    .reg .b64 %out, %x, %y;
    .reg .b32 %t;
    ld.param.u64 %out, [out];
    mov.u32 %t, %tid.x;
    mad.wide.u32 %out, %t, 16, %out;
    mad.wide.u32 %x, %t, 0x01010101, 0x4433221100;
    mul.lo.u64 %y, %x, 0x10203;
    .param .align 16 .b8 in[16];
    .param .align 8 .b8 back[16];
    st.param.b64 [in], %x;
    st.param.b64 [in+8], %y;
    call (back), swap, (in);
    ld.param.b64 %x, [back];
    ld.param.b64 %y, [back+8];
    st.global.b64 [%out], %x;
    st.global.b64 [%out+8], %y;
    ret;
}
"""
)


def swapped(t: int) -> bytes:
    x = t * 0x01010101 + 0x4433221100
    p = x.to_bytes(8, "little") + (x * 0x10203 % (1 << 64)).to_bytes(8, "little")
    return p[12:14] + p[1:2] + b"\0" + p[8:12] + p[4:8] + p[0:4]


@pytest.mark.parametrize("width", [1, 32])
def test_parameters_are_read_in_other_pieces_than_they_were_written(width: int) -> None:
    (out,) = both_modes(PIECES, 40, np.zeros(640, np.uint8), width=width)
    assert out.tobytes() == b"".join(swapped(t) for t in range(40))
    assert run(PIECES, 40, out, width=width).width == width


def test_a_piece_of_a_parameter_that_nobody_wrote_is_found() -> None:
    text = PIECES.replace("st.param.v2.b32 [r+8], {%a1, %a0};", "")
    findings = run(text, 1, np.zeros(16, np.uint8), check=True).findings
    assert {f.kind for f in findings} == {"uninitialized-read"}


# the stack

ALLOCA = (
    HEADER
    + """
.func (.reg .u32 r) total(.reg .u32 n)
{
    .reg .b64 %p, %q, %size, %mark;
    .reg .b32 %i, %x;
    .reg .pred %c;
    mul.wide.u32 %size, n, 4;
    stacksave.u64 %mark;
    alloca.u64 %q, 64;
    stackrestore.u64 %mark;
    alloca.u64 %p, %size, 64;
    mov.u32 %i, 0;
FILL:
    mad.wide.u32 %q, %i, 4, %p;
    mul.lo.u32 %x, %i, %i;
    st.local.u32 [%q], %x;
    add.u32 %i, %i, 1;
    setp.lt.u32 %c, %i, n;
    @%c bra FILL;
    cvta.local.u64 %p, %p;
    mov.u32 r, 0;
SUM:
    sub.u32 %i, %i, 1;
    mad.wide.u32 %q, %i, 4, %p;
    ld.u32 %x, [%q];
    add.u32 r, r, %x;
    setp.ne.u32 %c, %i, 0;
    @%c bra SUM;
    ret;
}
.visible .entry k(.param .u64 out, .param .u32 n)
{
    .reg .b64 %out, %kept;
    .reg .b32 %n, %i, %x;
    .reg .pred %p;
    ld.param.u64 %out, [out];
    ld.param.u32 %n, [n];
    alloca.u64 %kept, 8;
    st.local.u64 [%kept], %out;
    mov.u32 %i, 0;
AGAIN:
    call (%x), total, (%n);
    ld.local.u64 %out, [%kept];
    st.global.u32 [%out], %x;
    brkpt;
    add.u32 %i, %i, 1;
    setp.lt.u32 %p, %i, 300;
    @%p bra AGAIN;
    ret;
}
"""
)


def test_alloca_gives_memory_until_the_function_returns() -> None:
    # 300 calls of 4,000 bytes each are far more than the stack: returning frees them.
    (out,) = both_modes(ALLOCA, 2, np.zeros(1, np.uint32), 1000)
    assert out[0] == sum(i * i for i in range(1000)) & M32


def test_alloca_has_bounds_and_a_limit() -> None:
    past = ALLOCA.replace("setp.lt.u32 %c, %i, n;", "setp.le.u32 %c, %i, n;")
    findings = run(past, 1, np.zeros(1, np.uint32), 10, check=True).findings
    assert {f.kind for f in findings} == {"out-of-bounds"}
    assert all("st.local.u32 [%q], %x;" in past.splitlines()[f.line - 1] for f in findings[:1])
    for check in (False, True):
        (finding,) = run(ALLOCA, 1, np.zeros(1, np.uint32), 1 << 20, check=check).findings
        assert finding.kind == "resource-limit"
        assert "alloca.u64 %p" in ALLOCA.splitlines()[finding.line - 1]


# printf

PRINTF = r"""
extern "C" __global__ void k(const char *name, int n)
{
    int i = threadIdx.x;
    if (i % 2 == 0)
        printf("%s thread %d/%03d: %5.2f|%-8e|%c|%llx|%u|%+ld|%hhd|%%|%*d|%.3s|%a\n", name, i, n, i / 3.0,
               1e10 * i, 'a' + i, 0x123456789abcull + i, -i, (long)-i, 300 + i, 6, i, "abcdef", i * 0.5);
    if (i == 0) printf("plain\n");
}
"""


def expected(i: int) -> str:
    """The same conversions by Python; it has no hexadecimal floats."""
    values = (i, 7, i / 3.0, 1e10 * i, chr(97 + i), 0x123456789ABC + i, -i & M32, -i, (300 + i) % 256, 6, i)
    half = {0: "0x0p+0", 2: "0x1p+0", 4: "0x1p+1"}[i]
    text = "me thread %d/%03d: %5.2f|%-8e|%c|%x|%u|%+d|%d|%%|%*d|%.3s|%s\n"
    return text % (*values, "abcdef", half)


@pytest.mark.parametrize("width", [1, 32])
@pytest.mark.parametrize("check", [False, True])
def test_printf_prints_what_the_c_library_prints(width: int, check: bool) -> None:
    name = np.frombuffer(b"me\0", np.uint8).copy()
    ran = run(cuda(PRINTF), 5, name, 7, width=width, check=check)
    assert (ran.findings, ran.width) == ([], width)
    assert sorted(ran.printed.splitlines()) == sorted(["plain", *(expected(i)[:-1] for i in (0, 2, 4))])


def test_a_module_prints_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = Module(cuda(PRINTF)).get_function("k")
    for check in (False, True):
        kernel((1,), (1,), (np.frombuffer(b"me\0", np.uint8).copy(), 7), check=check)
        assert capsys.readouterr().out == expected(0) + "plain\n"


def test_a_string_that_does_not_end_is_found() -> None:
    (finding,) = run(cuda(PRINTF), 1, np.full(4, 65, np.uint8), 7, check=True).findings
    assert (finding.kind, finding.buffer) == ("out-of-bounds", "a0")


def test_a_flood_of_text_is_cut_off_with_a_note() -> None:
    text = cuda('extern "C" __global__ void k(int n) { for (int i = 0; i < n; i++) printf("%0100d\\n", i); }')
    printed = run(text, 32, 1000).printed
    assert MAX_TEXT - 200 < len(printed) < MAX_TEXT + 200
    assert printed.endswith("are not shown]\n")
    assert f"{32_000 - MAX_TEXT // 101} more calls" in printed


def test_a_format_that_makes_no_sense_stands_for_itself() -> None:
    def never(*_: int) -> bytes:
        raise AssertionError

    assert formatted(b"100% %y %n %q%", 0, never, never) == (b"100% %y %n %q%", 0)


def test_printing_gives_the_number_of_arguments() -> None:
    text = cuda(
        'extern "C" __global__ void k(int *out) { out[threadIdx.x] = printf("%d %d\\n", threadIdx.x, 3); }'
    )
    for width in (1, 32):
        (out,) = both_modes(text, 4, np.zeros(4, np.int32), width=width)
        assert out.tolist() == [2, 2, 2, 2]
