"""The judge. `llmptx.verify(...)` judges a text; the modules here are its parts.

The package is callable because its name is the public function's: importing any part would put the package in
the function's place otherwise.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmptx.record import Verdict


class _Judge(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Verdict:
        from llmptx.verify.judge import verify

        return verify(*args, **kwargs)


sys.modules[__name__].__class__ = _Judge
