"""Exports for CuPy, torch and C run the kernels as their plans say, and refuse files that were changed."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import shutil
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import llmptx
from llmptx.export import cupy, header, hub
from llmptx.export.files import ExportError
from llmptx.ptx.plan import parse_plan
from tests.export.approving import approved

KERNELS = [("numpy.exp", "float32"), ("numpy.sum", "float32"), ("numpy.matmul", "float32")]
KERNELS += [("numpy.less", "float32"), ("numpy.sort", "float32")]
RNG = np.random.default_rng(11)
X = RNG.normal(size=5000).astype(np.float32)
A, B = RNG.normal(size=(7, 33)).astype(np.float32), RNG.normal(size=(33, 20)).astype(np.float32)
CALLS = {
    "numpy.exp": ((X,), np.empty_like(X), {"n": 5000}, np.exp(X)),
    "numpy.sum": ((X,), np.empty(50, np.float32), {"outer": 10, "n": 100, "inner": 5}, None),
    "numpy.matmul": ((A.ravel(), B.ravel()), np.empty(140, np.float32), {}, (A @ B).ravel()),
    "numpy.less": ((X, X[::-1].copy()), np.empty(5000, np.bool_), {"n": 5000}, X[::-1] > X),
    "numpy.sort": ((X,), np.empty_like(X), {"outer": 5, "n": 1000}, np.sort(X.reshape(5, 1000)).ravel()),
}
CALLS["numpy.sum"] = (*CALLS["numpy.sum"][:3], X.reshape(10, 100, 5).sum(axis=1).ravel())
CALLS["numpy.matmul"] = (*CALLS["numpy.matmul"][:2], {"batch": 1, "m": 7, "n": 20, "k": 33}, (A @ B).ravel())


@pytest.fixture(scope="module")
def kernels(tmp_path_factory, make_record) -> list:
    return approved(tmp_path_factory.mktemp("workspace"), make_record, KERNELS)


@pytest.fixture
def importing(tmp_path, monkeypatch):
    """Imports a package from tmp_path, and forgets it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda name: importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("vk", "build_universal")]:
        del sys.modules[name]


def agrees(kernel, routine: str) -> None:
    inputs, out, extents, expected = CALLS[routine]
    out[...] = 0
    assert kernel(*inputs, out=out, **extents) is out
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-5)


# -- CuPy: its RawModule, on numpy arrays and the CPU engine


class Ndarray(np.ndarray):
    """A numpy array with CuPy's way to say its address."""

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)


class RawModule:
    def __init__(self, *, path: str) -> None:
        self.module = llmptx.Module(Path(path).read_text())

    def get_function(self, name: str):
        def run(grid, block, args, shared_mem=0):
            plain = tuple(_plain(a) for a in args)
            self.module.get_function(name)(grid=grid, block=block, args=plain, shared_mem=shared_mem)

        return run


def _plain(argument):
    if not isinstance(argument, np.ndarray):
        return argument
    array = np.asarray(argument)
    return array.view(np.uint8) if array.dtype == np.bool_ else array


@pytest.fixture
def fake_cupy(monkeypatch):
    module = types.ModuleType("cupy")
    module.RawModule = RawModule
    module.empty = lambda size, dtype: np.empty(size, dtype).view(Ndarray)
    monkeypatch.setitem(sys.modules, "cupy", module)


@pytest.mark.parametrize("routine", list(CALLS))
def test_a_cupy_folder_runs_on_arrays(tmp_path, kernels, importing, fake_cupy, routine, monkeypatch):
    assert cupy.write("vk", tmp_path, kernels) == tuple(sorted(CALLS))
    kernel = importing("vk").kernels()[routine, "float32"]
    inputs, out, extents, expected = CALLS[routine]
    views = tuple(array.view(Ndarray) for array in inputs)
    monkeypatch.setitem(CALLS, routine, (views, out.view(Ndarray), extents, expected))
    agrees(kernel, routine)


def test_a_cupy_kernel_refuses_what_it_does_not_take(tmp_path, kernels, importing, fake_cupy):
    cupy.write("vk", tmp_path, kernels)
    kernel = importing("vk").kernels()["numpy.exp", "float32"]
    x, out = X.view(Ndarray), np.empty_like(X).view(Ndarray)
    with pytest.raises(TypeError, match="takes the extents n"):
        kernel(x, out=out)
    with pytest.raises(TypeError, match="is 4999 contiguous elements of float32; given 5000"):
        kernel(x, out=out, n=4999)
    with pytest.raises(TypeError, match="given 5000 of float64"):
        kernel(x.astype(np.float64), out=out, n=5000)
    with pytest.raises(TypeError, match="takes 1 inputs and out; given 2"):
        kernel(x, x, out=out, n=5000)
    odd = np.zeros(4 * 5000 + 1, np.uint8)[1:].view(np.float32).view(Ndarray)
    with pytest.raises(TypeError, match="multiple of"):
        kernel(odd, out=out, n=5000)


# -- torch: tensors by address, and the driver's calls answered by the CPU engine


@dataclass
class Tensor:
    array: np.ndarray
    device: str = "cuda:0"
    is_cuda: bool = True

    @property
    def dtype(self):
        return f"torch.{self.array.dtype}"

    def numel(self):
        return self.array.size

    def element_size(self):
        return self.array.itemsize

    def is_contiguous(self):
        return self.array.flags.c_contiguous

    def data_ptr(self):
        return self.array.ctypes.data

    def record_stream(self, stream):
        assert stream.cuda_stream == 77


class Device(str):
    index = 0


class Driver:
    """The five calls, with a module's text kept by a handle and a launch run on the memory it points at."""

    def __init__(self) -> None:
        self.handles: list = []
        self.loads = 0
        self.refuse = 0

    def _handle(self, pointer, value) -> int:
        self.handles.append(value)
        pointer._obj.value = len(self.handles)
        return 0

    def cuModuleLoadData(self, pointer, text):  # noqa: N802
        self.loads += 1
        assert text.endswith(b"\0")
        return self.refuse or self._handle(pointer, llmptx.Module(text[:-1].decode()))

    def cuModuleGetFunction(self, pointer, module, name):  # noqa: N802
        return self._handle(pointer, self.handles[module.value - 1].get_function(name.decode()))

    def cuFuncSetAttribute(self, function, attribute, value):  # noqa: N802
        return 0

    def cuGetErrorString(self, code, pointer):  # noqa: N802
        pointer._obj.value = b"invalid PTX"
        return 0

    def cuLaunchKernel(self, function, *rest):  # noqa: N802
        *sizes, stream, pointers, extra = rest
        assert stream.value == 77
        assert extra is None
        values = [ctypes.c_uint64.from_address(pointer).value for pointer in pointers]
        args = tuple(self.memory.get(value, value) for value in values)
        x, y, z, bx, by, bz, shared = (size.value for size in sizes)
        self.handles[function.value - 1](grid=(x, y, z), block=(bx, by, bz), args=args, shared_mem=shared)
        return 0


@pytest.fixture
def driver(monkeypatch):
    fake = Driver()
    fake.memory = {}
    torch = types.ModuleType("torch")
    torch.uint8 = np.uint8
    torch.cuda = types.SimpleNamespace(
        device=lambda _: contextlib.nullcontext(),
        current_stream=lambda: types.SimpleNamespace(cuda_stream=77),
    )

    def empty(size, dtype, device):
        array = np.empty(size, dtype)
        fake.memory[array.ctypes.data] = array
        return Tensor(array)

    torch.empty = empty
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake)
    return fake


def _universal(folder: Path, *inner: str):
    spec = importlib.util.spec_from_file_location(
        "build_universal",
        folder.joinpath(*inner, "__init__.py"),
        submodule_search_locations=[str(folder.joinpath(*inner))],
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_universal"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("inner", [(), ("vk",)])
@pytest.mark.parametrize("routine", list(CALLS))
def test_a_hub_repository_runs_on_tensors(tmp_path, kernels, importing, driver, routine, inner):
    assert hub.write("vk", tmp_path, kernels) == tuple(sorted(CALLS))
    kernel = _universal(tmp_path / "build" / "torch-universal", *inner).kernels()[routine, "float32"]
    inputs, out, extents, expected = CALLS[routine]
    out = np.zeros_like(out)
    for array in (*inputs, out):
        driver.memory[array.ctypes.data] = array.view(np.uint8) if array.dtype == np.bool_ else array
    device = Device("cuda:0")
    target = Tensor(out, device)
    for _ in range(2):
        assert kernel(*(Tensor(a, device) for a in inputs), out=target, **extents) is target
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-5)
    assert driver.loads == 1


def test_what_the_driver_says_is_told(tmp_path, kernels, importing, driver):
    hub.write("vk", tmp_path, kernels)
    package = _universal(tmp_path / "build" / "torch-universal")
    kernel = package.kernels()["numpy.exp", "float32"]
    driver.refuse = 218
    device = Device("cuda:0")
    with pytest.raises(package.DriverError, match=r"cuModuleLoadData for .* invalid PTX \(218\)"):
        kernel(Tensor(X, device), out=Tensor(np.empty_like(X), device), n=5000)
    with pytest.raises(TypeError, match="on one CUDA device"):
        kernel(Tensor(X, "cpu", False), out=Tensor(np.empty_like(X), device), n=5000)


# -- both refuse what was changed


@pytest.mark.parametrize("form", ["cupy", "hub"])
@pytest.mark.parametrize("name", ["manifest.json", "numpy/exp/float32.ptx", "numpy/exp/float32.json"])
def test_a_changed_byte_is_refused(tmp_path, kernels, importing, form, name):
    {"cupy": cupy, "hub": hub}[form].write("vk", tmp_path, kernels)
    home = tmp_path / "vk" if form == "cupy" else tmp_path / "build" / "torch-universal"
    file = home / "kernels" / name
    file.write_bytes(file.read_bytes().replace(b"float32", b"float23", 1))
    package = importing("vk") if form == "cupy" else _universal(home)
    with pytest.raises(ImportError, match=f"{file.name} is not what was exported"):
        package.kernels()


def test_a_folder_of_something_else_is_left_alone(tmp_path, kernels):
    (tmp_path / "thesis.txt").write_text("precious")
    for form in (cupy, hub, header):
        with pytest.raises(ExportError, match="holds files"):
            form.write("vk", tmp_path, kernels)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# -- C

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
ASK = """
#include <stdio.h>
#include <stdlib.h>
#include "vk.h"
int main(int argc, char **argv) {
    const struct vk_kernel *k = vk_find(argv[1], argv[2]);
    int64_t e[8] = {0};
    struct vk_launch l[16];
    int i, j;
    if (!k) return 3;
    for (i = 3; i < argc; i++) e[i - 3] = strtoll(argv[i], NULL, 10);
    for (i = 0; i <= k->inputs + k->scratch; i++) printf("%llu ", (unsigned long long)k->bytes(e, i));
    for (i = 0, j = k->plan(e, l); i < j; i++)
        printf("%s %u %u %u %u ", l[i].entry, l[i].grid[0], l[i].grid[1], l[i].block[0], l[i].shared);
    return 0;
}
"""


def _build(folder: Path, source: str) -> Path:
    (folder / "ask.c").write_text(source)
    command = ["cc", *STRICT, "-I", str(folder), str(folder / "ask.c"), "-o", str(folder / "ask")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "ask"


@needs_cc
def test_a_header_gives_the_sizes_and_launches_of_the_plan(tmp_path, kernels):
    assert header.write("vk", tmp_path, kernels) == tuple(sorted(CALLS))
    ask = _build(tmp_path, ASK)
    for kernel in kernels:
        inputs, out, extents, _ = CALLS[kernel.routine]
        command = [str(ask), kernel.routine, kernel.dtype, *map(str, extents.values())]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        plan = parse_plan(kernel.text)
        sizes = [array.nbytes for array in (*inputs, out)]
        sizes += [b.size.evaluate(extents) * b.type.bytes for b in plan.buffers]
        launches = [
            [
                launch.entry,
                *(axis.evaluate(extents) for axis in launch.grid[:2]),
                launch.block[0],
                launch.shared,
            ]
            for launch in plan.launches
        ]
        assert said == [str(x) for x in (*sizes, *(word for launch in launches for word in launch))]


@needs_cc
def test_a_header_refuses_a_changed_byte(tmp_path, kernels):
    header.write("vk", tmp_path, kernels)
    file = tmp_path / "vk.h"
    text = file.read_text()
    start = text.index("vk_numpy_exp_float32_ptx[] = {")
    file.write_text(text[:start] + text[start:].replace("0x2f", "0x2e", 1))
    ask = _build(tmp_path, ASK)
    assert subprocess.run([str(ask), "numpy.exp", "float32", "5"], check=False).returncode == 3
    assert subprocess.run([str(ask), "numpy.sort", "float32", "5", "5"], check=False).returncode == 0


@needs_cc
@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000])
def test_the_header_hashes_as_hashlib_does(tmp_path, kernels, size):
    header.write("vk", tmp_path, kernels)
    source = (
        '#include "vk.h"\n#include <stdio.h>\nint main(void) {\n'
        f"    unsigned char d[1001]; char s[65]; int i;\n    for (i = 0; i < {size}; i++) d[i] = i * 7;\n"
        f'    llmptx_sha256(d, {size}, s);\n    printf("%s", s);\n    return vk_find("", "") != NULL;\n}}\n'
    )
    said = subprocess.run([str(_build(tmp_path, source))], capture_output=True, text=True, check=True).stdout
    assert said == hashlib.sha256(bytes(i * 7 % 256 for i in range(size))).hexdigest()


@needs_cc
def test_the_example_compiles_against_the_driver_api(tmp_path, kernels):
    folders = (Path(path) / "nvidia/cu13/include" for path in sys.path)
    include = next((folder for folder in folders if (folder / "cuda.h").exists()), None)
    if include is None:
        pytest.skip("there is no cuda.h")
    header.write("vk", tmp_path, kernels)
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-isystem", str(include), "-c", "example.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
