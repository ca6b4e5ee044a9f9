"""PTX text to syntax tree and back. Knows no instruction, no routine and no launch but a header's plan."""

from llmptx.ptx.errors import PtxError
from llmptx.ptx.parser import parse
from llmptx.ptx.printer import print_module

__all__ = ["PtxError", "parse", "print_module"]
