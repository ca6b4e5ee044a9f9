"""PTX on the CPU: compile an entry, place its memory, launch it.

kernel = compile_entry(parse(text), "saxpy", (256, 1, 1))
with Session([(kernel, 0)], [Place("x", nbytes)]) as session:
    findings = session.launch(0, (blocks, 1, 1), [session.buffers["x"].start, n])
"""

from llmptx.engine.compile import Approx, Compiled, Prepared, compile_entry, prepare
from llmptx.engine.launch import Place, Session

__all__ = ["Approx", "Compiled", "Place", "Prepared", "Session", "compile_entry", "prepare"]
