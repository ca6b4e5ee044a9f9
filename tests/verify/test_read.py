"""What the judge refuses before anything runs, and what it must not refuse."""

from __future__ import annotations

import time

import pytest

from llmptx.record import Finding
from llmptx.routines import find
from llmptx.verify.read import Reading, read
from tests.verify.kernels import ADD, changed, line_of

ROUTINE = find("numpy.add")
SIGNATURE = ROUTINE.signature("float32")

LOAD = "    ld.global.f32 %f0, [%rd3];\n"
HEAD = ".visible .entry add("
END = "DONE:\n    ret;\n}\n"


def reading(text: str) -> Reading:
    return read(text, ROUTINE, SIGNATURE)


def only(text: str) -> Finding:
    findings = reading(text).findings
    assert len(findings) == 1, findings
    return findings[0]


def with_line(line: str) -> str:
    """The kernel with one more instruction."""
    return changed(ADD, (LOAD, f"    {line}\n{LOAD}"))


def test_an_honest_kernel_is_read() -> None:
    found = reading(ADD)
    assert found.findings == ()
    assert found.plan is not None
    assert [e.name for e in found.module.entries] == ["add"]  # type: ignore[union-attr]
    assert not found.approximate
    assert not found.unordered


@pytest.mark.parametrize(
    "text",
    [
        changed(ADD, ("%f2, %f0, %f1;", "%f2, %f0;")),
        changed(ADD, ("shl.b64", "shlift.b64")),
        changed(ADD, ("add.rn.f32", "add.rq.f32")),
        changed(ADD, ("setp.ge.u64", "setp.ge.q64")),
        changed(ADD, ("[%rd5], %f2;", "[%rd5, %f2;")),
        "",
        "hello",
        "\x00",
        "\ud800",
    ],
)
def test_text_that_is_no_ptx_is_a_parse_finding(text: str) -> None:
    findings = reading(text).findings
    assert findings
    assert {f.kind for f in findings} <= {"parse", "abi"}
    assert findings[0].kind == "parse"


def test_a_parse_finding_has_its_place() -> None:
    text = changed(ADD, ("shl.b64", "shlift.b64"))
    finding = only(text)
    assert (finding.line, finding.column) == (line_of(text, "shlift"), 5)
    assert "shlift" in finding.message


ABI = [
    (changed(ADD, ("//@ launch entry=add grid=ceil_div(n,256) block=256\n", "")), "launch"),
    (changed(ADD, ("entry=add", "entry=other")), "other"),
    (changed(ADD, ("block=256", "block=2048")), "1024"),
    (changed(ADD, ("block=256", "block=256 color=red")), "color"),
    (changed(ADD, ("ceil_div(n,256)", "ceil_div(m,256)")), "m"),
    (changed(ADD, ("block=256", "block=256 args=in0,in1,out")), "passed 3"),
    (changed(ADD, ("block=256", "block=256 args=in0,in1,out,m")), "m"),
    (changed(ADD, (".param .u64 out, .param .u64 n", ".param .u64 out")), "3 parameters"),
    (changed(ADD, (".param .u64 n)", ".param .u64 n, .param .u64 more)")), "5 parameters"),
    (changed(ADD, (".param .u64 n)", ".param .u32 n)")), ".u64"),
    (changed(ADD, ("[n]", "[n+8]")), "bytes 8 to 16"),
    (changed(ADD, (".target sm_80", ".target sm_120")), "sm_120"),
    (changed(ADD, (".target sm_80", ".target sm_90a")), "one architecture"),
    (changed(ADD, ("n)\n{", "n)\n.reqntid 128, 1, 1\n{")), "128"),
    (changed(ADD, ("n)\n{", "n)\n.maxntid 128, 1, 1\n{")), "128"),
    (changed(ADD, ("//@ launch", "//@ align 3\n//@ launch")), "power of two"),
]


@pytest.mark.parametrize(("text", "says"), ABI, ids=[says for _, says in ABI])
def test_a_broken_launch_rule_is_an_abi_finding(text: str, says: str) -> None:
    findings = reading(text).findings
    abi = [f for f in findings if f.kind == "abi"]
    assert abi, findings
    assert any(says in f.message for f in abi), abi
    assert all(f.line > 0 for f in abi if "launch line" not in f.message)


FORBIDDEN = {
    "clock": with_line("mov.u32 %r3, %clock;"),
    "clock64": with_line("mov.u64 %rd7, %clock64;"),
    "globaltimer": with_line("mov.u64 %rd7, %globaltimer;"),
    "gridid": with_line("mov.u64 %rd7, %gridid;"),
    "smid": with_line("mov.u32 %r3, %smid;"),
    "pm0": with_line("mov.u32 %r3, %pm0;"),
    "envreg3": with_line("mov.b32 %r3, %envreg3;"),
    "module memory": changed(ADD, (HEAD, f".global .align 4 .b8 memo[4096];\n{HEAD}")),
    "external function": changed(
        ADD, (HEAD, f".extern .func (.param .b32 r) vprintf(.param .b64 f);\n{HEAD}")
    ),
    "external variable": changed(ADD, (HEAD, f".extern .global .align 4 .b32 answer;\n{HEAD}")),
    "decoy kernel": changed(ADD, (END, END + ".visible .entry decoy(.param .u64 a)\n{\n    ret;\n}\n")),
    "big table": changed(ADD, (HEAD, f".const .align 4 .b32 table[16385] = {{1}};\n{HEAD}")),
    "cache policy": with_line("createpolicy.fractional.L2::evict_last.b64 %rd7, 1.0;"),
    "cache hint": with_line("ld.global.L1::evict_last.f32 %f2, [%rd3];"),
    "ld.global.nc without noalias": with_line("ld.global.nc.f32 %f2, [%rd3];"),
    "store to a parameter": with_line("st.param.u64 [n], %rd2;"),
}


@pytest.mark.parametrize("text", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_is_forbidden_is_found(text: str) -> None:
    findings = reading(text).findings
    forbidden = [f for f in findings if f.kind == "forbidden"]
    assert forbidden, findings
    assert forbidden[0].line > 0


TABLE = ".global .align 4 .b32 table[4] = {1, 2, 3, 4};\n"

STORES = [
    "st.global.u32 [table+4], %r2;",
    "mov.u64 %rd7, table;\n    st.global.u32 [%rd7], %r2;",
    "mov.u64 %rd7, table;\n    add.u64 %rd8, %rd7, %rd6;\n    st.global.u32 [%rd8+4], %r2;",
    "mov.u64 %rd7, table;\n    cvta.global.u64 %rd8, %rd7;\n    st.u32 [%rd8], %r2;",
    "mov.u64 %rd7, table;\n    atom.global.add.u32 %r3, [%rd7], %r2;",
    "mov.u64 %rd7, table;\n    red.global.add.u32 [%rd7], %r2;",
    "mov.u64 %rd7, table;\n    st.global.u64 [%rd5], %rd7;",
]


@pytest.mark.parametrize("store", STORES)
def test_a_store_to_a_table_is_forbidden_by_any_road(store: str) -> None:
    text = changed(with_line(store), (HEAD, TABLE + HEAD))
    findings = reading(text).findings
    assert [f.kind for f in findings] == ["forbidden"]
    assert findings[0].line == line_of(text, store) + store.count("\n")


def test_a_table_that_is_only_read_is_allowed() -> None:
    read_it = "mov.u64 %rd7, table;\n    add.u64 %rd8, %rd7, %rd6;\n    ld.global.u32 %r3, [table+4];"
    assert reading(changed(with_line(read_it), (HEAD, TABLE + HEAD))).findings == ()


@pytest.mark.parametrize(
    "text",
    [
        changed(
            ADD, ("//@ launch", "//@ noalias\n//@ launch"), ("ld.global.f32 %f1", "ld.global.nc.f32 %f1")
        ),
        changed(
            ADD, (HEAD, f".extern .shared .align 16 .b8 dynamic[];\n{HEAD}"), ("=256\n", "=256 shared=1024\n")
        ),
        changed(ADD, ("n)\n{", "n)\n.maxntid 256, 1, 1\n{")),
        changed(ADD, ("n)\n{", "n)\n.reqntid 256\n{")),
        changed(ADD, ("block=256", "block=256 args=in0,in1,out,n*1")),
        with_line("mov.u32 %r3, %laneid;"),
        with_line("mov.u32 %r3, %lanemask_lt;"),
    ],
)
def test_what_is_allowed_is_not_found(text: str) -> None:
    assert reading(text).findings == ()


def test_too_much_shared_memory_is_a_resource_finding() -> None:
    assert only(changed(ADD, ("block=256", "block=256 shared=200000"))).kind == "resource-limit"
    text = changed(
        ADD, ("    .reg .pred %p;\n", "    .reg .pred %p;\n    .shared .align 4 .b8 tile[60000];\n")
    )
    assert only(text).kind == "resource-limit"


def test_a_huge_text_is_refused_unread() -> None:
    began = time.perf_counter()
    assert only(ADD + "//" + "x" * (1 << 20)).kind == "resource-limit"
    assert time.perf_counter() - began < 0.1


def test_a_declaration_of_countless_registers_is_refused_at_once() -> None:
    began = time.perf_counter()
    found = reading(changed(ADD, ("%r<4>", "%r<4000000000>"))).findings
    assert found
    assert found[0].kind in ("resource-limit", "parse")
    assert time.perf_counter() - began < 1


def test_approximations_and_atomic_float_sums_are_noticed() -> None:
    assert reading(with_line("ex2.approx.f32 %f2, %f1;")).approximate
    assert reading(with_line("red.global.add.f32 [%rd5], %f1;")).unordered


def test_every_fault_of_a_text_is_reported_up_to_a_limit() -> None:
    text = with_line("mov.u32 %r3, %clock;\n    mov.u32 %r3, %smid;")
    assert [f.kind for f in reading(text).findings] == ["forbidden", "forbidden"]
    many = "\n    ".join(f"shlift.b64 %rd{i % 8}, %rd0, 2;" for i in range(100))
    assert len(reading(with_line(many)).findings) == 20
