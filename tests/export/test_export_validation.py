"""Values that others computed: every row of numpy's and Boost's tables is within the certified error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.validation import error, page, rows

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"


@pytest.fixture(scope="module")
def found():
    return list(rows())


def test_every_row_is_within_the_certified_error(found):
    assert len(found) == 15
    assert sum(row.count for row in found) > 7000
    assert [row for row in found if not row.error <= row.limit] == []


def test_the_page_is_in_step():
    assert PAGE.read_text() == page(), "run: python benchmarks/validation.py > docs/validation.md"


def test_the_error_tells_wrong_kinds_of_number():
    got = np.array([1.0, np.nan, np.inf, 1.0, np.nan], np.float32)
    expected = np.array([np.nextafter(np.float32(1), np.float32(2)), 1, 1, np.inf, np.nan], np.float32)
    assert error(got, expected, "float32").tolist() == [1.0, np.inf, np.inf, np.inf, 0.0]
