"""Proofs by z3 that an elementwise kernel is right for every length and every input, in the plan's launches.

Of every load: it is within an input. Of every store: it is of an element of the output, and what the entry's
`meaning` makes of that element's inputs. Of every element: some thread of some block stores it. Where this
holds for all threads, blocks, lengths and contents of memory, nothing is left but what is taken for granted:
that the output lies apart from the inputs, that buffers end below 2^47, that ptxas keeps what PTX means.

What is not proved is not wrong; where the solver knows a case against it, that case is run, and only what
shows then counts. z3 (the `z3-solver` package) is asked for only here, under a limit that counts its steps,
not seconds, so that every machine proves the same. Loops must be ones that unrolling can write out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from llmptx.ptx.ast import Directive, Function
from llmptx.ptx.plan import Expr, PlanLaunch
from llmptx.record import Routine, Signature
from llmptx.verify.inputs import Case, plain
from llmptx.verify.plan_run import Setup, element_alignment, outputs, stored
from llmptx.verify.read import passed_names
from llmptx.verify.stages import Result, Tick
from llmptx.verify.symbolic import Access, followed, untouched
from llmptx.verify.terms import Term, Variables, is_nan, ordered
from llmptx.verify.trial import Trial
from llmptx.verify.unroll import TIMES, unrolled

STEPS = 2_500_000  # of the solver, for all questions together: half a second where it comes to no end
SMALL = 4096  # elements of a case that is run
MOST_STORES = 64
PROVED = "proved"  # a note that begins so says that everything was
_EXTENT = 1 << 44


class _Beyond(Exception):  # noqa: N818 (no error: nothing is proved, and this is why)
    """Why there is no proof."""


@dataclass(frozen=True, slots=True)
class _Against:
    """A length, and what the inputs are at an element, for which something does not hold."""

    n: int
    element: int
    values: tuple[int, ...]


def proof(trial: Trial, tick: Tick) -> Result:
    """One question for every access, and one for all elements together."""
    if trial.signature.dtype not in trial.routine.provable:
        return Result((), 0, "not tried: the routine has no meaning in bits alone")
    if importlib.util.find_spec("z3") is None:
        return Result((), 0, "not tried: z3-solver is not installed")
    import z3

    version = ".".join(map(str, z3.get_version()))
    try:
        asked = 0
        for asked, _ in enumerate(_questions(trial), 1):
            tick(asked, 0)
    except _Beyond as why:
        return Result((), asked, f"not proved: {why}")
    except _Case as case:
        return _confirmed(trial, case.against, asked, version)
    return Result((), asked, f"{PROVED} for every length and input by z3 {version}")


class _Case(Exception):  # noqa: N818 (an answer)
    """A case against what is asked."""

    def __init__(self, against: _Against) -> None:
        super().__init__(against)
        self.against = against


def _confirmed(trial: Trial, against: _Against, asked: int, version: str) -> Result:
    """Runs the case; where nothing shows, it is only that nothing was proved."""
    why = f"not proved: z3 {version} has a case against it, n={against.n}"
    if against.n > SMALL:
        return Result((), asked, f"{why}, too large to run")
    rng = np.random.default_rng(trial.seed)
    case = plain(trial.routine, trial.signature, {"n": against.n}, rng)
    inputs = [x.copy() for x in case.inputs]
    for x, value in zip(inputs, against.values, strict=True):
        if against.element < against.n:
            x.view(f"uint{8 * x.dtype.itemsize}")[against.element] = value
    case = Case(f"n={against.n}, from z3", {"n": against.n}, tuple(inputs))
    found = trial.judge(case)
    if not found:
        found, _ = trial.execute(case, Setup(check=True))
    return Result(found, asked, "" if found else f"{why}, of which a run shows nothing")


# -- what is asked


def _questions(trial: Trial) -> Iterator[None]:
    """One turn for each answered. Raises _Beyond where one is not, _Case where the answer is no."""
    import z3

    solver = _Solver()
    launch, entry = _launched(trial)
    accesses, unknown = _accesses(trial, entry)
    names = _names(trial, launch, entry)
    n = unknown.parameter(names["n"])
    buffers = _Buffers(trial.routine, trial.signature, {k: unknown.parameter(v) for k, v in names.items()}, n)
    block, grid = unknown.special("%ctaid.x"), _grid(launch.grid[0], n)
    facts = [*unknown.facts, z3.ULT(n, _EXTENT), *buffers.facts(trial)]
    facts += [z3.ULT(z3.ZeroExt(32, block), grid), z3.ULT(grid, 1 << 31)]
    for access in accesses:
        if access.kind == "trap":
            solver.never(facts, access.when)
    stores = [access for access in accesses if access.value is not None]
    if not 0 < len(stores) <= MOST_STORES:
        raise _Beyond(f"it has {len(stores)} stores")
    loads: list[Access] = []
    for access in accesses:
        if access.kind == "trap":
            continue
        if access.value is None:
            loads.append(access)
            solver.ask(facts, z3.Implies(access.when, buffers.loaded(access)), buffers, z3.BitVecVal(0, 64))
        else:
            element = buffers.element(access)
            solver.ask(facts, z3.Implies(access.when, buffers.written(access)), buffers, element)
            if not buffers.agrees_with(access, loads, solver):
                solver.ask(facts, z3.Implies(access.when, buffers.right(access)), buffers, element)
        yield
    i = z3.BitVec("i", 64)
    covered = _covered(trial, launch, stores, unknown, buffers, grid, i)
    possible = [z3.ULT(n, _EXTENT), *buffers.facts(trial), z3.ULT(grid, 1 << 31)]
    solver.ask([*unknown.facts, *possible, z3.ULT(i, n)], covered, buffers, i)
    yield


class _Solver:
    """Answers questions until its steps are spent."""

    def __init__(self) -> None:
        self._left = STEPS

    def check(self, *terms: Term) -> tuple[Any, Any]:
        """The answer, and the solver that has the model if there is one. Raises _Beyond without an answer."""
        import z3

        solver = z3.SolverFor("QF_UFBV")
        solver.set("rlimit", self._left)
        before = _steps(solver)
        answer = solver.check(*terms)
        self._left = max(1, self._left - (_steps(solver) - before))
        if answer == z3.unknown:
            raise _Beyond("the solver comes to no end")
        return answer, solver

    def ask(self, facts: Sequence[Term], claim: Term, buffers: _Buffers, element: Term) -> None:
        """Raises _Case where something speaks against the claim: a small case, if there is one."""
        import z3

        answer, solver = self.check(*facts, z3.Not(claim))
        if answer == z3.unsat:
            return
        small, other = self.check(*facts, z3.Not(claim), z3.ULE(buffers.n, SMALL))
        model = (other if small == z3.sat else solver).model()

        def known(term: Term) -> int:
            return int(model.eval(term, model_completion=True).as_long())

        raise _Case(_Against(known(buffers.n), known(element), tuple(map(known, buffers.inputs(element)))))

    def never(self, facts: Sequence[Term], when: Term) -> None:
        import z3

        if self.check(*facts, when)[0] != z3.unsat:
            raise _Beyond(f"a loop may go round more than {TIMES} times, or a trap be reached")


def _steps(solver: Any) -> int:
    """What its context has spent."""
    statistics = solver.statistics()
    return int(statistics.get_key_value("rlimit count")) if "rlimit count" in statistics.keys() else 0  # noqa: SIM118 (no dict)


def _launched(trial: Trial) -> tuple[PlanLaunch, Function]:
    module = trial.reading.module
    if len(trial.plan.launches) != 1 or trial.plan.buffers or module is None:
        raise _Beyond("it has several launches, or scratch")
    launch = trial.plan.launches[0]
    if any(axis != Expr("int", 1) for axis in launch.grid[1:]) or launch.block[1:] != (1, 1):
        raise _Beyond("its grid or block has more than one axis")
    return launch, next(e for e in module.entries if e.name == launch.entry)


def _accesses(trial: Trial, entry: Function) -> tuple[list[Access], Variables]:
    body = unrolled([s for s in entry.body or () if not isinstance(s, Directive)])
    if body is None:
        raise _Beyond("its loops are not ones that can be written out")
    unknown = Variables(trial.plan, entry.name)
    accesses = followed(replace(entry, body=tuple(body)), unknown)
    if accesses is None:
        raise _Beyond("it has instructions that are not followed")
    return accesses, unknown


def _names(trial: Trial, launch: PlanLaunch, entry: Function) -> dict[str, str]:
    """The entry's own parameter by the routine's name for what is passed."""
    passed, _ = passed_names(launch, trial.plan, trial.routine, trial.signature)
    plain_names = ["in0" if name == "in" else name for name in passed]
    names = dict(zip(plain_names, (p.name for p in entry.params), strict=True))
    if set(names) != set(trial.routine.parameters(trial.signature.dtype)):
        raise _Beyond("it is not passed each buffer and extent once and as they are")
    return names


def _grid(expression: Expr, n: Term) -> Term:
    """Blocks along x, in 64 bits."""
    import z3

    if expression.operator == "int":
        return z3.BitVecVal(expression.value, 64)
    if expression.operator == "name":
        return n
    a, b = (_grid(operand, n) for operand in expression.operands)
    match expression.operator:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "ceil_div":
            return z3.UDiv(a + b - 1, b)
        case "min":
            return z3.If(z3.ULT(a, b), a, b)
        case _:
            return z3.If(z3.ULT(a, b), b, a)


def _covered(
    trial: Trial,
    launch: PlanLaunch,
    stores: Sequence[Access],
    unknown: Variables,
    buffers: _Buffers,
    grid: Term,
    i: Term,
) -> Term:
    """That element i is stored: by the block that has it if blocks take elements by turns, and in that by the
    thread that has it if threads take them singly or in runs.
    """
    import z3

    length = 1 << 40
    blocks = launch.grid[0].evaluate({"n": length})
    threads = launch.block[0]
    tile = -(-length // max(1, blocks))
    if tile % threads:
        raise _Beyond("a block takes no whole number of elements a thread")
    block, place = z3.UDiv(i, z3.BitVecVal(tile, 64)), z3.URem(i, z3.BitVecVal(tile, 64))
    held = []
    for thread in (
        z3.URem(place, z3.BitVecVal(threads, 64)),
        z3.UDiv(place, z3.BitVecVal(tile // threads, 64)),
    ):
        pairs = [
            (unknown.special(name), z3.Extract(31, 0, value))
            for name, value in (("%ctaid.x", block), ("%tid.x", thread))
        ]
        pairs = [(register, value) for register, value in pairs if z3.is_const(register)]
        for store in stores:
            when, address = (z3.substitute(term, *pairs) for term in (store.when, store.address))
            held.append(z3.And(when, address == buffers.out + i * buffers.width))
        if tile == threads:
            break
    return z3.And(z3.ULT(block, grid), z3.Or(held))


class _Buffers:
    """The buffers of a call: where they are, and what holds of an access."""

    def __init__(
        self, routine: Routine, signature: Signature, parameters: Mapping[str, Term], n: Term
    ) -> None:
        assert routine.meaning is not None
        self.n = n
        self._meaning, self._signature = routine.meaning, signature
        self._bases = [parameters[f"in{i}"] for i in range(len(signature.inputs))]
        self._widths = [np.dtype(stored(dtype)).itemsize for dtype in signature.inputs]
        self.out = parameters[outputs(signature)[0]]
        self.width = np.dtype(stored(signature.outputs[0])).itemsize
        self._algebra = _Patterns(signature.dtype)

    def facts(self, trial: Trial) -> list[Term]:
        """Each lies below the end of addresses, as aligned as it is."""
        import z3

        aligned = element_alignment(self._signature, trial.plan)
        places = [*zip(self._bases, self._widths, strict=True), (self.out, self.width)]
        found = []
        for (base, width), alignment in zip(places, aligned.values(), strict=True):
            found.append(z3.ULE(base + self.n * width, 1 << 47))
            found.append(base & (alignment - 1) == 0)
        return found

    def _inside(self, access: Access, base: Term, width: int) -> Term:
        import z3

        size = access.bytes
        offset = access.address - base
        return z3.And(z3.ULT(offset, self.n * width), z3.ULE(offset + size, self.n * width))

    def loaded(self, access: Access) -> Term:
        """That a load is within an input."""
        import z3

        places = zip(self._bases, self._widths, strict=True)
        return z3.Or([self._inside(access, base, width) for base, width in places])

    def element(self, access: Access) -> Term:
        import z3

        return z3.LShR(access.address - self.out, self.width.bit_length() - 1)

    def inputs(self, element: Term) -> list[Term]:
        """What memory holds of an element, before anything is stored."""
        places = zip(self._bases, self._widths, strict=True)
        return [untouched(base + element * width, width) for base, width in places]

    def written(self, access: Access) -> Term:
        """That a store is of one whole element."""
        import z3

        whole = (access.address - self.out) & (self.width - 1) == 0
        return z3.And(self._inside(access, self.out, self.width), whole, access.bytes == self.width)

    def right(self, access: Access) -> Term:
        """That a store is of what the routine makes of the element's inputs, which are found by address."""
        return self._agrees(access.value, self.inputs(self.element(access)))

    def agrees_with(self, access: Access, loads: Sequence[Access], solver: _Solver) -> bool:
        """Whether that is known without a thought for addresses: plainly, loads are of the element's inputs,
        and the value is right whatever they found.
        """
        import z3

        found = []
        for base, width in zip(self._bases, self._widths, strict=True):
            same = [x for x in loads if x.bytes == width and self._level(access, x, base, width)]
            if not same:
                return False
            found.append(untouched(same[-1].address, width))
        anything = [(term, z3.BitVec(f"x{k}", term.size())) for k, term in enumerate(found)]
        claim = z3.substitute(self._agrees(access.value, found), *anything)
        return bool(solver.check(z3.Not(claim))[0] == z3.unsat)

    def _level(self, store: Access, load: Access, base: Term, width: int) -> bool:
        """Whether they are as many elements into their buffers, as anyone can see.

        Where the output's elements are the wider ones, 2^62 elements more would look the same, but for a load
        that is known to be within an input whenever the store is made.
        """
        import z3

        ahead = (store.address - self.out) * width - (load.address - base) * self.width
        apart = z3.simplify(ahead, som=True)
        level = bool(z3.is_bv_value(apart) and apart.as_long() == 0)
        return level and (self.width <= width or bool(z3.eq(store.when, load.when)))

    def _agrees(self, value: Term, inputs: Sequence[Term]) -> Term:
        import z3

        typed = zip(inputs, self._signature.inputs, strict=True)
        flags = [z3.ULE(term, 1) for term, dtype in typed if dtype == "bool"]
        meant = self._meaning(self._algebra, *inputs)
        return z3.Implies(z3.And(flags), self._algebra.agree(value, meant, inputs))


class _Patterns:
    """The algebra of meanings on z3's bit vectors."""

    def __init__(self, dtype: str) -> None:
        self._width = 8 * np.dtype(dtype).itemsize
        self.floating = dtype.startswith("float")
        self._dtype = dtype

    def number(self, value: int) -> Term:
        import z3

        bits = np.array([value], self._dtype).view(f"uint{self._width}")[0]
        return z3.BitVecVal(int(bits), self._width)

    def sign(self) -> Term:
        import z3

        return z3.BitVecVal(1 << (self._width - 1), self._width)

    def where(self, condition: Term, a: Term, b: Term) -> Term:
        import z3

        return z3.If(condition, a, b)

    def flag(self, condition: Term) -> Term:
        import z3

        return z3.If(condition, z3.BitVecVal(1, 8), z3.BitVecVal(0, 8))

    def same(self, a: Term, b: Term) -> Term:
        return a == b

    def equal(self, a: Term, b: Term) -> Term:
        import z3

        if not self.floating:
            return a == b
        return z3.And(z3.Not(self.nan(a)), z3.Not(self.nan(b)), self._order(a) == self._order(b))

    def less(self, a: Term, b: Term) -> Term:
        import z3

        if not self.floating:
            return a < b
        return z3.And(z3.Not(self.nan(a)), z3.Not(self.nan(b)), self._order(a) < self._order(b))

    def nan(self, a: Term) -> Term:
        import z3

        return is_nan(a, self._width) if self.floating else z3.BoolVal(False)

    def _order(self, a: Term) -> Term:
        return ordered(a, self._width)

    def within(self, count: Term) -> Term:
        import z3

        return z3.ULT(count, self._width)

    def shifted_right(self, a: Term, count: Term) -> Term:
        return a >> count

    def quotient(self, a: Term, b: Term) -> Term:
        return a / b

    def agree(self, got: Term, want: Term, inputs: Sequence[Any]) -> Term:
        """Bit for bit, but that any NaN is any other, and of zeros of both signs either may be the answer."""
        import z3

        if not self.floating or got.size() != self._width:
            return got == want
        zero, sign = self.number(0), self.sign()
        numbers = [x for x in inputs if x.size() == self._width]
        both = z3.And(z3.Or([x == zero for x in numbers]), z3.Or([x == sign for x in numbers]))
        zeros = z3.And(both, got & ~sign == zero, want & ~sign == zero)
        return z3.Or(got == want, z3.And(self.nan(got), self.nan(want)), zeros)
