"""The machine an instruction's meaning is written on: a small set of exact primitives.

Rows of the table call these and nothing else. A `Value` is opaque: the engine's emitters (LLVM code, and the
analysis that finds uniform and consecutive values) implement the same class, so a meaning is written once.
Values are lanes of a warp, but no row can tell how many there are.

Machine types of values are written as `Type`: b/s/u N are one integer type of N bits (signedness is in the
operation), f16/f32/f64 are floats, pred is one bit. A row gets each source as a value of its operand's type,
and returns one of its destination's. Packed and bf16 values are b32 and b16 in the patterns too.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from llmptx.isa.fragment import Product
from llmptx.ptx.types import Type

Value = Any
Address = Any

Rounding = Literal["rn", "rz", "rm", "rp"]
IntCompare = Literal["eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge"]
FloatCompare = Literal[
    "oeq", "one", "olt", "ole", "ogt", "oge", "ueq", "une", "ult", "ule", "ugt", "uge", "ord", "uno"
]
Approx = Literal["ex2", "lg2", "sin", "cos", "tanh", "rcp", "sqrt", "rsqrt", "div"]


class Emitter(Protocol):
    """What a row may ask for. Integer operands of one operation have one width; so has its result."""

    def type_of(self, a: Value) -> Type: ...
    def const(self, type: Type, value: int | float) -> Value:
        """Integers are taken modulo 2^N. For float types an int or float number (rounded to nearest)."""

    # integers; also pred for and_, or_, xor, not_, select
    def add(self, a: Value, b: Value) -> Value: ...
    def sub(self, a: Value, b: Value) -> Value: ...
    def mul(self, a: Value, b: Value) -> Value: ...
    def mulhi(self, a: Value, b: Value, signed: bool) -> Value: ...
    def and_(self, a: Value, b: Value) -> Value: ...
    def or_(self, a: Value, b: Value) -> Value: ...
    def xor(self, a: Value, b: Value) -> Value: ...
    def not_(self, a: Value) -> Value: ...
    def get_carry(self) -> Value:
        """The thread's condition code CC.CF: pred."""

    def set_carry(self, a: Value) -> None: ...
    def shl(self, a: Value, b: Value) -> Value:
        """Amount of a's width. A shift of the width or more is the row's to clamp: here it is undefined."""

    def lshr(self, a: Value, b: Value) -> Value: ...
    def ashr(self, a: Value, b: Value) -> Value: ...
    def div(self, a: Value, b: Value, signed: bool) -> Value:
        """Never traps: x / 0 has all bits set, min / -1 is min."""

    def rem(self, a: Value, b: Value, signed: bool) -> Value:
        """Never traps: x % 0 is x, min % -1 is 0."""

    def icmp(self, op: IntCompare, a: Value, b: Value) -> Value: ...
    def select(self, condition: Value, a: Value, b: Value) -> Value: ...
    def clz(self, a: Value) -> Value:
        """Of a's type; the width for 0."""

    def ctz(self, a: Value) -> Value: ...
    def popc(self, a: Value) -> Value: ...
    def brev(self, a: Value) -> Value: ...
    def zext(self, a: Value, bits: int) -> Value: ...
    def sext(self, a: Value, bits: int) -> Value: ...
    def trunc(self, a: Value, bits: int) -> Value: ...
    def bitcast(self, a: Value, type: Type) -> Value:
        """Same width; between integers and floats."""

    # floats: f16, f32, f64, IEEE 754, exact in every rounding mode; NaN results are the canonical quiet NaN
    def fadd(self, a: Value, b: Value, rnd: Rounding = "rn") -> Value: ...
    def fsub(self, a: Value, b: Value, rnd: Rounding = "rn") -> Value: ...
    def fmul(self, a: Value, b: Value, rnd: Rounding = "rn") -> Value: ...
    def fdiv(self, a: Value, b: Value, rnd: Rounding = "rn") -> Value: ...
    def fma(self, a: Value, b: Value, c: Value, rnd: Rounding = "rn") -> Value:
        """Rounded once."""

    def fsqrt(self, a: Value, rnd: Rounding = "rn") -> Value: ...
    def fneg(self, a: Value) -> Value:
        """Of NaN in f16 and f32 the canonical one, as of any arithmetic; in f64 its sign is flipped."""

    def fabs(self, a: Value) -> Value:
        """NaN as of fneg."""

    def copysign(self, magnitude: Value, sign: Value) -> Value: ...
    def fcmp(self, op: FloatCompare, a: Value, b: Value) -> Value: ...
    def fround(self, a: Value, rnd: Rounding) -> Value:
        """To an integral value in the same type; keeps the sign of zero, infinities and NaN."""

    def fcast(self, a: Value, type: Type, rnd: Rounding = "rn") -> Value:
        """Float to float; widening is exact."""

    def ftoi(self, a: Value, bits: int, signed: bool) -> Value:
        """Toward zero, clamped to the range; NaN gives 0 (what PTX gives for NaN is the row's)."""

    def itof(self, a: Value, type: Type, signed: bool, rnd: Rounding = "rn") -> Value: ...
    def approx(self, name: Approx, a: Value, b: Value | None = None) -> Value:
        """Within the manual's bound for a's type, where in it by the engine's setting; special values exact.

        f32; rcp and rsqrt also f64; ex2 and tanh also f16. `div` is a / b within 2 ULP. Rows flush.
        """

    # memory: `address` is opaque; `type` is the access type; results and values of `count` > 1 are lists
    def load(self, space: str, type: Type, address: Address, count: int = 1) -> Value: ...
    def store(self, space: str, type: Type, address: Address, value: Value, count: int = 1) -> None: ...
    def atom(
        self,
        space: str,
        op: str,
        type: Type,
        address: Address,
        b: Value,
        c: Value | None = None,
        count: int = 1,
    ) -> Value:
        """Returns the old value. op: add min max and or xor exch cas inc dec; c is cas's new value.

        Where `count` > 1, of that many elements side by side, each by itself: b and the result are lists.
        bf16 values are b16.
        """

    def offset(self, address: Address, a: Value) -> Address:
        """a bytes further on; a is b64."""

    def alloca(self, size: Value, alignment: Value | None) -> Value:
        """An address in the thread's local window, of size's type; alignment: a constant b32, or 8 bytes."""

    def stack_save(self, type: Type) -> Value: ...
    def stack_restore(self, a: Value) -> None: ...
    def to_generic(self, space: str, a: Value) -> Value:
        """cvta: an address in `space` (or from it, for cvta.to: `from_generic`) of a's width."""

    def from_generic(self, space: str, a: Value) -> Value: ...
    def is_space(self, space: str, a: Value) -> Value: ...

    # copies and barriers in memory

    def copy(self, space: str, to: Address, source: Address, size: int, given: Value | None) -> None:
        """`size` bytes from global memory, the first `given` (b32) of them real and the rest zeros.

        In flight until a wait of this thread.
        """

    def commit_copies(self) -> None:
        """The copies of this thread since the last commit become a group."""

    def wait_copies(self, pending: Value | None) -> None:
        """Until at most `pending` (b32) groups of this thread are in flight; None for no copy at all."""

    def mbarrier(self, op: str, space: str, address: Address, count: Value) -> Value:
        """The state before (b64). op: init inval arrive drop expect complete expect_arrive expect_drop."""

    def mbarrier_done(self, space: str, address: Address, phase: Value) -> Value:
        """Whether the barrier's phase of this parity (b32: 0 or 1) is complete: pred."""

    def mbarrier_phase(self, state: Value) -> Value:
        """The parity of a state's phase: b32."""

    def mbarrier_pending(self, state: Value) -> Value:
        """The arrivals a state still waited for: b32."""

    # matrices spread over a warp (isa.fragment)

    def multiply(self, product: Product, a: list[Value], b: list[Value], c: list[Value]) -> list[Value]:
        """The registers of d, from those of a, b and c."""

    def load_matrices(self, space: str, address: Address, count: int, transposed: bool) -> list[Value]:
        """ldmatrix: `count` b32 values."""

    def store_matrices(self, space: str, address: Address, values: list[Value], transposed: bool) -> None: ...
    def transpose(self, a: Value) -> Value: ...
    def lane(self) -> Value:
        """%laneid: b32."""

    # threads: `mask` is the b32 membermask
    def shfl(self, mode: str, a: Value, b: Value, c: Value, mask: Value | None) -> tuple[Value, Value]:
        """(b32 value, pred in range) of shfl.{up,down,bfly,idx}; mask None for the form without .sync."""

    def vote(self, mode: str, a: Value, mask: Value | None) -> Value:
        """all, any, uni: pred; ballot: b32."""

    def match(self, mode: str, a: Value, mask: Value) -> tuple[Value, Value]:
        """any: (b32 mask, unused); all: (b32 mask, pred)."""

    def elect(self, mask: Value) -> tuple[Value, Value]:
        """(b32 number of the elected lane, pred whether it is this one)."""

    def redux(self, op: str, a: Value, signed: bool, mask: Value) -> Value: ...
    def activemask(self) -> Value: ...
    def barrier(self, id: Value, count: Value | None, aligned: bool, arrive: bool) -> None:
        """A block barrier: a cut in the code, so the engine sees it before any row runs."""

    def barrier_reduce(self, op: str, id: Value, count: Value | None, a: Value, aligned: bool) -> Value:
        """bar.red: popc (b32), and, or (pred)."""

    def warp_barrier(self, mask: Value) -> None: ...
    def fence(self, scope: str) -> None: ...
    def trap(self) -> None: ...
