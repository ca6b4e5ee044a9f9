"""The function that multiplies a warp's fragments, made for one product: registers in memory to registers.

Its argument points at the registers of a, b, c and room for d, each register as 32 lanes side by side. Sums
of floats run in f64 with the error of every addition watched: where none is lost, which is nearly always, the
sum is exact and rounded once; else it is made again in whole numbers of 1024 bits. Knows layouts; no emitter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from llvmlite import ir

from llmptx.engine.library import LIBRARY
from llmptx.engine.products import eight_bits
from llmptx.isa.fragment import BITS, WARP, Fragment, Product

EXACT_SUM = f"{LIBRARY}exact_sum"
IR = Any
I1, I8, I16, I32, I64, WIDE = (ir.IntType(n) for n in (1, 8, 16, 32, 64, 1024))
PTR, HALF, FLOAT, DOUBLE = ir.PointerType(), ir.HalfType(), ir.FloatType(), ir.DoubleType()
COLUMNS = 8  # of d in a vector
# The lowest bit of a product of the smallest bf16s, written with 53 bits, is 2^-324.
LOWEST = -330
_MODES = {"rz": 0, "rn": 1, "rp": 2, "rm": 3}


@lru_cache(maxsize=64)
def product_text(name: str, product: Product) -> str:
    """LLVM text that defines `void name(ptr)`."""
    return str(_Code(name, product).module)


class _Code:
    def __init__(self, name: str, product: Product) -> None:
        self.product = product
        self.module = ir.Module(name)
        self.kind = {"s32": "int", "f64": "double"}.get(product.d.element, "float")
        self.number = I32 if self.kind == "int" else DOUBLE
        kind = ir.FunctionType(ir.VoidType(), [PTR])
        directed = product.rnd != "rn"
        inner = ir.Function(self.module, kind, f"{name}.inner" if directed else name)
        self._body(inner)
        if directed:
            self._in_mode(ir.Function(self.module, kind, name), inner)

    def _in_mode(self, outer: ir.Function, inner: ir.Function) -> None:
        inner.attributes.add("noinline")
        kind = ir.FunctionType(ir.VoidType(), [I32])
        setting = ir.Function(self.module, kind, "llvm.set.rounding")
        b = ir.IRBuilder(outer.append_basic_block())
        b.call(setting, [_int(_MODES[self.product.rnd], I32)])
        b.call(inner, outer.args)
        b.call(setting, [_int(_MODES["rn"], I32)])
        b.ret_void()

    def _body(self, function: ir.Function) -> None:
        product = self.product
        self.b = b = ir.IRBuilder(function.append_basic_block())
        (self.registers,) = function.args
        at = 0
        matrices = []
        for label, fragment in zip("abc", (product.a, product.b, product.c), strict=True):
            matrices.append(self._unpacked(label, fragment, at))
            at += fragment.registers * WARP * fragment.type.bytes
        self._multiply(*matrices)
        self._packed(matrices[2], at)
        b.ret_void()

    # fragments to matrices and back

    def _depth(self) -> int:
        """Elements along k; bits go 32 at a time."""
        return self.product.a.cols // (32 if self.product.a.element == "b1" else 1)

    def _unpacked(self, label: str, fragment: Fragment, start: int) -> IR:
        """Memory with a matrix's elements in order of (matrix, row, column), as numbers."""
        b = self.b
        element = fragment.element
        accumulator = element == "s32"
        places = [
            (matrix, row, col)
            for matrix in range(fragment.matrices)
            for row in range(0, fragment.rows, 32 if element == "b1" and label == "b" else 1)
            for col in range(0, fragment.cols, 32 if element == "b1" and label == "a" else 1)
        ]
        offsets = []
        for place in places:
            lane, i = fragment.sources[place]
            register, within = divmod(i, fragment.packed)
            offsets.append((register * WARP + lane) * fragment.type.bits + within * BITS[element] + 8 * start)
        table = self._table(f"{label}.places", offsets)
        number = I64 if accumulator else self.number
        out = _room(b, number, len(places))
        with _loop(b, len(places)) as i:
            offset = b.load(_at(b, table, i, I32), typ=I32)
            b.store(self._element(element, offset), _at(b, out, i, number))
        return out

    def _element(self, element: str, offset: IR) -> IR:
        """The element at a bit offset, as a number."""
        b = self.b
        where = _at(b, self.registers, b.zext(b.lshr(offset, _int(3, I32)), I64), I8)

        def load(type: ir.Type) -> IR:
            return b.load(where, typ=type, align=1)

        def widened(bits: IR) -> IR:
            return b.fpext(b.bitcast(bits, FLOAT), DOUBLE)

        def nibble() -> IR:
            shift = b.and_(offset, _int(4, I32))
            return b.and_(b.lshr(b.zext(load(I8), I32), shift), _int(15, I32))

        meanings: dict[str, Callable[[], IR]] = {
            "f16": lambda: b.fpext(b.fpext(load(HALF), FLOAT), DOUBLE),
            "bf16": lambda: widened(b.shl(b.zext(load(I16), I32), _int(16, I32))),
            "tf32": lambda: widened(b.and_(load(I32), _int(0xFFFFE000, I32))),
            "f32": lambda: b.fpext(load(FLOAT), DOUBLE),
            "f64": lambda: load(DOUBLE),
            "u8": lambda: b.zext(load(I8), I32),
            "s8": lambda: b.sext(load(I8), I32),
            "u4": nibble,
            "s4": lambda: b.ashr(b.shl(nibble(), _int(28, I32)), _int(28, I32)),
            "b1": lambda: load(I32),
            "s32": lambda: b.sext(load(I32), I64),
        }
        if element in ("e4m3", "e5m2"):
            return b.load(_at(b, self._values(element), b.zext(load(I8), I64), DOUBLE), typ=DOUBLE)
        return meanings[element]()

    def _values(self, element: str) -> IR:
        """The table of an 8-bit float's values."""
        name = f"values.{element}"
        if name not in self.module.globals:
            values = [ir.Constant(DOUBLE, v) for v in eight_bits(element)]
            self._constant(name, ir.Constant(ir.ArrayType(DOUBLE, 256), values))
        return self.module.globals[name]

    def _table(self, name: str, numbers: Sequence[int]) -> IR:
        return self._constant(name, ir.Constant(ir.ArrayType(I32, len(numbers)), list(numbers)))

    def _constant(self, name: str, value: ir.Constant) -> IR:
        variable = ir.GlobalVariable(self.module, value.type, name)
        variable.linkage, variable.global_constant, variable.initializer = "internal", True, value
        return variable

    def _packed(self, matrix: IR, start: int) -> None:
        """The elements of d, in the order of its registers' memory."""
        b, d = self.b, self.product.d
        numbers = []
        for register in range(d.registers):
            for lane in range(WARP):
                for within in range(d.packed):
                    batch, row, col = d.place(lane, register * d.packed + within)
                    numbers.append((batch * d.rows + row) * d.cols + col)
        table = self._table("d.places", numbers)
        number = I64 if self.kind == "int" else DOUBLE
        target = {"f16": I16, "f32": I32, "f64": I64, "s32": I32}[d.element]
        out = _at(b, self.registers, _int(start), I8)
        with _loop(b, len(numbers)) as i:
            index = b.zext(b.load(_at(b, table, i, I32), typ=I32), I64)
            value = b.load(_at(b, matrix, index, number), typ=number)
            b.store(self._rounded(value), _at(b, out, i, target), align=1)

    def _rounded(self, value: IR) -> IR:
        """A number as the bits of an element of d."""
        b = self.b
        if self.kind == "int":
            return b.trunc(self._clamped(value), I32)
        if self.kind == "double":
            bits, width = b.bitcast(value, I64), 64
        elif self.product.d.element == "f32":
            bits, width = b.bitcast(b.fptrunc(value, FLOAT), I32), 32
        else:
            bits, width = b.bitcast(b.fptrunc(self._odd(value), HALF), I16), 16
        nan = _int((1 << width - 1) - 1, bits.type)
        return b.select(b.fcmp_unordered("uno", value, value), nan, bits)

    def _clamped(self, value: IR) -> IR:
        if not self.product.saturate:
            return value
        b, low, high = self.b, _int(-(2**31)), _int(2**31 - 1)
        value = b.select(b.icmp_signed("<", value, low), low, value)
        return b.select(b.icmp_signed(">", value, high), high, value)

    def _odd(self, value: IR) -> IR:
        """f64 to f32 rounded to odd: rounding it on to f16 is then as if rounded once."""
        b = self.b
        near = b.fptrunc(value, FLOAT)
        back, bits = b.fpext(near, DOUBLE), b.bitcast(near, I32)
        beyond = b.fcmp_ordered(">", self._size(back), self._size(value))
        odd = b.or_(b.select(beyond, b.sub(bits, _int(1, I32)), bits), _int(1, I32))
        return b.bitcast(b.select(b.fcmp_ordered("!=", back, value), odd, bits), FLOAT)

    def _size(self, value: IR) -> IR:
        return self._call("llvm.fabs.f64", DOUBLE, [value])

    def _call(self, name: str, result: ir.Type, arguments: Sequence[IR]) -> IR:
        function = self.module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(result, [a.type for a in arguments])
            function = ir.Function(self.module, kind, name)
        return self.b.call(function, arguments)

    # the product: d replaces c

    def _multiply(self, left: IR, right: IR, sums: IR) -> None:
        b, product = self.b, self.product
        rows, cols, depth = product.d.rows, product.d.cols, self._depth()
        number = I64 if self.kind == "int" else DOUBLE
        vector = ir.VectorType(self.number, COLUMNS)
        old = _room(b, DOUBLE, COLUMNS)
        with _loop(b, product.d.matrices * rows) as row, _loop(b, cols // COLUMNS) as part:
            matrix = b.udiv(row, _int(rows))
            here = _at(b, sums, b.add(b.mul(row, _int(cols)), b.mul(part, _int(COLUMNS))), number)
            a = _at(b, left, b.mul(row, _int(depth)), self.number)
            column = b.add(b.mul(b.mul(matrix, _int(depth)), _int(cols)), b.mul(part, _int(COLUMNS)))
            right_here = _at(b, right, column, self.number)
            total = b.load(here, typ=ir.VectorType(number, COLUMNS), align=8)
            start = ir.Constant(vector, None) if self.kind == "int" else total
            doubt = ir.Constant(ir.VectorType(I1, COLUMNS), None)
            with _fold(b, depth, start, doubt) as (k, state):
                one = _splat(b, b.load(_at(b, a, k, self.number), typ=self.number))
                many = b.load(_at(b, right_here, b.mul(k, _int(cols)), self.number), typ=vector, align=4)
                state[:] = self._step(state, one, many)
            summed, doubt = state
            if self.kind == "int":
                summed = b.add(total, b.sext(summed, total.type))
            if self.kind == "float":
                self._mend(old, here, a, right_here, summed, doubt)
            else:
                b.store(summed, here, align=8)

    def _step(self, state: list[IR], a: IR, many: IR) -> list[IR]:
        b = self.b
        total, doubt = state
        if self.kind == "double":
            name = f"llvm.fma.v{COLUMNS}f64"
            return [self._call(name, total.type, [a, many, total]), doubt]
        if self.kind == "int":
            op = self.product.op
            if op == "mul":
                return [b.add(total, b.mul(a, many)), doubt]
            both = b.xor(a, many) if op == "xor" else b.and_(a, many)
            return [b.add(total, self._call(f"llvm.ctpop.v{COLUMNS}i32", both.type, [both])), doubt]
        # what the addition lost, exactly (Knuth's two-sum)
        term = b.fmul(a, many)
        after = b.fadd(total, term)
        part = b.fsub(after, total)
        lost = b.fadd(b.fsub(total, b.fsub(after, part)), b.fsub(term, part))
        return [after, b.or_(doubt, b.fcmp_unordered("!=", lost, ir.Constant(lost.type, None)))]

    def _mend(self, old: IR, here: IR, a: IR, right: IR, summed: IR, doubt: IR) -> None:
        """Stores the sums; those that lost something, and are finite, are made again from c on."""
        b = self.b
        b.store(b.load(here, typ=summed.type, align=8), old)
        b.store(summed, here, align=8)
        mask = b.bitcast(doubt, I8)
        with b.if_then(b.icmp_unsigned("!=", mask, _int(0, I8)), likely=False), _loop(b, COLUMNS) as j:
            bit = b.trunc(b.lshr(mask, b.trunc(j, I8)), I1)
            rough = b.load(_at(b, here, j, DOUBLE), typ=DOUBLE)
            infinite = b.fcmp_unordered(">=", self._size(rough), ir.Constant(DOUBLE, math.inf))
            with b.if_then(b.and_(bit, b.not_(infinite))):
                first = b.load(_at(b, old, j, DOUBLE), typ=DOUBLE)
                column = _at(b, right, j, DOUBLE)
                depth, stride = _int(self._depth()), _int(self.product.d.cols)
                exact = self._call(EXACT_SUM, DOUBLE, [a, column, depth, stride, first])
                b.store(exact, _at(b, here, j, DOUBLE))


@lru_cache(maxsize=1)
def exact_sum_text() -> str:
    """`double EXACT_SUM(ptr a, ptr b, i64 depth, i64 stride, double first)`.

    first + a[0] b[0] + a[1] b[stride] + ..., all finite, rounded to odd: rounding it again rounds as if once.
    """
    module = ir.Module(EXACT_SUM)
    function = ir.Function(module, ir.FunctionType(DOUBLE, [PTR, PTR, I64, I64, DOUBLE]), EXACT_SUM)
    b = ir.IRBuilder(function.append_basic_block())
    left, right, depth, stride, first = function.args
    with _fold(b, depth, _whole(b, first)) as (k, state):
        x = b.load(_at(b, left, k, DOUBLE), typ=DOUBLE)
        y = b.load(_at(b, right, b.mul(k, stride), DOUBLE), typ=DOUBLE)
        state[:] = [b.add(state[0], _whole(b, b.fmul(x, y)))]
    b.ret(_to_odd(b, state[0]))
    return str(module)


def _whole(b: ir.IRBuilder, value: IR) -> IR:
    """A finite double in units of 2^LOWEST."""
    bits = b.bitcast(value, I64)
    exponent = b.and_(b.lshr(bits, _int(52)), _int(0x7FF))
    mantissa = b.or_(b.and_(bits, _int((1 << 52) - 1)), _int(1 << 52))
    zero = b.icmp_unsigned("==", exponent, _int(0))
    mantissa = b.select(zero, _int(0), mantissa)
    shift = b.select(zero, _int(0), b.sub(exponent, _int(1075 + LOWEST)))
    size = b.shl(b.zext(mantissa, WIDE), b.zext(shift, WIDE))
    return b.select(b.icmp_signed("<", bits, _int(0)), b.neg(size), size)


def _to_odd(b: ir.IRBuilder, total: IR) -> IR:
    negative = b.icmp_signed("<", total, _int(0, WIDE))
    size = b.select(negative, b.neg(total), total)
    zeros = b.ctlz(size, _int(0, I1))
    excess = b.sub(_int(1024 - 53), b.trunc(zeros, I64))
    shift = b.select(b.icmp_signed(">", excess, _int(0)), excess, _int(0))
    wide = b.zext(shift, WIDE)
    kept = b.lshr(size, wide)
    lost = b.icmp_unsigned("!=", b.shl(kept, wide), size)
    digits = b.or_(b.trunc(kept, I64), b.zext(lost, I64))
    scale = b.bitcast(b.shl(b.add(shift, _int(1023 + LOWEST)), _int(52)), DOUBLE)
    value = b.fmul(b.uitofp(digits, DOUBLE), scale)
    return b.select(negative, b.fneg(value), value)


def transpose_text(name: str) -> str:
    """`void name(ptr, i64 count)`: 8 x 8 matrices of 16 bits, in place."""
    module = ir.Module(name)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, I64]), name)
    b = ir.IRBuilder(function.append_basic_block())
    start, count = function.args
    vector = ir.VectorType(I16, 64)
    order = [8 * (i % 8) + i // 8 for i in range(64)]
    mask = ir.Constant(ir.VectorType(I32, 64), order)
    with _loop(b, count) as i:
        where = _at(b, start, i, vector)
        value = b.load(where, typ=vector, align=1)
        b.store(b.shuffle_vector(value, value, mask), where, align=1)
    b.ret_void()
    return str(module)


# small things


def _int(value: int, type: ir.Type = I64) -> ir.Constant:
    return ir.Constant(type, value)


def _at(b: ir.IRBuilder, base: IR, index: IR, type: ir.Type) -> IR:
    where = b.gep(base, [index], source_etype=type)
    where.type = PTR
    return where


def _room(b: ir.IRBuilder, type: ir.Type, count: int = 1) -> IR:
    """Memory for `count` values: at a function's start, outside of loops."""
    memory = b.alloca(ir.ArrayType(type, count))
    memory.align, memory.type = 64, PTR
    return memory


def _splat(b: ir.IRBuilder, scalar: IR) -> IR:
    vector = ir.VectorType(scalar.type, COLUMNS)
    one = b.insert_element(ir.Constant(vector, ir.Undefined), scalar, _int(0, I32))
    zeros = ir.Constant(ir.VectorType(I32, COLUMNS), [0] * COLUMNS)
    return b.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


@contextmanager
def _loop(b: ir.IRBuilder, count: int | IR) -> Iterator[IR]:
    """Index from 0 to count - 1, and at least 0."""
    with _fold(b, count) as (index, _):
        yield index


@contextmanager
def _fold(b: ir.IRBuilder, count: int | IR, *starts: IR) -> Iterator[tuple[IR, list[IR]]]:
    """(index, state): the body puts the next round's state into the list; at its end the last is there."""
    before, head = b.block, b.append_basic_block("loop")
    b.branch(head)
    b.position_at_end(head)
    index = b.phi(I64)
    index.add_incoming(_int(0), before)
    carried = [b.phi(start.type) for start in starts]
    state: list[IR] = list(carried)
    yield index, state
    following = b.add(index, _int(1))
    for phi, start, value in zip(carried, starts, state, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(value, b.block)
    index.add_incoming(following, b.block)
    done = b.append_basic_block("done")
    limit = _int(count) if isinstance(count, int) else count
    b.cbranch(b.icmp_unsigned("<", following, limit), head, done)
    b.position_at_end(done)
