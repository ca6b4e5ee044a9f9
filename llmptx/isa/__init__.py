"""The instruction table: one row an instruction form, one file a chapter of the manual (PTX ISA 9.7)."""

from llmptx.isa import (  # noqa: F401
    asynchronous,
    compare,
    control,
    convert,
    data,
    extended,
    floating,
    half,
    integer,
    logic,
    matrix,
    narrow,
    parallel,
    video,
)
from llmptx.isa.form import match, table

__all__ = ["match", "table"]
