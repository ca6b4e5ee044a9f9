"""Hypothesis strategies for syntax trees that a PTX text can have."""

from __future__ import annotations

from hypothesis import strategies as st

from llmptx.ptx import ast
from llmptx.ptx.types import Type

names = st.from_regex(r"[a-zA-Z_$][a-zA-Z0-9_$]{1,8}", fullmatch=True).filter(lambda name: name != "WARP_SZ")
# declared below in every function that may use them
registers = st.sampled_from(["%r0", "%r1", "%f3", "%p0", "%tid.x", "%laneid", "%v0.x", "%v0.w", "plain"])
types = st.sampled_from(["b8", "u16", "s32", "b64", "f16", "bf16", "f16x2", "f32", "f64", "b128"]).map(
    Type.parse
)
signed = st.integers(-(2**63), 2**63 - 1)
offsets = st.one_of(st.just(0), st.integers(-64, 64), signed)

regs = registers.map(ast.Reg)
ints = st.one_of(
    signed.map(ast.Int),
    st.integers(0, 2**63 - 1).map(lambda value: ast.Int(value, True)),
    st.integers(2**63, 2**64 - 1).map(lambda value: ast.Int(value, True)),
)
floats = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda bits: ast.Float(bits, 32)),
    st.integers(0, 2**64 - 1).map(lambda bits: ast.Float(bits, 64)),
)
symbols = st.builds(ast.Sym, names.map("s_".__add__), offsets)
sinks = st.just(ast.Sink())
simple = st.one_of(regs, ints, floats, symbols)
vectors = st.lists(st.one_of(simple, sinks), min_size=1, max_size=4).map(lambda each: ast.Vec(tuple(each)))
addresses = st.one_of(
    st.builds(ast.Addr, regs, offsets),
    st.builds(ast.Addr, names.map("s_".__add__).map(ast.Sym), offsets),
    st.builds(ast.Addr, st.none(), signed),
)
sides = st.one_of(regs, sinks)
operands = st.one_of(
    simple, sinks, vectors, addresses, st.builds(ast.Not, regs), st.builds(ast.Pair, sides, sides)
)
modifiers = st.sampled_from(
    ["f32", "rn", "global", "L2::128B", "shared::cta", "1d", "v4", "m16n8k16", "to", "b64"]
)
opcodes = st.sampled_from(["add", "ld", "st", "mov", "setp", "cvta", "bar", "ret", "mad24"])
guards = st.none() | st.builds(ast.Guard, regs, st.booleans())
instructions = st.builds(
    ast.Instruction,
    opcodes,
    st.lists(modifiers, max_size=4).map(tuple),
    st.lists(operands, max_size=4).map(tuple),
    guards,
)
calls = st.builds(
    ast.Instruction,
    st.just("call"),
    st.sampled_from([(), ("uni",)]),
    st.tuples(
        st.lists(st.one_of(regs, sinks), max_size=2).map(lambda each: ast.Group(tuple(each))),
        symbols.map(lambda symbol: ast.Sym(symbol.name)),
        st.lists(simple, max_size=3).map(lambda each: ast.Group(tuple(each))),
    ),
    guards,
)
declared = st.builds(
    ast.Registers,
    types,
    st.lists(st.tuples(names.map("%d_".__add__), st.none() | st.integers(0, 99)), min_size=1, max_size=3).map(
        tuple
    ),
    st.sampled_from([1, 2, 4]),
)
directives = st.sampled_from(
    [
        ast.Directive("loc", "1 5 3"),
        ast.Directive("loc", "1 5 3, function_name $f+4, inlined_at 1 2 3"),
        ast.Directive("pragma", '"nounroll"'),
    ]
)


@st.composite
def variables(draw: st.DrawFn, space: str, linkage: bool = False) -> ast.Variable:
    """A variable, with an initialiser of any length the printer must lay out by rows."""
    shape = draw(st.lists(st.integers(1, 3), max_size=3).map(tuple))
    vec = draw(st.sampled_from([1, 1, 2, 4]))
    full = (*shape, vec) if vec > 1 else shape
    init = None
    if space in ("global", "const") and draw(st.booleans()):
        most = 1
        for extent in full:
            most *= extent
        least = 0 if full else 1
        elements = st.one_of(ints, floats, st.builds(ast.Sym, names, offsets, st.booleans()))
        init = tuple(draw(st.lists(elements, min_size=least, max_size=most)))
    return ast.Variable(
        space,  # type: ignore[arg-type]
        draw(types),
        draw(names.map("s_".__add__)),
        shape,
        draw(st.sampled_from([None, 1, 4, 16, 128])),
        vec,
        init,
        draw(st.sampled_from(["", "visible", "extern", "weak", "common"])) if linkage else "",
    )


@st.composite
def parameters(draw: st.DrawFn, kind: str, name: str | None = None) -> ast.Variable:
    """A parameter of an entry, a function or a prototype."""
    pointer = st.tuples(
        st.sampled_from(["", "global", "shared", "local", "const"]), st.sampled_from([1, 4, 16])
    )
    return ast.Variable(
        "reg" if kind == "func" and draw(st.booleans()) else "param",
        draw(types),
        name or draw(names.map("p_".__add__)),
        draw(st.sampled_from([(), (16,), (0,)])),
        draw(st.sampled_from([None, 8])),
        pointer=draw(st.none() | pointer) if kind == "entry" else None,
    )


def _prototypes() -> st.SearchStrategy[ast.Prototype]:
    unnamed = st.lists(parameters("proto", "_"), max_size=2).map(tuple)
    some = st.lists(parameters("proto", "_"), min_size=1, max_size=1).map(tuple)
    return st.builds(ast.Prototype, names, st.just(()) | some, unnamed)


leaves = st.one_of(
    instructions,
    instructions,
    calls,
    declared,
    directives,
    names.map(ast.Label),
    variables("shared"),
    variables("local"),
    variables("param"),
    st.builds(ast.Targets, names, st.lists(names, min_size=1, max_size=3).map(tuple), st.booleans()),
    _prototypes(),
)
statements = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3).map(lambda body: ast.Scope(tuple(body))), max_leaves=4
)
_OWN = (
    ast.Registers(Type.parse("f32"), (("plain", None), ("%f", 8))),
    ast.Registers(Type.parse("f32"), (("%v", 2),), 4),
)


@st.composite
def functions(draw: st.DrawFn) -> ast.Function:
    """An entry or a function, declared or defined."""
    kind = draw(st.sampled_from(["entry", "func"]))
    body = None
    if draw(st.integers(0, 4)):
        body = (*_OWN, *draw(st.lists(statements, max_size=6)))
    return ast.Function(
        kind,  # type: ignore[arg-type]
        draw(names),
        tuple(draw(st.lists(parameters(kind), max_size=3))),
        tuple(draw(st.lists(parameters(kind), max_size=1))) if kind == "func" else (),
        body,
        draw(
            st.sampled_from(
                [
                    (),
                    (ast.Directive("maxntid", "128, 1, 1"), ast.Directive("noreturn", "")),
                    (ast.Directive("pragma", '"x"'),),
                ]
            )
        ),
        draw(st.sampled_from(["", "visible", "extern", "weak"])),
    )


items = st.one_of(
    functions(),
    functions(),
    variables("global", linkage=True),
    variables("const", linkage=True),
    st.sampled_from(
        [
            ast.Directive("file", '1 "/a b/k.cu"'),
            ast.Directive("section", ".debug_str { .b8 1, 2 // x\n}"),
            ast.Directive("alias", "a, b"),
        ]
    ),
)
modules = st.builds(
    ast.Module,
    st.tuples(st.integers(1, 12), st.integers(0, 10)),
    st.sampled_from([("sm_80",), ("sm_90a", "debug")]),
    st.sampled_from([32, 64]),
    st.lists(items, max_size=4).map(tuple),
)
