"""Text nobody trusts, made fit for a terminal. Knows nothing of what the text says."""

from __future__ import annotations

import unicodedata

# Control characters move the cursor and retitle the window; format characters reorder or hide what is shown.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def plain(text: str) -> str:
    """Every control and format character but the line feed and the tab written as \\xNN or \\uNNNN."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _HIDDEN else _escaped(c) for c in text)


def plain_line(text: str) -> str:
    """As `plain`, on one line."""
    return plain(" ".join(text.split()))


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
