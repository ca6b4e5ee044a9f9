"""Texts the judge's tests share: an honest kernel, and ways to change it."""

from __future__ import annotations

ADD = """//@ launch entry=add grid=ceil_div(n,256) block=256
.version 8.0
.target sm_80
.address_size 64

.visible .entry add(.param .u64 in0, .param .u64 in1, .param .u64 out, .param .u64 n)
{
    .reg .pred %p;
    .reg .b32 %r<4>;
    .reg .b64 %rd<9>;
    .reg .f32 %f<3>;

    mov.u32 %r0, %ctaid.x;
    mov.u32 %r1, %ntid.x;
    mov.u32 %r2, %tid.x;
    cvt.u64.u32 %rd0, %r2;
    mul.wide.u32 %rd1, %r0, %r1;
    add.u64 %rd0, %rd0, %rd1;
    ld.param.u64 %rd2, [n];
    setp.ge.u64 %p, %rd0, %rd2;
    @%p bra DONE;
    ld.param.u64 %rd3, [in0];
    ld.param.u64 %rd4, [in1];
    ld.param.u64 %rd5, [out];
    shl.b64 %rd6, %rd0, 2;
    add.u64 %rd3, %rd3, %rd6;
    add.u64 %rd4, %rd4, %rd6;
    add.u64 %rd5, %rd5, %rd6;
    ld.global.f32 %f0, [%rd3];
    ld.global.f32 %f1, [%rd4];
    add.rn.f32 %f2, %f0, %f1;
    st.global.f32 [%rd5], %f2;
DONE:
    ret;
}
"""


def changed(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each first string replaced by the second; one that isn't there is the test's mistake."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def line_of(text: str, part: str) -> int:
    """1-based line on which a part stands first."""
    return text[: text.index(part)].count("\n") + 1


NEGATIVE = changed(
    ADD,
    (".param .u64 in1, ", ""),
    ("    ld.param.u64 %rd4, [in1];\n", ""),
    ("    add.u64 %rd4, %rd4, %rd6;\n", ""),
    ("    ld.global.f32 %f1, [%rd4];\n", ""),
    ("add.rn.f32 %f2, %f0, %f1;", "neg.f32 %f2, %f0;"),
)
