"""The exported package installs, runs approved kernels on the engine, and refuses files that were changed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import llmptx
from llmptx.export.files import ExportError
from llmptx.export.package import write
from tests.export.approving import approved

KERNELS = [
    ("numpy.exp", "float32"),
    ("numpy.add", "int32"),
    ("numpy.where", "float32"),
    ("numpy.isnan", "float32"),
    ("numpy.sum", "float32"),
    ("numpy.sum", "int32"),
    ("numpy.max", "float64"),
    ("numpy.cumsum", "int64"),
    ("numpy.argmax", "float32"),
    ("numpy.matmul", "float32"),
    ("numpy.dot", "float64"),
    ("numpy.sort", "float32"),
    ("scipy.special.erf", "float32"),
    ("scipy.special.softmax", "float32"),
]


def _python(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    path = ":".join(map(str, (*paths, Path(llmptx.__file__).parents[1])))
    return subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


AGREES = """
import numpy as np, scipy.special as sp, vk
rng = np.random.default_rng(7)
def same(ours, theirs, rtol=1e-6, atol=0.0):
    assert type(ours) is type(theirs), (type(ours), type(theirs))
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
f = rng.normal(size=(5, 6, 7)).astype(np.float32)
layouts = [f, f[::-1, ::2], f.T, np.asfortranarray(f), f[0, 0, 0], f[:0], f[:, :0], np.float32(0.5)]
layouts.append(f[1, 2, ::-3])
for x in layouts:
    same(vk.exp(x), np.exp(x))
    same(vk.special.erf(x), sp.erf(x), 3e-7)
    same(vk.isnan(x), np.isnan(x))
    same(vk.sum(x), np.sum(x), 1e-4, 1e-4)
    for axis in range(np.ndim(x)):
        same(vk.sum(x, axis=axis, keepdims=True), np.sum(x, axis=axis, keepdims=True), 1e-4, 1e-5)
        same(vk.sort(x, axis=axis), np.sort(x, axis=axis))
        if x.size:
            same(vk.special.softmax(x, axis=axis), sp.softmax(x, axis=axis), 1e-5)
            same(vk.argmax(x, axis=axis), np.argmax(x, axis=axis))
same(vk.sum(f, axis=(0, 2)), f.sum(axis=(0, 2)), 1e-4, 1e-5)
same(vk.max(f.astype(np.float64)[::-1], axis=1), f.astype(np.float64).max(axis=1)[::-1])
i = rng.integers(-(2**31), 2**31, size=(300, 3), dtype=np.int32)
same(vk.add(i, i[::-1]), i + i[::-1])
same(vk.add(i, 7), i + 7)
same(vk.sum(i, axis=0), i.sum(axis=0))
same(vk.cumsum(i.astype(np.int64)), np.cumsum(i.astype(np.int64)))
choice = i[:, 0] > 0, f.ravel()[0], np.arange(300, dtype=np.float32)
same(vk.where(*choice), np.where(*choice))
a, b = rng.normal(size=(2, 1, 33, 17)).astype(np.float32), rng.normal(size=(3, 17, 40)).astype(np.float32)
same(vk.matmul(a, b), a @ b, 1e-4, 1e-5)
same(vk.matmul(a[0, 0, :, ::-1], b[0, ::-1, 3]), a[0, 0, :, ::-1] @ b[0, ::-1, 3], 1e-4, 1e-5)
same(vk.matmul(np.zeros((2, 0), np.float32), np.zeros((0, 3), np.float32)), np.zeros((2, 3), np.float32))
d = rng.normal(size=1000)
same(vk.dot(d, d[::-1]), np.dot(d, d[::-1]), 1e-12, 1e-12)
out = np.zeros(10, np.float32)[::2]
assert vk.exp(f[0, 0, :5], out=out) is out
same(out, np.exp(f[0, 0, :5]))
try:
    vk.max(np.zeros(0))
except ValueError as error:
    assert "no identity" in str(error)
try:
    vk.exp(np.zeros(3))
except TypeError as error:
    assert str(error) == "numpy.exp has no approved kernel for float64: it has float32"
else:
    raise SystemExit("a float64 was taken")
assert "numpy.exp.html" in vk.exp.__doc__ and "max 1 ULP" in vk.exp.__doc__
print("agrees", len(layouts))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory, make_record) -> Path:
    """Where pip put the package vk, built offline by the build backend that is here."""
    pytest.importorskip("hatchling")
    root = tmp_path_factory.mktemp("workspace")
    write("vk", root / "vk", approved(root, make_record, KERNELS))
    site = root / "site"
    quiet = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(site), str(root / "vk")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


def test_the_installed_package_agrees_with_numpy_and_scipy(installed):
    done = _python(AGREES, installed)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "agrees 9\n"


def test_importing_it_loads_no_compiler(installed):
    code = "import sys, vk; print(sorted(m for m in ('llvmlite', 'openai', 'scipy') if m in sys.modules))"
    assert _python(code, installed).stdout == "[]\n"


@pytest.mark.parametrize("name", ["manifest.json", "numpy/exp/float32.ptx", "numpy/exp/float32.json"])
def test_a_changed_byte_is_refused_at_import(tmp_path, make_record, name):
    write("vk", tmp_path / "vk", approved(tmp_path, make_record, KERNELS[:1]))
    file = tmp_path / "vk/src/vk/kernels" / name
    file.write_bytes(file.read_bytes().replace(b"float32", b"float23", 1))
    done = _python("import vk", tmp_path / "vk/src")
    assert done.returncode != 0
    assert re.search(rf"TamperedError: .*{Path(name).name} is not what was exported", done.stderr)


def test_a_missing_file_is_refused_at_import(tmp_path, make_record):
    write("vk", tmp_path / "vk", approved(tmp_path, make_record, KERNELS[:1]))
    (tmp_path / "vk/src/vk/kernels/numpy/exp/float32.ptx").unlink()
    assert "is missing" in _python("import vk", tmp_path / "vk/src").stderr


def test_writing_again_replaces_the_export_and_nothing_else(tmp_path, make_record):
    kernels = approved(tmp_path, make_record, KERNELS[:2])
    write("vk", tmp_path / "out", kernels)
    assert write("vk", tmp_path / "out", kernels[1:]) == ("numpy.exp",)
    assert not (tmp_path / "out/src/vk/kernels/numpy/add").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("precious")
    with pytest.raises(ExportError, match="holds files"):
        write("vk", tmp_path / "other", kernels)
    assert (tmp_path / "other/thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("name", ["", "a-b", "class", "numpy", "json", "_x", "é", "../x"])
def test_names_that_cannot_be_a_package_are_refused(tmp_path, make_record, name):
    kernels = approved(tmp_path, make_record, KERNELS[:1])
    with pytest.raises(ExportError):
        write(name, tmp_path / "out", kernels)
    assert not (tmp_path / "out").exists()


def test_nothing_approved_is_nothing_to_export(tmp_path):
    with pytest.raises(ExportError, match="no approved kernel"):
        write("vk", tmp_path / "out", [])
