"""A library whose kernels answer by the catalogue's oracles: shapes and dtypes are under test, not PTX."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from llmptx.export.kernel import Entry, Kernel
from llmptx.export.library import Library
from llmptx.routines import catalog


@dataclass(frozen=True)
class OracleKernel(Kernel):
    """Fills the output with the oracle's values, after checking what the ABI promises a real kernel."""

    def __call__(self, inputs, output, extents):
        routine = catalog()[self.entry.routine]
        signature = routine.signature(self.entry.dtype)
        for array, dtype in zip((*inputs, output), (*signature.inputs, *signature.outputs), strict=True):
            assert array.dtype == dtype
            assert array.ndim == 1
            assert array.flags.c_contiguous
            assert array is output or not np.may_share_memory(array, output)
        assert tuple(extents) == routine.extents
        with np.errstate(all="ignore"):
            (truth,) = routine.oracle(list(inputs), extents, signature)
            output[...] = np.asarray(truth.hi).reshape(output.shape)


@pytest.fixture(scope="session")
def library() -> Library:
    kernels = {}
    for routine in catalog().values():
        for s in routine.signatures:
            entry = Entry(routine.name, routine.kind, s.dtype, s.inputs, s.outputs, routine.extents)
            kernels[routine.name, s.dtype] = OracleKernel(entry, "")
    return Library(kernels)
