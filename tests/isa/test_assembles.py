"""ptxas judges the table's syntax: what the table takes it takes, and near misses neither takes."""

from __future__ import annotations

import random

import pytest

from llmptx.isa import match
from llmptx.ptx.ast import Instruction
from llmptx.ptx.errors import PtxError
from llmptx.toolchain.ptxas import find_ptxas
from tests.isa.texts import forms, groups, parsed, refusals, texts

pytestmark = pytest.mark.skipif(find_ptxas() is None, reason="there is no ptxas on this machine")

WITHOUT_SYNC = (
    "shfl.up",
    "shfl.down",
    "shfl.bfly",
    "shfl.idx",
    "vote.all",
    "vote.any",
    "vote.uni",
    "vote.ballot",
)


def old(text: str) -> bool:
    """A form that PTX 6.4 took away."""
    return text.startswith(WITHOUT_SYNC)


def test_ptxas_takes_every_form_of_every_row() -> None:
    written = [text for form in forms() for text in texts(form, cap=60)]
    assert len(written) > 4000
    assert refusals([text for text in written if not old(text)]) == {}
    assert refusals([text for text in written if old(text)], version="6.3", target="sm_75") == {}


def test_a_call_reads_and_writes_its_parameters() -> None:
    sequence = [
        "st.param.b32 [arg], %r1", "call (res), both, (arg)", "ld.param.b32 %r2, [res]",
        "st.param::func.b32 [arg], %r1", "call (res), both, (arg)", "ld.param::func.b32 %r2, [res]",
    ]  # fmt: skip
    for instruction in parsed(sequence):
        match(instruction)
    assert refusals(sequence) == {}


NEAR_MISSES = [
    # a modifier the type does not have
    "add.ftz.f64 %fd1, %fd2, %fd3", "add.sat.f64 %fd1, %fd2, %fd3", "add.sat.u32 %r1, %r2, %r3",
    "add.rz.f16 %h1, %h2, %h3", "add.ftz.bf16 %h1, %h2, %h3", "sub.sat.s64 %rd1, %rd2, %rd3",
    "mad.lo.sat.s32 %r1, %r2, %r3, %r4", "min.NaN.f64 %fd1, %fd2, %fd3", "min.xorsign.f32 %f1, %f2, %f3",
    "min.relu.u32 %r1, %r2, %r3", "max.relu.s64 %rd1, %rd2, %rd3", "neg.ftz.f64 %fd1, %fd2",
    "tanh.approx.ftz.f32 %f1, %f2", "ex2.approx.ftz.f16 %h1, %h2", "rcp.approx.f64 %fd1, %fd2",
    "sqrt.approx.f64 %fd1, %fd2", "setp.lt.ftz.f64 %p1, %fd1, %fd2", "slct.ftz.u32.s32 %r1, %r2, %r3, %r4",
    "fma.rn.sat.relu.f16 %h1, %h2, %h3, %h4", "fma.rn.sat.bf16 %h1, %h2, %h3, %h4", "bar.sync.aligned 0",
    "cvt.ftz.f64.f16 %fd1, %h1", "cvt.sat.s32.s8 %r1, %h1", "cvt.sat.u64.u32 %rd1, %r1",
    "cvt.rn.f32.f32 %f1, %f2", "cvt.rn.f64.f32 %fd1, %f2", "cvt.rni.f32.f64 %f1, %fd2",
    "cvt.rn.s32.s64 %r1, %rd1", "cvt.rm.f16x2.f32 %r1, %f1, %f2", "cvt.rm.relu.bf16.f32 %h1, %f1",
    "cvt.rn.sat.bf16.f32 %h1, %f1", "ld.volatile.global.ca.u32 %r1, [%rd1]",
    "ld.volatile.const.u32 %r1, [%rd1]", "ld.shared.nc.u32 %r1, [%rd1]",
    "ld.shared.L2::128B.u32 %r1, [%rd1]", "ld.global.ca.L1::no_allocate.u32 %r1, [%rd1]",
    "ld.relaxed.global.u32 %r1, [%rd1]", "ld.relaxed.gpu.local.u32 %r1, [%rd1]",
    "st.global.ca.u32 [%rd1], %r1", "st.const.u32 [%rd1], %r1", "ldu.shared.u32 %r1, [%rd1]",
    "red.acquire.gpu.global.add.u32 [%rd1], %r1", "atom.local.add.u32 %r1, [%rd1], %r2",
    "prefetch.shared.L1 [%rd1]", "prefetchu.L2 [%rd1]", "exit.uni",
    # one that is missing
    "mul.s32 %r1, %r2, %r3", "mad.f32 %f1, %f2, %f3, %f4", "fma.f32 %f1, %f2, %f3, %f4",
    "fma.f16 %h1, %h2, %h3, %h4", "div.f32 %f1, %f2, %f3", "rcp.f32 %f1, %f2", "sqrt.f64 %fd1, %fd2",
    "sin.f32 %f1, %f2", "cvt.s32.f32 %r1, %f1", "cvt.f32.s32 %f1, %r1", "cvt.f16.f32 %h1, %f1",
    "mad.cc.u32 %r1, %r2, %r3, %r4", "shf.l.b32 %r1, %r2, %r3, %r4", "cvta.u64 %rd1, %rd2",
    "shfl.sync.b32 %r1, %r2, %r3, %r4, %r5", "match.sync.b32 %r1, %r2, %r3",
    # a type the opcode does not have
    "add.b32 %r1, %r2, %r3", "add.u8 %h1, %h2, %h3", "sub.u16x2 %r1, %r2, %r3",
    "mul.wide.u64 %rd1, %rd2, %rd3", "mul.lo.u8 %h1, %h2, %h3", "neg.u32 %r1, %r2", "abs.u32 %r1, %r2",
    "popc.u32 %r1, %r2", "brev.b16 %h1, %h2", "bfe.b32 %r1, %r2, %r3, %r4",
    "bfi.u32 %r1, %r2, %r3, %r4, %r5", "and.u32 %r1, %r2, %r3", "shl.u32 %r1, %r2, %r3",
    "cnot.pred %p1, %p2", "selp.f16 %h1, %h2, %h3, %p1", "selp.pred %p1, %p2, %p3, %p4",
    "testp.normal.f16 %p1, %h1", "copysign.f16 %h1, %h2, %h3", "sin.approx.f64 %fd1, %fd2",
    "mov.u8 %h1, %h2", "mov.f16 %h1, %h2", "ld.global.f16 %h1, [%rd1]", "ld.global.pred %p1, [%rd1]",
    "atom.global.add.s64 %rd1, [%rd2], %rd3", "atom.global.exch.u32 %r1, [%rd1], %r2",
    "atom.global.inc.s32 %r1, [%rd1], %r2", "atom.global.min.f32 %f1, [%rd1], %f2",
    "redux.sync.add.b32 %r1, %r2, %r3", "redux.sync.and.u32 %r1, %r2, %r3", "set.eq.u16.f32 %h1, %f1, %f2",
    "set.eq.f64.f32 %fd1, %f1, %f2", "set.eq.f32.f16 %f1, %h1, %h2", "vote.sync.ballot.pred %p1, %p2, %r1",
    "bar.red.popc.pred %p1, 0, %p2", "bar.red.and.u32 %r1, 0, %p1",
    # an operator the type does not have
    "setp.lo.s32 %p1, %r1, %r2", "setp.lt.b32 %p1, %r1, %r2", "setp.equ.s32 %p1, %r1, %r2",
    "setp.num.u32 %p1, %r1, %r2", "setp.hi.f32 %p1, %f1, %f2", "membar.gpu",
    "prmt.b32.abc %r1, %r2, %r3, %r4",
    # operands in number or kind
    "add.s32 %r1, %r2", "add.s32 _, %r2, %r3", "add.f32 %f1, %f2, 1", "add.s32 %r1, %r2, 1.0",
    "and.b32 %r1, %r2, 1.0", "mov.f32 %f1, 1", "add.u64 %rd1, %rd2, variable",
    "setp.eq.s32 %p1, %r1, %r2, %p3", "setp.eq.and.s32 %p1, %r1, %r2", "setp.eq.f16 %p1|%p2, %h1, %h2",
    "lop3.b32 %r1, %r2, %r3, %r4, %r5", "bar.arrive 1", "cvta.to.global.u64 %rd1, variable", "pmevent %r1",
    "ld.global.v2.u32 {%r1, %r2, %r3}, [%rd1]", "ld.global.v4.f64 {%fd1, %fd2, %fd3, %fd4}, [%rd1]",
    "match.any.sync.b32 %r1|%p1, %r2, %r3", "lop3.or.b32 %r1, %r2, %r3, %r4, 1, %p2",
    # matrices, copies, barriers in memory
    "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f16 {%f1, %f2, %f3, %f4}, {%r1, %r2}, {%r3}, {%r4, %r5}",
    "mma.sync.aligned.m16n8k8.row.row.f16.f16.f16.f16 {%r1, %r2}, {%r1, %r2}, {%r3}, {%r4, %r5}",
    "mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%r1, %r2}, %r3, {%r4}, {%r5, %r6}",
    "mma.sync.aligned.m8n8k16.row.col.s32.s8.s4.s32 {%r1, %r2}, {%r3}, {%r4}, {%r5, %r6}",
    "wmma.load.a.sync.aligned.col.m8n8k32.s4 {%r1}, [%rd1]",
    "wmma.load.a.sync.aligned.row.m16n16k16.local.u8 {%r1, %r2}, [%rd1]",
    "ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r2]", "movmatrix.sync.aligned.m8n8.b16 %r1, %r2",
    "ldmatrix.sync.aligned.m8n8.x2.global.b16 {%r1, %r2}, [%rd2]",
    "cp.async.cg.shared.global [%r1], [%rd1], 8", "cp.async.ca.shared.global [%r1], [%rd1], 12",
    "cp.async.ca.global.shared [%rd1], [%r1], 4", "mbarrier.arrive.release.shared.b64 %rd1, [%r1]",
    "mbarrier.arrive.noComplete.shared.b64 %rd1, [%r1]",
    "mbarrier.test_wait.shared.b64 %p1, [%r1], %rd1, %r2",
    "cvt.rn.e4m3x2.f32 %h1, %f1, %f2", "cvt.rz.satfinite.e5m2x2.f32 %h1, %f1, %f2",
]  # fmt: skip


def taken(written: list[str]) -> list[str]:
    """Those that the table takes."""

    def takes(instruction: Instruction) -> bool:
        try:
            match(instruction)
        except PtxError:
            return False
        return True

    return [text for text, instruction in zip(written, parsed(written), strict=True) if takes(instruction)]


def test_near_misses_are_refused_by_both() -> None:
    assert taken(NEAR_MISSES) == []
    refused: dict[str, str] = {}
    left = list(NEAR_MISSES)
    # some complaints end the assembly, and hide the ones after them
    while found := refusals(left):
        refused |= found
        left = [text for text in left if text not in found]
    assert left == []
    assert len(refused) == len(NEAR_MISSES)


def test_whatever_else_the_table_takes_ptxas_takes() -> None:
    """Texts with one modifier dropped, added or exchanged for one of another instruction."""
    draw = random.Random(0)
    names = sorted({name for form in forms() for group in groups(form.pattern) for name in group if name})
    mutants = set()
    for form in forms():
        for text in texts(form, cap=6):
            if form.chapter == "control":
                continue
            head, space, tail = text.partition(" ")
            parts = head.split(".")
            at = draw.randrange(1, len(parts) + 1)
            change = draw.choice(["drop", "add", "swap"])
            if change == "drop":
                del parts[at : at + 1]
            elif change == "add":
                parts.insert(at, draw.choice(names))
            elif at < len(parts):
                parts[at] = draw.choice(names)
            mutants.add(".".join(parts) + space + tail)
    accepted = [text for text in taken(sorted(mutants)) if not old(text)]
    assert len(accepted) > 100
    # the operands are the old text's: complaints about them say nothing of the modifiers
    complaints = {text: why for text, why in refusals(accepted).items() if "mismatch" not in why}
    assert complaints == {}
