"""Which prompt to send next, and when to stop. The public face: `attempt`, and the `Note`s it yields."""

from llmptx.search.loop import Complete, Judge, Note, attempt

__all__ = ["Complete", "Judge", "Note", "attempt"]
