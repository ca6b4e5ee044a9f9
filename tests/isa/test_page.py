"""docs/isa.md is the table's own page."""

from __future__ import annotations

from pathlib import Path

from llmptx.isa.page import CHAPTERS, page
from tests.isa.texts import forms


def test_the_page_in_docs_is_current() -> None:
    written = Path(__file__).parents[2] / "docs" / "isa.md"
    assert written.read_text() == page(), "run: python -m llmptx.isa.page > docs/isa.md"


def test_the_page_shows_every_row_and_chapter_once() -> None:
    lines = page().splitlines()
    assert {form.chapter for form in forms()} == set(CHAPTERS)
    for form in forms():
        modifiers, _, operands = form.pattern.partition(" ")
        assert lines.count(f"{modifiers}  {operands.strip()}".rstrip()) == 1
