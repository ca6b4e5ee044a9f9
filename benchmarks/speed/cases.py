"""The kernels that are timed, with their arguments and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from llmptx.ptx import parse
from llmptx.ptx.plan import parse_plan

from .kernel import Bound, kernels

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """A kernel and the C loop of the same name; `want` is what the kernel must write, within `rtol`."""

    name: str
    kernel: Bound
    loop: tuple[Any, ...]
    want: Callable[[], Array]
    rtol: float = 1e-4

    def agree(self, got: Array) -> None:
        """Raises AssertionError where it does not."""
        np.testing.assert_allclose(got, self.want(), self.rtol, self.rtol, err_msg=self.name)


def _like(array: Array, *shape: int) -> Array:
    return np.empty(shape or array.shape, array.dtype)


def _image_step(image: Array) -> Array:
    want = image.astype(np.float64)
    middle = want[1:-1, 1:-1]
    around = want[:-2, 1:-1] + want[2:, 1:-1] + want[1:-1, :-2] + want[1:-1, 2:]
    result = want.copy()
    result[1:-1, 1:-1] = middle + 0.25 * (around - 4 * middle)
    return result


def _scanned(x: Array) -> Array:
    return np.cumsum(x.reshape(-1, 256), axis=1, dtype=np.float64).reshape(-1)


def cases(log2: int) -> Mapping[str, Case]:
    """On 2**log2 elements (12 to 26, even), the matrix products on 2**(log2 // 2 - 1) rows."""
    rng = np.random.default_rng(7)
    n, side, rows = 1 << log2, 1 << (log2 // 2 - 1), 1 << (log2 // 2)
    x, y = (rng.standard_normal(n, np.float32) for _ in range(2))
    angles = rng.uniform(-100, 100, n).astype(np.float32)
    a, b = (rng.standard_normal((side, side), np.float32) for _ in range(2))
    small, little = (np.ascontiguousarray(m[:128, :128]) for m in (a, b))
    image = rng.standard_normal((rows, rows), np.float32)
    keys = rng.integers(-(1 << 30), 1 << 30, n, np.int32)
    scale, tree = np.float32(1.25), kernels()

    def case(
        name: str, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], at: int, want: Any
    ) -> Case:
        return Case(name, Bound(tree, name, grid, block, args, (at,)), args, want)

    def reduced(name: str, each: int, want: Any) -> Case:
        out = _like(x, n // each)
        kernel = Bound(tree, name, (n // each,), (256,), (x, out), (1,))
        return Case(name, kernel, (n, x, _like(out)), want)

    def scan(name: str) -> Case:
        out = _like(x)
        kernel = Bound(tree, name, (n // 256,), (256,), (x, out), (1,))
        return Case(name, kernel, (n, x, _like(x)), lambda: _scanned(x))

    def product(name: str, left: Array, right: Array, block: tuple[int, int]) -> Case:
        size = len(left)
        grid = (size // 32, size // block[1])
        kernel = Bound(tree, name, grid, block, (left, right, _like(left), size), (2,))
        want = left.astype(np.float64) @ right
        return Case(name, kernel, (left, right, _like(left), size), lambda: want)

    found = [
        case("saxpy", (n // 256,), (256,), (n, scale, x, y, _like(x)), 4, lambda: scale * x + y),
        case("expf_each", (n // 256,), (256,), (n, x, _like(x)), 2, lambda: np.exp(x)),
        case("sinf_each", (n // 256,), (256,), (n, angles, _like(x)), 2, lambda: np.sin(angles)),
        reduced("block_sum", 256, lambda: x.reshape(-1, 256).sum(1, dtype=np.float64)),
        reduced("block_max", 4096, lambda: x.reshape(-1, 4096).max(1)),
        scan("block_scan"),
        scan("shuffle_scan"),
        product("matmul", small, little, (32, 8)),
        product("matmul_tiled", a, b, (32, 32)),
        case(
            "stencil",
            (-(-rows // 32), -(-rows // 8)),
            (32, 8),
            (image, _like(image), rows, rows),
            1,
            lambda: _image_step(image),
        ),
        case(
            "block_sort",
            (n // 512,),
            (256,),
            (keys, _like(keys)),
            1,
            lambda: np.sort(keys.reshape(-1, 512), axis=1).reshape(-1),
        ),
    ]
    return {c.name: c for c in found}


# numpy's functions of one and of two arrays, as the offline model writes them.
ROUNDING = ("absolute", "negative", "square", "reciprocal", "rint", "floor", "sqrt")
UNARY = (*ROUNDING, "exp", "log", "sin", "cos", "tanh")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "fmax", "power")


@dataclass(frozen=True)
class Beside:
    """A kernel of the catalogue and numpy's own function on the same arrays."""

    name: str
    kernel: Bound
    numpy: Callable[[], object]
    want: Array


def elementwise(n: int) -> list[Beside]:
    """Positive numbers, so that every function has a value; float32."""
    rng = np.random.default_rng(11)
    x, y = (rng.uniform(0.1, 8, n).astype(np.float32) for _ in range(2))
    found = []
    for name in UNARY + BINARY:
        inputs = (x,) if name in UNARY else (x, y)
        drafts = (files("llmptx") / "llm/offline/numpy" / name).iterdir()
        text = max((d for d in drafts if d.name.startswith("float32.")), key=lambda d: d.name).read_text()
        launch = parse_plan(text).launches[0]
        grid = tuple(axis.evaluate({"n": n}) for axis in launch.grid)
        kernel = Bound(parse(text), launch.entry, grid, launch.block, (*inputs, _like(x), n), (len(inputs),))
        function, out = getattr(np, name), _like(x)
        found.append(
            Beside(
                name,
                kernel,
                lambda function=function, inputs=inputs, out=out: function(*inputs, out=out),
                function(*(i.astype(np.float64) for i in inputs)),
            )
        )
    return found
