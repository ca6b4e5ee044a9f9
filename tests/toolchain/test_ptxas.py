"""ptxas as the judge uses it: the oracle is ptxas itself, on kernels whose cost is plain to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmptx.toolchain import ptxas
from llmptx.toolchain.ptxas import ToolchainMissing, assemble, assemble_all

pytestmark = pytest.mark.skipif(ptxas.find_ptxas() is None, reason="no ptxas on this machine")

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"

KERNEL = (
    HEAD
    + """.visible .entry k(.param .u64 a)
{
    .reg .u64 %rd<2>;
    .reg .u32 %r<3>;
    .shared .align 4 .b8 tile[1024];
    ld.param.u64 %rd1, [a];
    mov.u32 %r1, %tid.x;
    st.shared.u32 [tile], %r1;
    bar.sync 0;
    ld.shared.u32 %r2, [tile+4];
    st.global.u32 [%rd1], %r2;
    ret;
}
.visible .entry other(.param .u64 a) { ret; }
"""
)


def test_reports_the_resources_of_each_entry_and_target() -> None:
    for target, assembly in zip(("sm_80", "sm_90", "sm_100"), assemble_all(KERNEL), strict=True):
        assert assembly.ok
        assert assembly.errors == ()
        found = {r.entry: r for r in assembly.resources}
        assert set(found) == {"k", "other"}
        assert found["k"].target == target
        # From sm_90 on the driver keeps some shared memory of each block for itself and ptxas may count it.
        assert 1024 <= found["k"].shared <= 2048
        assert found["k"].barriers == 1
        assert found["k"].registers > 0
        assert found["other"].shared < found["k"].shared
        assert found["other"].barriers == 0
        assert found["other"].stack == found["other"].spill_stores == found["other"].spill_loads == 0


def test_an_error_keeps_its_line() -> None:
    assembly = assemble(KERNEL.replace("bar.sync 0;", "bar.sink 0;"), "sm_80")
    line = KERNEL[: KERNEL.index("bar.sync")].count("\n") + 1
    assert not assembly.ok
    assert assembly.resources == ()
    assert assembly.errors[0][0] == line
    assert "sink" in assembly.errors[0][1]
    assert not any("aborted" in text for _, text in assembly.errors)


def test_an_error_without_a_line_is_kept_too() -> None:
    assembly = assemble(KERNEL.replace(".target sm_80", ".target sm_90"), "sm_80")
    assert not assembly.ok
    assert assembly.errors[0][0] == 0
    assert "higher than" in assembly.errors[0][1]


def test_text_that_is_no_ptx_is_an_error_not_an_exception() -> None:
    assert not assemble("", "sm_80").ok
    assert not assemble("\x00\ud800 hello", "sm_80").ok


def test_counts_local_memory_as_stack() -> None:
    text = (
        HEAD
        + """.visible .entry k(.param .u64 a)
{
    .reg .u64 %rd<4>;
    .reg .u32 %r<3>;
    .local .align 8 .b8 array[64];
    ld.param.u64 %rd1, [a];
    ld.global.u32 %r1, [%rd1];
    cvt.u64.u32 %rd2, %r1;
    mov.u64 %rd3, array;
    add.u64 %rd3, %rd3, %rd2;
    st.local.u32 [%rd3], %r1;
    ld.local.u32 %r2, [array+8];
    st.global.u32 [%rd1], %r2;
    ret;
}
"""
    )
    (resources,) = assemble(text, "sm_80").resources
    assert resources.stack >= 64


def test_a_compile_bomb_ends_under_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptxas, "CPU_SECONDS", 1)
    body = "\n".join(f"    add.u32 %r{i + 1}, %r{i}, %r{i // 2};" for i in range(400_000))
    head = HEAD + ".visible .entry k(.param .u64 a)\n{\n    .reg .u32 %r<400001>;\n"
    bomb = head + body + "\n    ret;\n}\n"
    assembly = ptxas._run(Path(str(ptxas.find_ptxas())), bomb + "// once", "sm_80")
    assert not assembly.ok
    assert "SIGXCPU" in assembly.errors[0][1] or "SIGKILL" in assembly.errors[0][1]


def test_too_little_memory_is_an_error_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptxas, "MEMORY_KIB", 20_000)
    assembly = ptxas._run(Path(str(ptxas.find_ptxas())), KERNEL, "sm_80")
    assert not assembly.ok
    assert assembly.errors[0][1]


def test_the_same_text_is_assembled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = KERNEL + "// only here\n"
    first = assemble(text, "sm_80")
    monkeypatch.setattr(ptxas, "_run", lambda *_: pytest.fail("assembled twice"))
    assert assemble(text, "sm_80") is first


def test_without_ptxas_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptxas, "find_ptxas", lambda: None)
    with pytest.raises(ToolchainMissing, match="pip install nvidia-cuda-nvcc"):
        assemble(KERNEL + "// nowhere\n", "sm_80")


def test_a_target_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="sm_80"):
        assemble(KERNEL, "sm_80 -o /tmp/x")
