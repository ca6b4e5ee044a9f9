"""Matrix multiplication by a warp, and matrices from and to shared memory (PTX ISA 9.7.14.4-5).

f16, bf16, tf32 and 8-bit floats: the manual asks for products and sums of single precision at least (of half
precision where c and d are f16), in any order, and each chip sums and truncates in its own way. Here an
element of d is c plus all its products, exact, rounded once to nearest even: no order of summing is nearer to
the truth, and none can be told from another. A chip's result differs by the roundings of its partial sums.
tf32 operands are read without their low 13 bits. Subnormals count; NaN is canonical.

f64 is fused multiply-adds in order of k, from c. Integers are exact, then wrap or are clamped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from llmptx.isa import fragment
from llmptx.isa.arith import B32, B64, resized
from llmptx.isa.emitter import Address, Emitter, Value
from llmptx.isa.form import Modifiers, form
from llmptx.isa.fragment import BITS, Fragment, Product
from llmptx.ptx.types import Type

_SPACES = "global|shared|shared::cta"
_RND = "rnd:rn|rz|rm|rp"


def _operands(product: Product) -> str:
    parts = zip("dabc", (product.d, product.a, product.b, product.c), strict=True)
    return ", ".join(f"{name}:{part.type}*{part.registers}" for name, part in parts)


# mma


@dataclass(frozen=True)
class _Types:
    """The elements of d, a, b and c, and what is done with them."""

    d: str
    a: str
    b: str
    c: str
    op: str = "mul"
    rnd: str = "rn"
    saturate: bool = False

    @staticmethod
    def of(m: Modifiers, d: str, a: str, b: str, c: str) -> _Types:
        return _Types(d, a, b, c, m.get("op") or "mul", m.get("rnd") or "rn", bool(m.get("satfinite")))


@lru_cache(maxsize=256)
def _product(kind: str, shape: str, al: str, bl: str, t: _Types) -> Product:
    """One object for each product, so that what is made for it is made once."""
    if kind == "wmma":
        a, b = fragment.wmma("a", shape, t.a, al), fragment.wmma("b", shape, t.b, bl)
        c, d = fragment.wmma("c", shape, t.c), fragment.wmma("c", shape, t.d)
    elif shape == "m8n8k4" and t.a == "f16":
        a, b, c, d = fragment.volta_a(al), fragment.volta_b(bl), fragment.volta_c(t.c), fragment.volta_c(t.d)
    else:
        a, b = fragment.mma_a(shape, t.a), fragment.mma_b(shape, t.b)
        c, d = fragment.mma_c(shape, t.c), fragment.mma_c(shape, t.d)
    words = (kind, shape, al, bl, t.d, t.a, t.b, t.c, t.op, t.rnd, "satfinite" if t.saturate else "")
    return Product(".".join(words), a, b, c, d, t.op, t.rnd, t.saturate)


def _mma_row(shape: str, d: str, a: str, b: str, c: str, before: str = "", after: str = "") -> None:
    """a, b: choices of one width."""

    volta = shape == "m8n8k4" and a == "f16"

    def mma(e: Emitter, m: Modifiers, *values: list[Value]) -> list[Value]:
        layouts = (m.al, m.bl) if volta else ("row", "col")
        return e.multiply(_product("mma", shape, *layouts, _Types.of(m, m.dt, m.at, m.bt, m.ct)), *values)

    mma.__doc__ = _DOCS[d]
    one = _product("mma", shape, "row", "col", _Types(d, a.partition("|")[0], b.partition("|")[0], c))
    layouts = "al:row|col.bl:row|col" if volta else "row.col"
    form(f"mma.sync.aligned.{shape}.{layouts}{before}.dt:{d}.at:{a}.bt:{b}.ct:{c}{after}  {_operands(one)}")(
        mma
    )


_DOCS = {
    "f16": "c plus all the products, exact, rounded once to f16.",
    "f32": "c plus all the products, exact, rounded once to f32.",
    "f64": "Fused multiply-adds in order of k, from c.",
    "s32": "Wraps, or with .satfinite is clamped at the end. Of bits: how many a .xor b or a .and b has set.",
}

for _layer in ("f16", "f32"):
    for _shape in ("m16n8k8", "m16n8k16"):
        _mma_row(_shape, _layer, "f16", "f16", _layer)
    for _shape in ("m16n8k16", "m16n8k32"):
        _mma_row(_shape, _layer, "e4m3|e5m2", "e4m3|e5m2", _layer)
for _d, _c in (("f16", "f16"), ("f32", "f16"), ("f32", "f32")):
    _mma_row("m8n8k4", _d, "f16", "f16", _c)
for _shape, _a in (("m16n8k8", "bf16"), ("m16n8k16", "bf16"), ("m16n8k4", "tf32"), ("m16n8k8", "tf32")):
    _mma_row(_shape, "f32", _a, _a, "f32")
for _shape in ("m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16"):
    _mma_row(_shape, "f64", "f64", "f64", "f64", after=f"[.{_RND}]")
for _shape in ("m8n8k16", "m16n8k16", "m16n8k32"):
    _mma_row(_shape, "s32", "u8|s8", "u8|s8", "s32", before="[.satfinite]")
for _shape in ("m8n8k32", "m16n8k32", "m16n8k64"):
    _mma_row(_shape, "s32", "u4|s4", "u4|s4", "s32", before="[.satfinite]")
for _shape in ("m8n8k128", "m16n8k128", "m16n8k256"):
    _mma_row(_shape, "s32", "b1", "b1", "s32", after=".op:xor|and.popc")


# wmma


@dataclass(frozen=True)
class _Wmma:
    """One kind of product: its multiplicands, layouts, and accumulators (d, c)."""

    shapes: tuple[str, ...]
    element: str
    accumulators: tuple[tuple[str, str], ...]
    fixed: bool = False  # A by rows and B by columns only

    def layout(self, matrix: str) -> str:
        if not self.fixed or matrix == "c":
            return "layout:row|col"
        # ptxas wants A's, and takes either for B
        return "layout:row" if matrix == "a" else "layout:col"


_THREE = ("m16n16k16", "m8n32k16", "m32n8k16")
_WMMA = (
    _Wmma(_THREE, "f16", (("f16", "f16"), ("f16", "f32"), ("f32", "f16"), ("f32", "f32"))),
    _Wmma(_THREE, "bf16", (("f32", "f32"),)),
    _Wmma(("m16n16k8",), "tf32", (("f32", "f32"),)),
    _Wmma(("m8n8k4",), "f64", (("f64", "f64"),)),
    _Wmma(_THREE, "s8", (("s32", "s32"),)),
    _Wmma(_THREE, "u8", (("s32", "s32"),)),
    _Wmma(("m8n8k32",), "s4", (("s32", "s32"),), True),
    _Wmma(("m8n8k32",), "u4", (("s32", "s32"),), True),
    _Wmma(("m8n8k128",), "b1", (("s32", "s32"),), True),
)


def _wmma_mma_row(kind: _Wmma, shape: str, d: str, c: str) -> None:
    element = kind.element

    def wmma_mma(e: Emitter, m: Modifiers, *values: list[Value]) -> list[Value]:
        types = _Types.of(m, d, element, element, c)
        return e.multiply(_product("wmma", shape, m.get("al", "row"), m.get("bl", "col"), types), *values)

    wmma_mma.__doc__ = _DOCS[d]
    one = _product("wmma", shape, "row", "col", _Types(d, element, element, c))
    layouts = "row.col" if kind.fixed else "al:row|col.bl:row|col"
    op = ".op:xor|and.popc" if element == "b1" else ""
    types = f"dt:{d}.ct:{c}" if element == "f16" else f"dt:{d}.at:{element}.bt:{element}.ct:{c}"
    after = "[.satfinite]" if d == "s32" and element != "b1" else f"[.{_RND}]" if element == "f64" else ""
    form(f"wmma.mma{op}.sync.aligned.{layouts}.{shape}.{types}{after}  {_operands(one)}")(wmma_mma)


def _wmma_load_row(matrix: str, shape: str, element: str, layout: str) -> None:
    def wmma_load(e: Emitter, m: Modifiers, address: Address, stride: Value | None = None) -> list[Value]:
        """Every lane its own elements. `s`: elements from one row (column of .col) to the next."""
        order = m.layout if matrix != "c" else "row"
        it = fragment.wmma(matrix, shape, element, order)
        out: list[Value] = []
        for piece in _pieces(it, m.layout == order):
            where = e.offset(address, _distance(e, it, piece.start, order, m.layout, stride))
            loaded = e.load(m.get("space") or "", piece.type, where, piece.count)
            out += loaded if piece.count > 1 else [loaded]
        return _paired(e, out) if len(out) > it.registers else out

    it = fragment.wmma(matrix, shape, element)
    for stride in ("", ", s:b32"):
        form(
            f"wmma.load.{matrix}.sync.aligned.{layout}.{shape}[.space:{_SPACES}].t:{element}  "
            f"d:{it.type}*{it.registers}, [a]{stride}"
        )(wmma_load)


def _wmma_store_row(shape: str, element: str) -> None:
    def wmma_store(
        e: Emitter, m: Modifiers, address: Address, values: list[Value], stride: Value | None = None
    ) -> None:
        """Every lane its own elements. `s`: elements from one row (column of .col) to the next."""
        it = fragment.wmma("c", shape, element)
        pieces = list(_pieces(it, m.layout == "row"))
        if len(pieces) > len(values):
            values = [half for value in values for half in _halves(e, value)]
        for piece in pieces:
            where = e.offset(address, _distance(e, it, piece.start, "row", m.layout, stride))
            part, values = values[: piece.count], values[piece.count :]
            e.store(
                m.get("space") or "", piece.type, where, part if piece.count > 1 else part[0], piece.count
            )

    it = fragment.wmma("c", shape, element)
    for stride in ("", ", s:b32"):
        form(
            f"wmma.store.d.sync.aligned.layout:row|col.{shape}[.space:{_SPACES}].t:{element}  "
            f"[a], c:{it.type}*{it.registers}{stride}"
        )(wmma_store)


@dataclass(frozen=True)
class _Piece:
    """Elements from `start` on that are side by side in memory: `count` values of `type`."""

    start: int
    type: Type
    count: int


def _pieces(it: Fragment, along: bool) -> Iterator[_Piece]:
    """along: a lane's elements follow each other in memory, at least as far as 16 bytes go."""
    if along:
        count = min(it.registers, 128 // it.type.bits)
        for first in range(0, it.registers, count):
            yield _Piece(first * it.packed, it.type, count)
        return
    type = it.type if it.packed == 1 else Type("b", BITS[it.element])
    for i in range(it.held):
        yield _Piece(i, type, 1)


def _distance(e: Emitter, it: Fragment, start: int, order: str, layout: str, stride: Value | None) -> Value:
    """Bytes (b64) from the matrix's first element to a lane's element `start`: memory is in `layout`."""
    total, length = it.rows * it.cols, it.cols if order == "row" else it.rows
    number = e.and_(
        e.add(e.mul(e.lane(), e.const(B32, it.held)), e.const(B32, start)), e.const(B32, total - 1)
    )
    line = e.lshr(number, e.const(B32, length.bit_length() - 1))
    within = e.and_(number, e.const(B32, length - 1))
    if order != layout:
        line, within, length = within, line, total // length
    step = resized(e, stride, 64) if stride is not None else e.const(B64, length)
    elements = e.add(e.mul(resized(e, line, 64), step), resized(e, within, 64))
    return e.lshr(e.mul(elements, e.const(B64, BITS[it.element])), e.const(B64, 3))


def _paired(e: Emitter, halves: list[Value]) -> list[Value]:
    """b16 values two by two, the first in the low half."""
    sixteen = e.const(B32, 16)
    return [
        e.or_(e.zext(low, 32), e.shl(e.zext(high, 32), sixteen))
        for low, high in zip(halves[::2], halves[1::2], strict=True)
    ]


def _halves(e: Emitter, value: Value) -> tuple[Value, Value]:
    return e.trunc(value, 16), e.trunc(e.lshr(value, e.const(B32, 16)), 16)


for _kind in _WMMA:
    for _shape in _kind.shapes:
        for _d, _c in _kind.accumulators:
            _wmma_mma_row(_kind, _shape, _d, _c)
        for _matrix in "ab":
            _wmma_load_row(_matrix, _shape, _kind.element, _kind.layout(_matrix))
for _shape, _elements in (
    *((_shape, ("f16", "f32", "s32")) for _shape in _THREE),
    ("m16n16k8", ("f32",)), ("m8n8k4", ("f64",)), ("m8n8k32", ("s32",)), ("m8n8k128", ("s32",)),
):  # fmt: skip
    for _element in _elements:
        _wmma_load_row("c", _shape, _element, "layout:row|col")
        _wmma_store_row(_shape, _element)


# 8 x 8 matrices of 16 bits: lane l holds elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4


def _ldmatrix_row(count: int) -> None:
    def ldmatrix(e: Emitter, m: Modifiers, address: Address) -> list[Value]:
        """Lanes 8i to 8i + 7 point at the rows of matrix i, 16 bytes each; .trans gives it transposed."""
        return e.load_matrices(m.get("space") or "", address, count, m.trans)

    def stmatrix(e: Emitter, m: Modifiers, address: Address, values: list[Value]) -> None:
        """Lanes 8i to 8i + 7 point at where the rows of matrix i go; .trans stores it transposed."""
        e.store_matrices(m.get("space") or "", address, values, m.trans)

    tail = "[.trans][.space:shared|shared::cta].b16"
    form(f"ldmatrix.sync.aligned.m8n8.x{count}{tail}  d:b32*{count}, [a]")(ldmatrix)
    form(f"stmatrix.sync.aligned.m8n8.x{count}{tail}  [a], b:b32*{count}")(stmatrix)


for _count in (1, 2, 4):
    _ldmatrix_row(_count)


@form("movmatrix.sync.aligned.m8n8.trans.b16  d:b32, a:b32")
def movmatrix(e: Emitter, m: Modifiers, a: Value) -> Value:
    """The transpose of the matrix that the warp holds."""
    return e.transpose(a)
