"""Control flow, whose meaning is the engine's, and miscellany (PTX ISA 9.7.12, 9.7.19)."""

from __future__ import annotations

from llmptx.isa.emitter import Emitter, Value
from llmptx.isa.form import Modifiers, control, form

_ALIGNMENTS = "|".join(str(1 << i) for i in range(24))

control("bra[.uni]  label", "Continues at the label. .uni promises that the active threads agree.")
control("brx.idx[.uni]  a:u32, label", "Continues at the a-th of the .branchtargets.")
control("call[.uni]  label", "Calls a function.")
control("call[.uni]  label, (a)", "Calls a function with arguments.")
control("call[.uni]  (r), label, (a)", "Calls a function with arguments, for its results.")
control("call[.uni]  (r), label", "Calls a function for its results.")
control("call[.uni]  f:u64, (a), label", "Calls through a pointer, by prototype or list of targets.")
control("call[.uni]  (r), f:u64, (a), label", "Calls through a pointer for its results.")
control("ret[.uni]", "Returns; from an entry, the thread ends.")
control("exit", "The thread ends.")


@form("trap")
def trap(e: Emitter, m: Modifiers) -> None:
    """Aborts the launch."""
    e.trap()


@form("brkpt")
def brkpt(e: Emitter, m: Modifiers) -> None:
    """Suspends for a debugger; there is none, so it continues."""


@form("alloca.type:u32|u64  d, a")
@form(f"alloca.type:u32|u64  d, a, {_ALIGNMENTS}")
def alloca(e: Emitter, m: Modifiers, a: Value, alignment: Value | None = None) -> Value:
    """a bytes of the thread's local memory until the function returns; aligned to 8, or as told."""
    return e.alloca(a, alignment)


@form("stacksave.type:u32|u64  d")
def stacksave(e: Emitter, m: Modifiers) -> Value:
    """The stack pointer."""
    return e.stack_save(m.type)


@form("stackrestore.type:u32|u64  a")
def stackrestore(e: Emitter, m: Modifiers, a: Value) -> None:
    """Frees what alloca gave since the stacksave that gave a."""
    e.stack_restore(a)


@form("nanosleep.u32  a:u32")
def nanosleep(e: Emitter, m: Modifiers, a: Value) -> None:
    """Time has no meaning here: continues at once."""


@form("pmevent  imm:u32")
@form("pmevent.mask  imm:u32")
def pmevent(e: Emitter, m: Modifiers, a: Value) -> None:
    """A performance event: nothing happens."""
