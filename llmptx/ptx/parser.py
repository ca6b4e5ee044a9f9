"""PTX text to a syntax tree: modules, functions and statements (PTX ISA 4 and 11).

Knows no instruction: an opcode and its modifiers are words, and whether they go together is not asked here.
Only `call` is told apart, since its operands alone may be groups.
"""

from __future__ import annotations

from llmptx.ptx.ast import (
    Directive,
    Function,
    Guard,
    Instruction,
    Label,
    Module,
    Operand,
    Prototype,
    Scope,
    Statement,
    Targets,
    Variable,
)
from llmptx.ptx.declarations import (
    VARIABLE_SPACES,
    directive,
    name_here,
    number_here,
    parameters,
    registers,
    variables,
)
from llmptx.ptx.lexer import Cursor, Source
from llmptx.ptx.operands import Names, operand, register

_LINKAGE = (".extern", ".visible", ".weak", ".common")
_DEPTH = 64


def parse(text: str, file: str = "<ptx>") -> Module:
    """The tree of a PTX text. Raises PtxError, with its line and column, at the first thing that is wrong."""
    return _Parser(Source(text, file)).module()


class _Parser:
    def __init__(self, source: Source) -> None:
        self.cursor = Cursor(source)
        tokens = self.cursor.tokens
        colons = (i for i, token in enumerate(tokens) if token.text == ":" and i)
        self.names = Names(frozenset(tokens[i - 1].text for i in colons))
        self.depth = 0

    def module(self) -> Module:
        cursor = self.cursor
        start = cursor.token.start
        version = self.version()
        target = self.target()
        address_size = self.address_size()
        items: list[Variable | Function | Directive] = []
        while cursor.kind != "end":
            items.extend(self.item())
        return Module(version, target, address_size, tuple(items), cursor.span(start))

    def version(self) -> tuple[int, int]:
        cursor = self.cursor
        if not cursor.accept(".version"):
            raise cursor.error(
                f"a PTX module starts with .version, such as .version 8.0; found {cursor.found()}"
            )
        token = cursor.expect_kind("float", "a version such as 8.0")
        major, _, minor = token.text.partition(".")
        if not (major.isdigit() and minor.isdigit() and len(token.text) < 10):
            raise cursor.error(f"a version is two numbers such as 8.0, not {token.text!r}", token)
        return int(major), int(minor)

    def target(self) -> tuple[str, ...]:
        cursor = self.cursor
        if not cursor.accept(".target"):
            raise cursor.error(
                f"expected .target after .version, such as .target sm_80; found {cursor.found()}"
            )
        found = [name_here(cursor, "the target")]
        while cursor.accept(","):
            found.append(name_here(cursor, "the target"))
        return tuple(found)

    def address_size(self) -> int:
        cursor = self.cursor
        if not cursor.accept(".address_size"):
            return 64
        token = cursor.token
        size = number_here(cursor, "the address size")
        if size not in (32, 64):
            raise cursor.error(f"the address size is 32 or 64, not {size}", token)
        return size

    def item(self) -> list[Variable | Function | Directive]:
        cursor = self.cursor
        start = cursor.token.start
        linkage = cursor.take().text[1:] if cursor.text in _LINKAGE else ""
        if cursor.text in (".entry", ".func"):
            return [self.function(linkage, start)]
        if cursor.text in VARIABLE_SPACES:
            return [*variables(cursor, self.names, linkage, start)]
        if linkage:
            raise cursor.error(f"expected a function or a variable after .{linkage}, found {cursor.found()}")
        if cursor.text == ".reg":
            raise cursor.error("registers are declared inside a function")
        if cursor.text in (".version", ".target", ".address_size"):
            raise cursor.error(f"{cursor.text} stands once, at the start: .version, .target, .address_size")
        if cursor.kind == "dot":
            return [directive(cursor)]
        raise cursor.error(f"expected a function or a variable, found {cursor.found()}")

    def function(self, linkage: str, start: int) -> Function:
        cursor, names = self.cursor, self.names
        kind = cursor.take().text
        if cursor.text == ".attribute":
            raise cursor.error("functions with an .attribute are not supported")
        names.enter()
        results = parameters(cursor, names, "results") if kind == ".func" and cursor.text == "(" else ()
        name = name_here(cursor, "the function")
        params = parameters(cursor, names, f"parameters of {name!r}") if cursor.text == "(" else ()
        directives: list[Directive] = []
        while cursor.kind == "dot":
            directives.append(directive(cursor))
        body: tuple[Statement, ...] | None = None
        if not cursor.accept(";"):
            if cursor.text != "{":
                raise cursor.error(
                    f"expected '{{' before the body of {name!r}, or ';', found {cursor.found()}"
                )
            body = self.body()
        names.leave()
        names.declare(name, False)
        span = cursor.span(start)
        if kind == ".entry":
            return Function("entry", name, params, (), body, tuple(directives), linkage, span)
        return Function("func", name, params, results, body, tuple(directives), linkage, span)

    def body(self) -> tuple[Statement, ...]:
        cursor = self.cursor
        opening = cursor.take()
        self.depth += 1
        if self.depth > _DEPTH:
            raise cursor.error(f"scopes are nested more than {_DEPTH} deep", opening)
        self.names.enter()
        statements: list[Statement] = []
        while cursor.text != "}":
            if cursor.kind == "end":
                raise cursor.error("this '{' is never closed", opening)
            statements.extend(self.statement())
        cursor.take()
        self.names.leave()
        self.depth -= 1
        return tuple(statements)

    def statement(self) -> list[Statement]:
        cursor = self.cursor
        token = cursor.token
        if token.kind == "word":
            return [self.label() if cursor.after() == ":" else self.instruction(None, token.start)]
        if token.text == "@":
            return [self.guarded()]
        if token.kind == "dot":
            return self.declaration()
        if token.text == "{":
            body = self.body()
            return [Scope(body, cursor.span(token.start))]
        if token.text == ";":
            raise cursor.error("a statement is missing before this ';'")
        raise cursor.error(f"expected an instruction, a label or a declaration, found {cursor.found()}")

    def declaration(self) -> list[Statement]:
        cursor = self.cursor
        if cursor.text == ".reg":
            return [registers(cursor, self.names)]
        if cursor.text in VARIABLE_SPACES:
            return [*variables(cursor, self.names, "", cursor.token.start)]
        if cursor.text in _LINKAGE:
            raise cursor.error(
                f"{cursor.text} stands before a function or a variable of the module, not in a body"
            )
        if cursor.text in (".entry", ".func"):
            raise cursor.error("a function cannot stand inside another: is a '}' missing before it?")
        return [directive(cursor)]

    def label(self) -> Label | Targets | Prototype:
        cursor = self.cursor
        token = cursor.take()
        cursor.take()
        if cursor.text in (".branchtargets", ".calltargets"):
            return self.targets(token.text, token.start)
        if cursor.text == ".callprototype":
            return self.prototype(token.text, token.start)
        return Label(token.text, cursor.span(token.start))

    def targets(self, name: str, start: int) -> Targets:
        cursor = self.cursor
        functions = cursor.take().text == ".calltargets"
        what = "a function" if functions else "a label"
        labels = [name_here(cursor, what)]
        while cursor.accept(","):
            labels.append(name_here(cursor, what))
        cursor.expect(";", f"or ',' after {what}")
        return Targets(name, tuple(labels), functions, cursor.span(start))

    def prototype(self, name: str, start: int) -> Prototype:
        cursor = self.cursor
        cursor.take()
        results = parameters(cursor, None, "results of the prototype") if cursor.text == "(" else ()
        cursor.expect("_", "in place of the function's name")
        params = parameters(cursor, None, "parameters of the prototype") if cursor.text == "(" else ()
        cursor.expect(";", "after the prototype")
        return Prototype(name, results, params, cursor.span(start))

    def guarded(self) -> Instruction:
        cursor = self.cursor
        start = cursor.take().start
        negated = cursor.accept("!")
        guard = Guard(register(cursor, self.names, "after '@'"), negated, cursor.span(start))
        if cursor.kind != "word" or cursor.after() == ":":
            raise cursor.error(f"expected an instruction after the guard, found {cursor.found()}")
        return self.instruction(guard, start)

    def instruction(self, guard: Guard | None, start: int) -> Instruction:
        cursor, names = self.cursor, self.names
        opcode = cursor.take()
        if opcode.text[0] in "%$_":
            raise cursor.error(f"expected an instruction, found {opcode.text!r}", opcode)
        modifiers: list[str] = []
        while cursor.kind == "dot":
            modifiers.append(cursor.take().text[1:])
        operands: list[Operand] = []
        if not cursor.accept(";"):
            groups = opcode.text == "call"
            operands.append(operand(cursor, names, groups))
            while cursor.accept(","):
                operands.append(operand(cursor, names, groups))
            cursor.expect(";", "or ',' after an operand")
        return Instruction(opcode.text, tuple(modifiers), tuple(operands), guard, cursor.span(start))
