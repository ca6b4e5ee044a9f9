"""Mutants of a kernel: each has one fault a person or a model might make, so that the judge can be judged.

Deterministic in the seed. Knows no routine, runs nothing, and does not say whether a mutant is wrong: some
are not, which is for `equivalent` to prove.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from llmptx.ptx.ast import Function, Instruction, Int, Label, Module, Reg, Registers, Scope, Statement, Sym
from llmptx.ptx.errors import PtxError
from llmptx.ptx.normalize import candidate_hash
from llmptx.ptx.parser import parse
from llmptx.ptx.plan import Expr, Plan, parse_plan, render
from llmptx.ptx.printer import print_module
from llmptx.ptx.types import Type
from llmptx.verify import mutations, walk
from llmptx.verify.mutations import written

KINDS = (
    "operator",
    "operands",
    "predicate",
    "constant",
    "bit flip",
    "compare",
    "dropped barrier",
    "moved barrier",
    "bounds check",
    "rounding",
    "flush to zero",
    "saturation",
    "approximation",
    "NaN rule",
    "sign",
    "width",
    "address offset",
    "dropped instruction",
    "branch targets",
    "loop",
    "tail",
    "launch plan",
)

_MINUS_ONE = Int(-1)

# What takes the place of statements, by their number in order of the text.
Edit = Mapping[int, tuple[Statement, ...]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed kernel. kind: one of KINDS; line: of the original text; what: in one line."""

    kind: str
    line: int
    what: str
    text: str
    hash: str


@dataclass(frozen=True, slots=True)
class Change:
    """A mutant before its text is written. `function` is the number of the item in the module, or -1."""

    kind: str
    line: int
    what: str
    function: int = -1
    edit: Edit | None = None
    plan: Plan | None = None


def changes(text: str, seed: int = 0) -> list[Change]:
    """Every change there is, in order of the text; `seed` picks which bits of constants flip.

    Raises PtxError where the text is wrong or has no plan.
    """
    module, plan = parse(text), parse_plan(text)
    rng = random.Random(seed)
    found = list(_of_plan(plan, _striding(module)))
    for number, item in enumerate(module.items):
        if isinstance(item, Function) and item.body is not None:
            found += [replace(change, function=number) for change in _of_function(item, rng)]
    return found


def sample(text: str, count: int, seed: int = 0, changed: Sequence[Change] | None = None) -> list[Mutant]:
    """The first `count` of `drawn`; fewer where there are no more."""
    return list(islice(drawn(text, seed, changed), count))


def drawn(text: str, seed: int = 0, changed: Sequence[Change] | None = None) -> Iterator[Mutant]:
    """All mutants, the kinds by turns in an order of the seed's, no two alike.

    None is like the original under `candidate_hash`.
    """
    module, plan = parse(text), parse_plan(text)
    rng = random.Random(seed)
    by_kind: dict[str, list[Change]] = {}
    for change in changed if changed is not None else changes(text, seed):
        by_kind.setdefault(change.kind, []).append(change)
    for group in by_kind.values():
        rng.shuffle(group)
    order = list(by_kind)
    rng.shuffle(order)
    seen = {candidate_hash(text)}
    while by_kind:
        for kind in [k for k in order if k in by_kind]:
            mutant = _next(by_kind[kind], module, plan, seen)
            if mutant is None:
                del by_kind[kind]
            else:
                yield mutant


def _next(group: list[Change], module: Module, plan: Plan, seen: set[str]) -> Mutant | None:
    while group:
        mutant = apply(group.pop(), module, plan)
        if mutant is not None and mutant.hash not in seen:
            seen.add(mutant.hash)
            return mutant
    return None


def apply(change: Change, module: Module, plan: Plan) -> Mutant | None:
    """The mutant of a change; None where it is no PTX any more, as when a bit flip makes a float of a NaN."""
    if change.edit is not None:
        items = list(module.items)
        function = items[change.function]
        assert isinstance(function, Function)
        items[change.function] = _edited(function, change.edit)
        module = replace(module, items=tuple(items))
    text = render(change.plan or plan) + print_module(module)
    try:
        return Mutant(change.kind, change.line, change.what, text, candidate_hash(text))
    except PtxError:
        return None


def _edited(function: Function, edit: Edit) -> Function:
    count = -1

    def rebuilt(body: Sequence[Statement]) -> Iterator[Statement]:
        nonlocal count
        for statement in body:
            if isinstance(statement, Scope):
                yield replace(statement, body=tuple(rebuilt(statement.body)))
                continue
            count += 1
            yield from edit.get(count, (statement,))

    return replace(function, body=tuple(rebuilt(function.body or ())))


# -- the launch plan


def _striding(module: Module) -> frozenset[str]:
    """Entries that ask how many blocks there are: they go round until all is done, whatever the grid."""

    def asks(function: Function) -> bool:
        registers = (reg for each in walk.instructions(function) for reg in walk.registers(each))
        return any(reg.name.startswith("%nctaid") for reg in registers)

    return frozenset(entry.name for entry in module.entries if asks(entry))


def _of_plan(plan: Plan, striding: frozenset[str]) -> Iterator[Change]:
    """Grids that miss the last block, or are a block short every so often."""
    for place, launch in enumerate(plan.launches):
        if launch.entry in striding:
            continue
        for axis, expression in enumerate(launch.grid):
            for what, new in _grids(expression):
                grid = list(launch.grid)
                grid[axis] = new
                launches = list(plan.launches)
                launches[place] = replace(launch, grid=(grid[0], grid[1], grid[2]))
                words = f"grid {expression} became {new}"
                yield Change(what, launch.line, words, plan=replace(plan, launches=tuple(launches)))


def _grids(expression: Expr) -> Iterator[tuple[str, Expr]]:
    if expression.operator == "ceil_div":
        a, b = expression.operands
        if b.operator == "int" and b.value > 1:
            short = Expr("-", operands=(a, Expr("int", b.value - 1)))
            least = Expr("max", operands=(short, Expr("int", 0)))
            yield "tail", replace(expression, operands=(least, b))
        more = Expr("+", operands=(b, Expr("int", 1)))
        yield "launch plan", replace(expression, operands=(a, more))
    if expression.operator == "*":
        yield "launch plan", expression.operands[0]
    for place, operand in enumerate(expression.operands):
        for what, new in _grids(operand):
            operands = list(expression.operands)
            operands[place] = new
            yield what, replace(expression, operands=tuple(operands))


# -- a function


def _of_function(function: Function, rng: random.Random) -> Iterator[Change]:
    body = list(walk.statements(function.body or ()))
    parameters = tuple(p.name for p in function.params)
    for at, statement in enumerate(body):
        if not isinstance(statement, Instruction):
            continue
        line = statement.span.line
        found = [*mutations.changes(statement, rng), *mutations.parameter(statement, parameters)]
        for kind, what, new in found:
            yield Change(kind, line, what, edit={at: (new,)})
        if statement.opcode not in ("bra", "ret", "exit", "bar", "barrier"):
            words = f"{written(statement)} {_first(statement)} dropped".replace("  ", " ")
            yield Change("dropped instruction", line, words, edit={at: ()})
    for rule in (_barriers, _predicates, _bounds, _branches, _loops, _tails):
        yield from rule(body)


def _first(instruction: Instruction) -> str:
    operand = instruction.operands[0] if instruction.operands else None
    return operand.name if isinstance(operand, Reg) else ""


def _is(statement: Statement, *opcodes: str) -> bool:
    return isinstance(statement, Instruction) and statement.opcode in opcodes


def _target(statement: Statement) -> str | None:
    """Where a branch goes."""
    if isinstance(statement, Instruction) and statement.opcode == "bra":
        (operand,) = statement.operands
        return operand.name if isinstance(operand, Sym) else None
    return None


def _labels(body: Sequence[Statement]) -> dict[str, int]:
    return {s.name: at for at, s in enumerate(body) if isinstance(s, Label)}


def _barriers(body: Sequence[Statement]) -> Iterator[Change]:
    """A barrier dropped; a barrier past the next, or the last, access to memory."""
    for at, statement in enumerate(body):
        if not _is(statement, "bar", "barrier"):
            continue
        yield Change("dropped barrier", statement.span.line, "barrier dropped", edit={at: ()})
        for step, words in ((1, "after"), (-1, "before")):
            place = _access(body, at, step)
            if place is not None:
                other = body[place]
                pair = (other, statement) if step > 0 else (statement, other)
                line = other.span.line
                what = f"barrier moved to {words} line {line}, {written(other)}"  # type: ignore[arg-type]
                yield Change("moved barrier", statement.span.line, what, edit={at: (), place: pair})


def _access(body: Sequence[Statement], at: int, step: int) -> int | None:
    """The nearest access to shared memory in straight line from a barrier."""
    place = at + step
    while 0 <= place < len(body):
        statement = body[place]
        if isinstance(statement, Label) or _is(statement, "bra", "ret", "exit", "bar", "barrier"):
            return None
        if _is(statement, "ld", "st", "atom") and "shared" in statement.modifiers:  # type: ignore[union-attr]
            return place
        place += step
    return None


def _predicates(body: Sequence[Statement]) -> Iterator[Change]:
    """A guard the other way round, but for a store by one thread of many: see `_bounds`."""
    electing = _electing(body)
    for at, statement in enumerate(body):
        if not isinstance(statement, Instruction) or statement.guard is None:
            continue
        if statement.opcode == "st" and statement.guard.reg.name in electing:
            continue
        guard = replace(statement.guard, negated=not statement.guard.negated)
        sign = "!" if guard.negated else ""
        what = f"{written(statement)}: guard became @{sign}{guard.reg.name}"
        edit = {at: (replace(statement, guard=guard),)}
        yield Change("predicate", statement.span.line, what, edit=edit)


def _bounds(body: Sequence[Statement]) -> Iterator[Change]:
    """A guarded way out that is never taken; a global access whatever its guard says.

    A guard that one thread of many passes (`setp.eq`) bounds nothing: after a reduction by shuffles the
    others would only store the same once more.
    """
    labels = _labels(body)
    electing = _electing(body)
    for at, statement in enumerate(body):
        if not isinstance(statement, Instruction) or statement.guard is None:
            continue
        if statement.opcode in ("ld", "st") and "global" in statement.modifiers:
            if statement.guard.reg.name not in electing:
                what = f"{written(statement)}: guard removed"
                edit = {at: (replace(statement, guard=None),)}
                yield Change("bounds check", statement.span.line, what, edit=edit)
            continue
        target = _target(statement)
        if statement.opcode in ("ret", "exit") or (target is not None and labels.get(target, -1) > at):
            to = f" {target}" if target else ""
            what = f"{statement.opcode}{to} under {statement.guard.reg.name} removed"
            yield Change("bounds check", statement.span.line, what, edit={at: ()})


def _electing(body: Sequence[Statement]) -> frozenset[str]:
    """Predicates that are only ever the answer to whether two whole numbers are equal."""
    written_by: dict[str, set[str]] = {}
    for statement in body:
        if isinstance(statement, Instruction) and statement.operands:
            target = statement.operands[0]
            if isinstance(target, Reg):
                how = statement.modifiers[0] if statement.opcode == "setp" else statement.opcode
                written_by.setdefault(target.name, set()).add(how)
    return frozenset(name for name, ways in written_by.items() if ways == {"eq"})


def _branches(body: Sequence[Statement]) -> Iterator[Change]:
    """Two branches that go to each other's target; a branch to the next label of all."""
    places = [at for at, s in enumerate(body) if _target(s) is not None]
    for first, second in pairwise(places):
        one, two = body[first], body[second]
        assert isinstance(one, Instruction)
        assert isinstance(two, Instruction)
        if _target(one) == _target(two):
            continue
        what = f"bra {_target(one)} and bra {_target(two)} (line {two.span.line}) swapped"
        swapped = {
            first: (replace(one, operands=two.operands),),
            second: (replace(two, operands=one.operands),),
        }
        yield Change("branch targets", one.span.line, what, edit=swapped)
    names = list(_labels(body))
    for at in places:
        branch, target = body[at], _target(body[at])
        assert isinstance(branch, Instruction)
        if target not in names or len(names) < 2:
            continue
        after = names[(names.index(target) + 1) % len(names)]
        what = f"bra {target} became bra {after}"
        edit = {at: (replace(branch, operands=(Sym(after),)),)}
        yield Change("branch targets", branch.span.line, what, edit=edit)


def _loops(body: Sequence[Statement]) -> Iterator[Change]:
    """A loop that ends one early, takes its step twice, or goes round once."""
    labels = _labels(body)
    types = dict(walk.register_types(body))
    for end, statement in enumerate(body):
        start = labels.get(_target(statement) or "", end)
        if start >= end:
            continue
        assert isinstance(statement, Instruction)
        what = f"loop {_target(statement)} goes round once"
        yield Change("loop", statement.span.line, what, edit={end: ()})
        for at in range(start, end):
            inner = body[at]
            if not isinstance(inner, Instruction) or not inner.operands:
                continue
            if inner.opcode in ("add", "sub") and inner.operands[0] == inner.operands[1]:
                what = f"{written(inner)} {_first(inner)} done twice a round"
                yield Change("loop", inner.span.line, what, edit={at: (inner, inner)})
            if inner.opcode == "setp" and inner.modifiers[0] in ("ge", "lt") and _counts(inner):
                yield from _one_less(inner, at, types)


def _counts(compare: Instruction) -> bool:
    return compare.modifiers[-1][0] in "su" and isinstance(compare.operands[-1], Reg)


def _one_less(compare: Instruction, at: int, types: Mapping[str, Type]) -> Iterator[Change]:
    bound = compare.operands[-1]
    assert isinstance(bound, Reg)
    type_ = types.get(bound.name)
    if type_ is None:
        return
    less = Reg("%one_less_of_it")
    declared = Registers(type_, ((less.name, None),))
    subtract = Instruction("add", (compare.modifiers[-1],), (less, bound, _MINUS_ONE))
    compared = replace(compare, operands=(*compare.operands[:-1], less))
    what = f"{written(compare)}: bound {bound.name} less one"
    yield Change("loop", compare.span.line, what, edit={at: (declared, subtract, compared)})


def _tails(body: Sequence[Statement]) -> Iterator[Change]:
    """One of several stretches of code that store to global memory stores nothing."""
    stretches: list[list[int]] = [[]]
    for at, statement in enumerate(body):
        if isinstance(statement, Label) or _is(statement, "bra", "ret", "exit"):
            stretches.append([])
        elif _is(statement, "st") and "global" in statement.modifiers:  # type: ignore[union-attr]
            stretches[-1].append(at)
    stores = [stretch for stretch in stretches if stretch]
    if len(stores) > 1:
        for stretch in stores:
            line = body[stretch[0]].span.line
            what = f"the stores from line {line} on removed"
            yield Change("tail", line, what, edit=dict.fromkeys(stretch, ()))
