"""The order of the queue and the reasons it gives."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from llmptx.record import Review
from llmptx.review.plain import plain, plain_line
from llmptx.review.queue import queue


def _reasons(entry):
    return " | ".join(risk.reason for risk in entry.risks)


def test_kernels_that_needed_more_repair_come_first(make_record):
    easy = make_record(routine="numpy.sin")
    hard = make_record(routine="numpy.cos", outcomes=(False, False, True))
    entries = queue([easy, hard], [])
    assert [e.candidate.routine for e in entries] == ["numpy.cos", "numpy.sin"]
    assert "round 3" in _reasons(entries[0])


def test_a_kernel_near_its_tolerance_says_so(make_record):
    near, far = make_record(max_ulp=2.4), make_record(max_ulp=0.6, number=1)
    first, second = queue([near, far], [])
    assert "2.4 ULP of the 2.5 allowed" in _reasons(first)
    assert "ULP" not in _reasons(second)


def test_spills_are_a_risk(make_record):
    record = make_record()
    attempt = record.attempts[0]
    resources = (dataclasses.replace(attempt.verdict.resources[0], spill_stores=16, spill_loads=8),)
    verdict = dataclasses.replace(attempt.verdict, resources=resources)
    record = dataclasses.replace(record, attempts=(dataclasses.replace(attempt, verdict=verdict),))
    assert "spills 24 bytes on sm_80" in _reasons(queue([record], [])[0])


def test_the_first_kernel_of_a_routine_is_a_risk_until_one_is_approved(make_record):
    record, other = make_record(), make_record(number=1)
    review = Review(other.attempts[0].candidate.hash, "numpy.exp", "float32", "approve", "ada", "", "now")
    assert "approved yet" in _reasons(queue([record], [])[0])
    assert "no kernel of" not in _reasons(queue([record], [review])[0])


def test_the_last_decision_counts(make_record):
    hash = make_record().attempts[0].candidate.hash
    reviews = [
        Review(hash, "numpy.exp", "float32", d, "ada", "why", "now") for d in ("approve", "reject", "approve")
    ]
    assert queue([make_record()], reviews)[0].state == "approved"
    assert queue([make_record()], reviews[:2])[0].state == "rejected"


@given(st.text())
def test_plain_text_has_no_control_character_left(text):
    assert not any((ord(c) < 0x20 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in plain(text))
    assert "\n" not in plain_line(text)


def test_escapes_and_bidirectional_overrides_are_shown_not_obeyed():
    assert plain("a\x1b[2Jb\u202ec\u200bd\x9b1m") == "a\\x1b[2Jb\\u202ec\\u200bd\\x9b1m"
    assert plain("mov.u64 %rd1, 0;\t// é\n") == "mov.u64 %rd1, 0;\t// é\n"
