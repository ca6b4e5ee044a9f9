"""Every 32-bit input there is, through a routine of one input: 2^32 answers, each held against the truth.

Inputs are runs of consecutive bit patterns, so neither they nor expected values are stored or sent: the
worker counts its own, and the truth is computed beside the answers, in blocks that stay in cache. What
float64 cannot decide, an error within 2^-20 ULP of a limit, MPFR does. Knows nothing of PTX.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmptx.record import Routine, Signature, Tolerance
from llmptx.routines.truth import Array, Floats, Truth, quiet, spacing
from llmptx.run.job import consecutive
from llmptx.verify import compare
from llmptx.verify.compare import Curve
from llmptx.verify.inputs import Case

TOTAL = 1 << 32
CHUNK = 1 << 20
BLOCK = 1 << 15
DTYPES = ("float32", "int32")
# A float64 truth is off by less than 2^-24 ULP of a float32: nearer to a limit than this, MPFR decides.
DOUBT = 2.0**-20
_ULP = 2.0**-23  # of 1
_EXPONENT = np.uint64(0x7FF << 52)
_NEGATIVE = 1 << 31
_LEAST, _MOST = 2.0**-126, 2.0**127  # the lowest and the highest binade of float32

_COUNT = np.arange(BLOCK, dtype=np.uint32)

Answer = Callable[[int, int], Array]
Tick = Callable[[int, int], None]


class WrongError(Exception):
    """Wrong answers: `.case` holds a block of inputs, `.got` what came out, `.way` which of the answers."""

    def __init__(self, case: Case, got: Array, way: int) -> None:
        super().__init__(case.label)
        self.case, self.got, self.way = case, got, way


@dataclass(frozen=True, slots=True)
class Swept:
    """What a run of inputs showed.

    checked   answers compared
    max_ulp   the largest error, in ULP of the truth, and `at`, the bit pattern of its input
    others    the largest error of the other ways of answering
    rounded   answers that are the float nearest to the truth
    floats    how many floats the worst answer is away from that one
    breaks    neighbours in the wrong order
    """

    checked: int = 0
    max_ulp: float = 0.0
    at: int = 0
    others: float = 0.0
    rounded: int = 0
    floats: int = 0
    breaks: int = 0
    curve: Curve = ()


def sweep(
    routine: Routine,
    signature: Signature,
    answers: Sequence[Answer],
    lanes: int,
    tick: Tick = lambda done, total: None,
    span: tuple[int, int] = (0, TOTAL),
    slack: Tolerance | None = None,
) -> Swept:
    """Compares what each of `answers` gives for every input, all by the same truth.

    answers  (first pattern, count) -> that many outputs, called from `lanes` threads; the figures are those
             of the first, and the others need only be right
    span     patterns to try, multiples of CHUNK
    slack    what is allowed to the others, where it is more

    Raises WrongError for the lowest chunk that holds a wrong answer, and what `answers` raise.
    """
    chunks = range(span[0], span[1], CHUNK)
    judge = _Judge(routine, signature, answers, slack)
    found = _Sum(judge, span[0])
    executor = ThreadPoolExecutor(lanes, thread_name_prefix="sweep")
    try:
        waiting: deque[Future[_Chunk]] = deque()
        for first in chunks:
            waiting.append(executor.submit(judge.chunk, first))
            if len(waiting) > 2 * lanes:
                found.add(waiting.popleft().result())
                tick(found.chunks, len(chunks))
        while waiting:
            found.add(waiting.popleft().result())
            tick(found.chunks, len(chunks))
    finally:  # Ctrl-C too: what has not begun never does, what has takes milliseconds
        executor.shutdown(wait=True, cancel_futures=True)
    return found.swept()


@dataclass(frozen=True, slots=True)
class _Block:
    """One block by one answer: the largest error, its place, and how many answers are correctly rounded."""

    worst: float
    index: int
    rounded: int


@dataclass(slots=True)
class _Chunk:
    """A chunk so far.

    blocks  largest errors of its blocks
    ends    its first and last answers, for the order across its borders
    """

    first: int
    max_ulp: float = 0.0
    at: int = 0
    others: float = 0.0
    rounded: int = 0
    breaks: int = 0
    ends: tuple[float, float] = (0.0, 0.0)
    blocks: list[float] = field(default_factory=list)


class _Sum:
    """Chunks added up, in order."""

    def __init__(self, judge: _Judge, start: int) -> None:
        self._judge = judge
        self._start = start
        self._all = _Chunk(0)
        self._blocks: list[float] = []
        self._halves: list[float] = []
        self._last: float | None = None
        self.chunks = 0

    def add(self, chunk: _Chunk) -> None:
        total = self._all
        if chunk.max_ulp > total.max_ulp:
            total.max_ulp, total.at = chunk.max_ulp, chunk.at
        total.others = max(total.others, chunk.others)
        total.rounded += chunk.rounded
        self._blocks += chunk.blocks
        if chunk.first in (0, _NEGATIVE):
            self._last = None
            self._halves.append(chunk.ends[0])
        total.breaks += chunk.breaks
        if self._last is not None:
            total.breaks += self._judge.breaks(chunk.first, np.array([self._last, chunk.ends[0]]))
        self._last = chunk.ends[1]
        self.chunks += 1

    def swept(self) -> Swept:
        total = self._all
        if len(self._halves) == 2:  # from -0 to +0
            total.breaks += self._judge.breaks(0, np.array(self._halves[::-1]))
        worst = self._judge.exactly(total.at, total.max_ulp)
        checked = self.chunks * CHUNK
        return Swept(
            checked,
            worst,
            total.at,
            total.others,
            total.rounded,
            self._judge.floats,
            total.breaks,
            self._curve(),
        )

    def _curve(self) -> Curve:
        """By the middles of the blocks, of which a bucket has some 650."""
        if not self._judge.plots:
            return ()
        middles = (self._start + BLOCK // 2 + BLOCK * np.arange(len(self._blocks))).astype(np.uint32)
        return compare.curve_of(middles.view(np.float32), np.array(self._blocks))


class _Scratch(threading.local):
    """Arrays a thread uses over and over: fresh pages cost more than the arithmetic."""

    def __init__(self) -> None:
        self.error: Floats = np.empty(BLOCK)
        self.unit: Floats = np.empty(BLOCK)
        self.bits: NDArray[np.uint32] = np.empty(BLOCK, np.uint32)
        self.near: NDArray[np.bool_] = np.empty(BLOCK, np.bool_)


class _Judge:
    """Judges chunks; its methods may run in several threads at once."""

    def __init__(
        self, routine: Routine, signature: Signature, answers: Sequence[Answer], slack: Tolerance | None
    ) -> None:
        self.routine, self.signature, self.answers = routine, signature, answers
        self.dtype = signature.outputs[0]
        rule = routine.tolerance[signature.dtype]
        self.rules = [rule] + [slack or rule] * (len(answers) - 1)
        self.exact = rule.rule == "exact"
        self.plots = self.dtype == signature.inputs[0] == "float32"
        self.direction = routine.monotone if self.plots else 0
        self.floats = 0
        self._scratch = _Scratch()

    def chunk(self, first: int) -> _Chunk:
        """Raises WrongError."""
        gots = [answer(first, CHUNK) for answer in self.answers]
        chunk = _Chunk(first, ends=(float(gots[0][0]), float(gots[0][-1])))
        chunk.breaks = self.breaks(first, gots[0])
        bits = self._scratch.bits
        x = bits.view(self.signature.inputs[0])
        with quiet():
            for start in range(0, CHUNK, BLOCK):
                np.add(_COUNT, np.uint32(first + start), out=bits)
                truth = self.truth(x)
                for way, got in enumerate(gots):
                    block = self.block(x, truth, got[start : start + BLOCK], way)
                    if way:
                        chunk.others = max(chunk.others, block.worst)
                        continue
                    chunk.rounded += block.rounded
                    chunk.blocks.append(block.worst)
                    if block.worst > chunk.max_ulp:
                        chunk.max_ulp, chunk.at = block.worst, first + start + block.index
        return chunk

    def truth(self, x: Array) -> Truth:
        truth: Truth = self.routine.oracle((x,), {"n": x.size}, self.signature)[0]
        return truth

    def breaks(self, first: int, got: Array) -> int:
        """Neighbours in the wrong order: the patterns of negative numbers run backwards."""
        direction = self.direction if first < _NEGATIVE else -self.direction
        if direction == 0:
            return 0
        before, after = got[:-1], got[1:]
        return int(np.count_nonzero(after < before if direction > 0 else after > before))

    def block(self, x: Array, truth: Truth, got: Array, way: int) -> _Block:
        if self.exact:
            return self._exact_block(x, truth, got, way)
        hi = truth.hi
        error = self._errors(hi, got)
        index = int(error.argmax())
        worst = float(error[index]) / _ULP
        if not np.isfinite(worst):
            return self._awkward_block(x, truth, got, way)
        if np.equal(got, 0, out=self._scratch.near).any() and _zeros_of_wrong_sign(hi, got):
            raise self._wrong(x, got, way)
        if worst > self.rules[way].ulp - DOUBT:
            self._check_far(x, truth, got, error, way)
        if worst > self.floats + 0.5 and way == 0:
            self._count_floats(hi, got, error)
        rounded = self._rounded(x, hi, got, error) if way == 0 else 0
        return _Block(worst, index, rounded)

    def _errors(self, hi: Floats, got: Array) -> Floats:
        """|got - hi| in units of 2^e for |hi| in [2^e, 2^(e+1)), e within the range of float32."""
        error, unit = self._scratch.error, self._scratch.unit
        np.bitwise_and(hi.view(np.uint64), _EXPONENT, out=unit.view(np.uint64))
        if unit.min() < _LEAST:
            np.maximum(unit, _LEAST, out=unit)
        if unit.max() > _MOST:
            np.minimum(unit, _MOST, out=unit)
        np.subtract(got, hi, out=error)
        np.abs(error, out=error)
        np.divide(error, unit, out=error)
        return error

    def _check_far(self, x: Array, truth: Truth, got: Array, error: Floats, way: int) -> None:
        """Raises WrongError where an error is past what is allowed; MPFR decides for plain limits."""
        rule = self.rules[way]
        if rule.rule != "ulp":
            if self._generic(x, truth, got, way).wrong.any():
                raise self._wrong(x, got, way)
            return
        far = np.flatnonzero(error > (rule.ulp - DOUBT) * _ULP)
        if far.size > 1000 or (self._precise(x[far], got[far])[0] > rule.ulp).any():
            raise self._wrong(x, got, way)

    def _rounded(self, x: Array, hi: Floats, got: Array, error: Floats) -> int:
        """How many answers are the float nearest to the truth."""
        near = self._scratch.near
        surely = int(np.count_nonzero(np.less(error, (0.5 - DOUBT) * _ULP, out=near)))
        perhaps = int(np.count_nonzero(np.less_equal(error, (0.5 + DOUBT) * _ULP, out=near)))
        if surely == perhaps:
            return surely
        places = np.flatnonzero(near & (error >= (0.5 - DOUBT) * _ULP))
        precise, tie = self._precise(x[places], got[places])
        return surely + int(np.count_nonzero((precise < 0.5) | ((precise == 0.5) & tie)))

    def _precise(self, x: Array, got: Array) -> tuple[Floats, NDArray[np.bool_]]:
        """Errors in ULP by MPFR, and where the answer is what the truth rounds to should it lie halfway."""
        wider = self.routine.signature("float64")
        truth = self.routine.oracle((x.astype(np.float64),), {"n": x.size}, wider)[0]
        low = truth.lo if truth.lo is not None else np.zeros_like(truth.hi)
        error = np.abs((got.astype(np.float64) - truth.hi) - low) / spacing(truth.hi, "float32")
        return error, (truth.hi.astype(np.float32) == got) & (low == 0)

    def exactly(self, at: int, about: float) -> float:
        """The error at a pattern by MPFR, where it is one of few roundings."""
        if self.exact or not 0 < about < compare.BEYOND:
            return about
        got = self.answers[0](at - at % CHUNK, CHUNK)[at % CHUNK : at % CHUNK + 1]
        with quiet():
            precise = float(self._precise(consecutive(at, 1, "float32"), got)[0][0])
        return precise if abs(precise - about) < DOUBT else about

    def _count_floats(self, hi: Floats, got: Array, error: Floats) -> None:
        places = np.flatnonzero(error > (self.floats + 0.5) * _ULP)
        nearest = hi[places].astype(np.float32)
        away = np.abs(_ordinal(got[places]) - _ordinal(nearest))
        self.floats = max(self.floats, int(away.max()))

    def _awkward_block(self, x: Array, truth: Truth, got: Array, way: int) -> _Block:
        """Infinities, NaN: mostly whole blocks of one of them."""
        nan = np.isnan(truth.hi)
        if nan.all() and np.isnan(got).all():
            return _Block(0.0, 0, x.size)
        if np.isinf(truth.hi[0]) and (truth.hi == truth.hi[0]).all() and (got == truth.hi[0]).all():
            return _Block(0.0, 0, x.size)
        judged = self._generic(x, truth, got, way)
        if judged.wrong.any():
            raise self._wrong(x, got, way)
        nearest = truth.hi.astype(np.float32)
        same = (nearest == got) & (np.signbit(nearest) == np.signbit(got)) | nan
        index = int(judged.error.argmax())
        return _Block(float(judged.error[index]), index, int(np.count_nonzero(same)))

    def _exact_block(self, x: Array, truth: Truth, got: Array, way: int) -> _Block:
        same = _bits(got, self.dtype) == _bits(truth.hi, self.dtype)
        if not same.all() and not (
            self.dtype == "float32" and np.isnan(truth.hi).all() and np.isnan(got).all()
        ):
            judged = self._generic(x, truth, got, way)
            if judged.wrong.any():
                raise self._wrong(x, got, way)
        return _Block(0.0, 0, x.size)

    def _generic(self, x: Array, truth: Truth, got: Array, way: int) -> compare.Judged:
        return compare.judge(self.rules[way], truth, got, _case(x), self.dtype)

    def _wrong(self, x: Array, got: Array, way: int) -> WrongError:
        return WrongError(_case(x), got.copy(), way)


def _case(x: Array) -> Case:
    first = int(x[:1].view(np.uint32)[0])
    return Case(f"every {x.dtype} from 0x{first:08x}", {"n": x.size}, (x.copy(),))


def _bits(values: Array, dtype: str) -> Array:
    return values.view(np.uint8 if dtype == "bool" else np.uint32)


def _zeros_of_wrong_sign(hi: Floats, got: Array) -> bool:
    zero = got == 0
    return bool((np.signbit(got[zero]) != np.signbit(hi[zero])).any())


def _ordinal(values: Array) -> NDArray[np.int64]:
    """Floats counted from zero: neighbours differ by one."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
