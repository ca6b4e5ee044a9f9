"""The hash of machine code: blind to names, open to everything that runs."""

from __future__ import annotations

import pytest

from llmptx.toolchain.cubin import code_hash
from llmptx.toolchain.ptxas import assemble, find_ptxas
from tests.verify.kernels import ADD, changed

pytestmark = pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")

TABLE = ".const .align 4 .b32 table[2] = {1, 2};\n"
HEAD = ".visible .entry add("
READ = "    ld.const.f32 %f1, [table];\n    add.rn.f32 %f2, %f0, %f1;\n"


def code(*pairs: tuple[str, str]) -> str:
    return assemble(changed(ADD, *pairs), "sm_80").code


@pytest.mark.parametrize(
    "pairs",
    [
        (("%rd6", "%rd8"),),
        (("DONE", "OUT"),),
        (("add.u64 %rd3, %rd3, %rd6", "add.s64 %rd3, %rd6, %rd3"),),
        (("    ld.param.u64 %rd5, [out];\n", "    // the output\n    ld.param.u64 %rd5, [out];\n"),),
    ],
)
def test_the_same_code_has_the_same_hash(pairs: tuple[tuple[str, str], ...]) -> None:
    assert code(*pairs) == code()


@pytest.mark.parametrize(
    "pairs",
    [
        (("add.rn.f32", "sub.rn.f32"),),
        (("add.rn.f32", "add.rz.f32"),),
        (("setp.ge.u64", "setp.gt.u64"),),
        (("shl.b64 %rd6, %rd0, 2", "shl.b64 %rd6, %rd0, 3"),),
        (("[in1]", "[in0]"),),
    ],
)
def test_other_code_has_another_hash(pairs: tuple[tuple[str, str], ...]) -> None:
    assert code(*pairs) not in ("", code())


def test_the_contents_of_tables_count() -> None:
    table = ((HEAD, TABLE + HEAD), ("    add.rn.f32 %f2, %f0, %f1;\n", READ))
    other = ((HEAD, TABLE.replace("{1, 2}", "{1, 3}") + HEAD), table[1])
    assert code(*table) != code(*other)


def test_shared_memory_counts() -> None:
    store = "    st.shared.f32 [part], %f2;\n    st.global.f32 [%rd5], %f2;\n"

    def with_shared(size: int) -> str:
        shared = f"    .reg .pred %p;\n    .shared .align 4 .f32 part[{size}];\n"
        return code(("    .reg .pred %p;\n", shared), ("    st.global.f32 [%rd5], %f2;\n", store))

    assert with_shared(1) != with_shared(64)


def test_a_text_that_does_not_assemble_has_none() -> None:
    assert code(("add.rn.f32", "add.rn.f31")) == ""


@pytest.mark.parametrize("rest", [b"", bytes(58), b"\xff" * 58])
def test_what_is_no_elf_file_is_refused(rest: bytes) -> None:
    with pytest.raises(ValueError, match="ELF"):
        code_hash(b"\x7fELF\x02\x01" + rest)
