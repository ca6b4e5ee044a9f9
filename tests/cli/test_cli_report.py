"""The report is one safe file that says what happened; its plots stand where floats lie."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmptx.jobs.result import ItemResult, Summary
from llmptx.plot import error_plot, position, sparkline
from llmptx.report import Heading, duration, money, render, write

HEADING = Heading("llmptx rewrite: job 1", "offline", "full", "2026-01-01 00:00 UTC", "2 CPUs, x86_64", 12.0)
HOSTILE = "<script>alert(1)</script> & \x1b[31m \u202e"


def _page(*records, statuses=None):
    items = []
    for record in records:
        status = "rejected" if not record.passed else ("passed" if len(record.attempts) == 1 else "repaired")
        rounds = len(record.attempts)
        items.append(
            ItemResult(
                record.routine, record.dtype, 0, status, "", rounds, rounds, 0.0, 1.0, record.hash, 1.0
            )
        )
    summary = Summary(tuple(items), sum(i.calls for i in items), 0.0, 3.0)
    return render(HEADING, summary, {record.hash: record for record in records})


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br", "line", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_fetches_nothing_and_runs_nothing(make_record):
    parser = _Parser()
    parser.feed(_page(make_record(), make_record(routine="numpy.sum", number=1, outcomes=(False, True))))
    assert not parser.open
    assert not {"script", "link", "img", "iframe", "object"} & set(parser.seen)
    assert not [
        value for name, value in parser.attributes if name in ("src", "href") or name.startswith("on")
    ]


def test_what_a_model_wrote_is_text_only(make_record):
    text = make_record().attempts[0].candidate.text + "// <script>alert(1)</script> &amp;\n"
    page = _page(make_record(text=text))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;amp;" in page


def test_a_failure_text_with_control_characters_is_shown_plain():
    item = ItemResult("numpy.exp", "float32", 0, "failed", HOSTILE, 0, 1, None, 1.0, "", None)
    page = render(HEADING, Summary((item,), 1, None, 1.0), {})
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\\x1b[31m \\u202e" in page


def test_counts_and_findings_stand_in_the_page(make_record):
    page = _page(
        make_record(),
        make_record(routine="numpy.sin", outcomes=(False, True), number=1),
        make_record(routine="numpy.cos", outcomes=(False, False), number=2),
    )
    for status, words in (("passed", "at first"), ("repaired", "after repair"), ("rejected", "rejected")):
        assert re.search(rf'class="tile {status}"><b>1</b><span>[a-z ]*{words}', page)
    assert page.count('<details class="row">') == 3
    assert page.count('<details class="draft">') == 5
    assert '<b>mismatch</b><i style="width: 100.0%"></i><span>3</span>' in page


def test_a_finding_stands_under_its_line(make_record):
    page = _page(make_record(outcomes=(False, True)))
    line = re.search(
        r'<div data-n="9" class="bad">(.*)</div>\s*<div class="finding">\s*<span class="kind">(\w+)', page
    )
    assert line is not None
    assert (line[1].strip(), line[2]) == ("mov.u64 %rd1, 0;", "mismatch")


def test_a_page_is_written_whole(tmp_path, make_record):
    record = make_record()
    summary = Summary((), 0, 0.0, 0.0, pending=2)
    path = write(tmp_path / "report.html", HEADING, summary, {record.hash: record})
    assert "2 items wait" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@given(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)
def test_floats_stand_on_the_line_in_their_order(a, b):
    for dtype in ("float32", "float64"):
        here, there = position(a, dtype), position(b, dtype)
        assert -1 <= here <= 1
        assert (here < there) == (a < b) or math.isclose(here, there, abs_tol=1e-12)
        assert position(-a, dtype) == -here


def test_equal_steps_on_the_line_are_equal_counts_of_floats():
    bits = np.arange(0, 0x7F7FFFFF, 0x00800000, dtype=np.uint32).view(np.float32)
    steps = np.diff([position(float(x), "float32") for x in bits])
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("curve", [[], [(0.0, 0.0)], [(-1.5, 0.4), (1e-40, 3.0), (3e38, 0.1)], [(1.0, 1e9)]])
def test_plots_are_sound_svg_within_their_frame(curve, dtype):
    for limit in (None, 2.0):
        picture = ElementTree.fromstring(error_plot(curve, dtype, limit, "a <title> & more"))
        bars = next(e for e in picture.iter("path") if e.get("class") == "bars")
        heights = [float(v) for v in re.findall(r"V(-?[\d.]+)", bars.get("d"))]
        assert all(0 <= y <= 220 for y in heights)
        assert len(heights) == len(curve)
        assert (len([e for e in picture.iter("line") if e.get("class") == "limit"]) == 1) == bool(limit)
        ElementTree.fromstring(sparkline(curve, dtype, limit))


def test_the_limit_is_drawn_above_errors_within_it():
    picture = ElementTree.fromstring(error_plot([(1.0, 1.9)], "float32", 2.0, "t"))
    limit = next(e for e in picture.iter("line") if e.get("class") == "limit")
    top = float(re.search(r"V([\d.]+)", next(e for e in picture.iter("path")).get("d"))[1])
    assert float(limit.get("y1")) < top


def test_durations_and_money_are_said_as_people_say_them():
    assert [duration(s) for s in (0.04, 9.96, 75, 150, 7300)] == [
        "0.0 s",
        "10.0 s",
        "75 s",
        "2 min 30 s",
        "2 h 1 min",
    ]
    assert [money(c) for c in (None, 0, 0.0123, 1234.5)] == ["not known", "$0.00", "$0.0123", "$1,234.50"]
