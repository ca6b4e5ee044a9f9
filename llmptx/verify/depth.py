"""How many roundings lie between a sum's terms and the sum: a kernel run on counts instead of numbers.

Where each term reaches the sum by one way, through roundings that weigh d in all, the error is at most
gamma_d sum|x| (Higham, Accuracy and Stability of Numerical Algorithms, 4.2), whatever the data. A rounding to
nearest weighs 1, any other 2: it errs by 2u at most. Those in float64 on the way to a float32 weigh 2^-29 and
together less than 1. Only for kernels that add, multiply and convert; says nothing of overflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from llmptx.ptx.ast import (
    Float,
    Function,
    Guard,
    Instruction,
    Int,
    Module,
    Operand,
    Reg,
    Registers,
    Statement,
    Vec,
)
from llmptx.ptx.plan import Plan, render
from llmptx.ptx.printer import print_module
from llmptx.ptx.types import Type
from llmptx.record import Routine, Signature
from llmptx.routines.truth import Array, Floats
from llmptx.run.job import Job, Outcome
from llmptx.verify.inputs import Case
from llmptx.verify.plan_run import job, outputs, sizes
from llmptx.verify.terms import types_of
from llmptx.verify.tolerance import depth

Count = Literal["roundings", "ways"]
Run = Callable[[Job, float], Outcome]
SECONDS = 20.0
LENGTHS = (1, 2, 31, 33, 255, 257, 1023, 1025, 4095, 4097, 70001, 1 << 20)
_ROUNDINGS = ("rn", "rz", "rm", "rp")
# A choice is of whole numbers here: what compares floats is not counted.
_MOVES = ("mov", "ld", "st", "shfl", "neg", "abs", "selp")


class Uncountable(ValueError):  # noqa: N818 (it says that the kernel is no plain sum, which is no error)
    """The kernel does something with floats besides adding, multiplying and converting."""


def only_rounds_otherwise(one: Module, other: Module) -> bool:
    """Whether two modules are the same but for rounding modes."""
    return _unrounded(one) == _unrounded(other)


def within(
    module: Module,
    plan: Plan,
    routine: Routine,
    signature: Signature,
    run: Run,
    lengths: Sequence[int] = LENGTHS,
) -> float | None:
    """The greatest share of the allowed depth that any output takes, over rows of these lengths.

    None where it takes more, a term comes by several ways or by none, the kernel can't be counted, or the
    rule is none for sums.
    """
    dtype, rule = signature.outputs[0], routine.tolerance[signature.dtype].rule
    if rule not in ("reduction", "scan") or not dtype.startswith("float"):
        return None
    try:
        roundings, ways = (counting(module, plan, dtype, count) for count in ("roundings", "ways"))
    except Uncountable:
        return None
    most = 0.0
    for n in lengths:
        terms = np.arange(1, n + 1, dtype=np.float64) if rule == "scan" else np.array([float(n)])
        found = [
            _run(text, plan, routine, signature, run, n, ones)
            for text, ones in ((roundings, False), (ways, True))
        ]
        if found[0] is None or found[1] is None:
            return None
        passed, arrived = (each.reshape(-1, terms.size) for each in found if each is not None)
        share = float(((passed + 1) / depth(terms)).max())
        if share > 1 or not (arrived == terms).all():
            return None
        most = max(most, share)
    return most


def _run(
    text: str, plan: Plan, routine: Routine, signature: Signature, run: Run, n: int, ones: bool
) -> Floats | None:
    """The counts of every output, for terms whose own count is one, or nought."""
    case = _row(routine, signature, n, ones)
    outcome = run(job(text, plan, routine, signature, case), SECONDS)
    if outcome.status != "ok":
        return None
    raw = outcome.buffers[outputs(signature)[0]]
    return np.asarray(raw.view(f"uint{8 * raw.dtype.itemsize}").astype(np.float64))


def _row(routine: Routine, signature: Signature, n: int, ones: bool) -> Case:
    whole = {"outer": 2 if n < 10_000 else 1, "n": n, "inner": 1}
    extents = {name: whole[name] for name in routine.extents}
    inputs: list[Array] = []
    for dtype, size in zip(signature.inputs, sizes(routine, extents), strict=False):
        inputs.append(np.full(size, ones, f"uint{8 * np.dtype(dtype).itemsize}").view(dtype))
    return Case(f"counts, n={n}", extents, tuple(inputs))


def counting(module: Module, plan: Plan, dtype: str, count: Count) -> str:
    """The kernel with a count for every float. Raises Uncountable."""
    items = []
    for item in module.items:
        if isinstance(item, Function) and item.body is not None:
            body: list[Statement] = [
                Registers(Type.parse("b32"), (("%count32", None), ("%spare32", None))),
                Registers(Type.parse("b64"), (("%count64", None), ("%spare64", None))),
            ]
            for statement in item.body:
                body += _counted(statement, dtype, count)
            item = replace(item, body=tuple(body))
        items.append(item)
    return render(plan) + print_module(replace(module, items=tuple(items)))


def _counted(statement: Statement, dtype: str, count: Count) -> Iterator[Statement]:
    if isinstance(statement, Registers):
        yield replace(statement, type=_plain(statement.type))
        return
    if not isinstance(statement, Instruction) or not any(t.is_float for t in types_of(statement)):
        yield statement
        return
    if any(t.is_float and (t.lanes > 1 or t.bits not in (32, 64)) for t in types_of(statement)):
        raise Uncountable(statement.opcode)
    if statement.opcode in _MOVES:
        yield _moved(statement)
    elif statement.opcode == "cvt":
        yield from _converted(statement, dtype, count)
    elif statement.opcode in ("add", "sub", "mul", "fma", "div"):
        yield from _arithmetic(statement, dtype, count)
    else:
        raise Uncountable(statement.opcode)


def _plain(type_: Type) -> Type:
    return Type("b", type_.bits, type_.lanes) if type_.is_float else type_


def _moved(instruction: Instruction) -> Instruction:
    opcode = "mov" if instruction.opcode in ("neg", "abs") else instruction.opcode
    modifiers = tuple(f"b{m[1:]}" if m in ("f32", "f64") else m for m in instruction.modifiers if m != "ftz")
    operands = tuple(_constant(o, 0) for o in instruction.operands)
    return replace(instruction, opcode=opcode, modifiers=modifiers, operands=operands)


def _constant(operand: Operand, value: int) -> Operand:
    if isinstance(operand, Vec):
        return Vec(tuple(_constant(e, value) for e in operand.elements))
    return Int(value) if isinstance(operand, Float) else operand


def _weight(instruction: Instruction, type_: Type, dtype: str, count: Count) -> int:
    if count == "ways" or f"float{type_.bits}" != dtype:
        return 0
    found = [m for m in instruction.modifiers if m in _ROUNDINGS]
    if {"approx", "full", "sat", "ftz"} & set(instruction.modifiers):
        raise Uncountable(".".join(instruction.modifiers))
    return 2 if found and found[0] != "rn" else 1


def _converted(instruction: Instruction, dtype: str, count: Count) -> Iterator[Instruction]:
    to, of = types_of(instruction)
    target, source = instruction.operands
    guard = instruction.guard
    if not to.is_float:
        raise Uncountable("a float becomes a whole number")
    if not of.is_float:  # how many terms there are: exact, and no term itself
        yield Instruction("mov", (f"b{to.bits}",), (target, Int(1 if count == "ways" else 0)), guard)
        return
    if to.bits == of.bits:
        raise Uncountable("a float is rounded to a whole one")
    yield Instruction("cvt", (f"u{to.bits}", f"u{of.bits}"), (target, source), guard)
    if to.bits < of.bits:
        yield from _plus(target, _weight(instruction, to, dtype, count), to.bits, guard)


def _plus(target: Operand, weight: int, bits: int, guard: Guard | None) -> Iterator[Instruction]:
    if weight:
        yield Instruction("add", (f"u{bits}",), (target, target, Int(weight)), guard)


def _arithmetic(instruction: Instruction, dtype: str, count: Count) -> Iterator[Instruction]:
    """A sum has its terms' ways, and the greater count of roundings; a product the counts of both."""
    type_ = types_of(instruction)[-1]
    target, *sources = instruction.operands
    bits, guard = type_.bits, instruction.guard
    unsigned = f"u{bits}"
    made = Reg(f"%count{bits}")

    def emit(opcode: str, a: Operand, b: Operand) -> Instruction:
        modifiers = ("lo", unsigned) if opcode == "mul" else (unsigned,)
        return Instruction(opcode, modifiers, (made, a, b), guard)

    join = "add" if count == "ways" else "max"
    if instruction.opcode in ("add", "sub"):
        a, b = (_constant(o, 0) for o in sources)
        yield emit(join, a, b)
    else:
        a, b = (_constant(o, 1 if count == "ways" else 0) for o in sources[:2])
        yield emit("mul" if count == "ways" else "add", a, b)
        if len(sources) == 3:
            yield emit(join, made, _constant(sources[2], 0))
    yield from _plus(made, _weight(instruction, type_, dtype, count), bits, guard)
    yield Instruction("mov", (f"b{bits}",), (target, made), guard)


def _unrounded(module: Module) -> Module:
    def plain(statement: Statement) -> Statement:
        if not isinstance(statement, Instruction):
            return statement
        return replace(statement, modifiers=tuple(m for m in statement.modifiers if m not in _ROUNDINGS))

    items = tuple(
        replace(item, body=tuple(plain(s) for s in item.body or ())) if isinstance(item, Function) else item
        for item in module.items
    )
    return replace(module, items=items)
