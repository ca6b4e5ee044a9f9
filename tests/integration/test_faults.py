"""Every planted fault is found in checked mode, as what it is and where it is."""

from __future__ import annotations

from typing import Any

import pytest

from llmptx.record import Finding

from . import (
    control,
    digits,
    elementwise,
    fourier,
    histogram,
    matrix,
    models,
    reduce,
    scan,
    sort,
    stencil,
    tensor,
    together,
    written,
)
from .compiler import compiled, marks, source_lines
from .launches import Kernel, launched

# (kernel, number of the fault in its file, shape to run it at)
FAULTS: list[tuple[Kernel, int, tuple[Any, ...]]] = [
    (elementwise.rooted_f32, 1, (100,)),
    (elementwise.rooted_f32, 2, (100,)),
    (elementwise.rooted_f32, 3, (100,)),
    (elementwise.rooted_f32, 7, (100,)),
    (elementwise.rooted_f32, 8, (100,)),
    (elementwise.vectors, 4, (33,)),
    (elementwise.vectors, 5, (33,)),
    (reduce.sum_shared, 1, (100,)),
    (reduce.sum_shared, 2, (128,)),
    (reduce.sum_shared, 3, (128,)),
    (reduce.sum_shared, 4, (128,)),
    (reduce.sum_shared, 5, (128,)),
    (reduce.sum_shared, 6, (128,)),
    (reduce.sum_dynamic, 7, (2, 64, 1000)),
    (reduce.sum_shuffle, 8, (2, 128, 1000)),
    (reduce.range_twice, 9, (200,)),
    (reduce.sum_shuffle, 11, (2, 128, 1000)),
    (reduce.sum_last_block, 10, (7, 1000)),
    (scan.scan_blelloch, 1, (1, 64)),
    (scan.scan_blelloch, 2, (1, 64)),
    (scan.scan_steps, 3, (96,)),
    (scan.scan_steps, 4, (90,)),
    (sort.sort_bitonic, 1, (200, 64)),
    (sort.radix_scatter, 2, (300, 8)),
    (sort.merge, 3, (40, 77)),
    (sort.sort_rows, 4, (50,)),
    (sort.sort_odd_even, 5, (100,)),
    (histogram.histogram_shared, 1, (1, 500)),
    (histogram.histogram_shared, 2, (1, 500)),
    (histogram.histogram_shared, 3, (1, 500)),
    (histogram.histogram_shared, 4, (1, 500)),
    (histogram.histogram_shared, 5, (1, 500)),
    (matrix.matmul_tiled_f32, 1, (8, 8, 24)),
    (matrix.matmul_tiled_f32, 2, (8, 8, 24)),
    (matrix.matmul_tiled_f32, 3, (9, 7, 13)),
    (matrix.matmul_tiled_f32, 4, (9, 7, 13)),
    (matrix.transpose_f32, 5, (40, 33)),
    (matrix.cholesky, 6, (40,)),
    (matrix.sparse_rows, 7, (50,)),
    (stencil.convolve, 1, (100,)),
    (stencil.heat, 2, (16, 40)),
    (stencil.heat, 3, (8, 16)),
    (stencil.laplace, 4, (5, 4, 3)),
    (stencil.relax, 5, (70, 6)),
    (fourier.fft, 1, (1, 8)),
    (tensor.mma_pipelined, 1, (40, 33, 64)),
    (tensor.mma_pipelined, 2, (40, 33, 64)),
    (fourier.dft, 2, (20,)),
    (control.collatz, 1, (40,)),
    (control.queens, 2, (6,)),
    (control.letters, 3, (40, 30)),
    (control.leave_early, 4, (100,)),
    (control.barriers_in_loops, 5, (64, 3)),
    (control.recursion, 6, (40,)),
    (digits.crc32, 1, (70, 30)),
    (together.locked, 1, (70,)),
    (together.producer_consumer, 2, (3,)),
    (together.warp_swap, 3, (1,)),
    (together.frontier, 4, (60,)),
    (together.half_of_a_barrier, 5, (64,)),
    (together.half_of_a_barrier, 6, (64,)),
    (together.tickets, 7, (2, 40)),
    (models.layer_norm, 1, (1, 100)),
    (models.cross_entropy, 2, (40, 9)),
    (models.kmeans, 3, (150, 40)),
    (models.edit_distance, 4, (45, 70)),
    (models.kmeans, 5, (150, 5)),
]
BUDGET = 100_000


def found_at(findings: tuple[Finding, ...], ptx: str, file: str) -> set[tuple[str, int]]:
    return {(f.kind, line) for f in findings for line in source_lines(ptx, f.line, file)}


@pytest.mark.parametrize(
    ("kernel", "number", "shape"), FAULTS, ids=[f"{k.name}-fault-{n}" for k, n, _ in FAULTS]
)
def test_fault_is_found_where_it_is(kernel: Kernel, number: int, shape: tuple[Any, ...]) -> None:
    kind, lines = marks(kernel.file)[number]
    run = kernel(*shape)
    ptx = compiled(kernel.file, number, run.entry)
    outcome = launched(ptx, run, check=True, budget=BUDGET)
    assert outcome.status == "findings"
    found = found_at(outcome.findings, ptx, kernel.file)
    assert {(kind, line) for line in lines} & found, (found, [f.message for f in outcome.findings])


def test_an_output_that_is_not_written_whole_is_told() -> None:
    run = elementwise.rooted_f32(100)
    outcome = launched(compiled("elementwise.cu", 6, run.entry), run, check=True)
    assert outcome.unwritten["out"].tolist() == [False] * 99 + [True]


def test_every_mark_is_tried() -> None:
    files = {kernel.file for kernel, _, _ in FAULTS}
    tried = {(kernel.file, number) for kernel, number, _ in FAULTS}
    assert tried == {(file, number) for file in files for number in marks(file)}


@pytest.mark.parametrize(
    "slip", written.SLIPS, ids=[f"{s.kernel.name}-slip-{n}" for n, s in enumerate(written.SLIPS, 1)]
)
def test_a_slip_in_written_ptx_is_found_where_it_is(slip: written.Slip) -> None:
    ptx = compiled(slip.kernel.file)
    assert slip.old in ptx
    ptx = ptx.replace(slip.old, slip.new, 1)
    outcome = launched(ptx, slip.kernel(*slip.kernel.shapes[0]), check=True, budget=BUDGET)
    lines = {n for n, line in enumerate(ptx.splitlines(), 1) if any(piece in line for piece in slip.lines)}
    found = {(f.kind, f.line) for f in outcome.findings}
    assert any(kind in slip.kinds and line in lines for kind, line in found), found
