"""The review page over HTTP: who gets in, what a decision does, and text from models that stays text."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from starlette.testclient import TestClient

from llmptx.jobs import JobSpec, Store
from llmptx.ptx.normalize import candidate_hash
from llmptx.review import Desk
from llmptx.review.web.access import COOKIE, LARGEST_FORM, Person, Rates, add_token
from llmptx.review.web.app import address, build
from llmptx.review.web.difference import difference
from llmptx.review.web.highlight import help_of, highlighted
from tests.export.approving import LIBRARY

HOME = "http://127.0.0.1:8765"
SCRIPT = "<script>alert('x')</script>"
NASTY = f'// {SCRIPT} " onmouseover="alert(1)" \x1b[31mred \u202eevil {{{{7*7}}}} &lt;b&gt;\n'


@pytest.fixture
def site(tmp_path, make_record):
    """(desk, client as `ada`) of a workspace with three kernels of exp and one of add."""
    desk = Desk(tmp_path)
    for record in [*(make_record(number=n) for n in range(3)), make_record(routine="numpy.add", number=9)]:
        desk.corpus.append(record)
    gate, pages = build(tmp_path, started=("secret", Person("ada", "reviewer")))
    yield desk, client_of(gate)
    pages.close()


def client_of(gate, token="secret") -> TestClient:
    client = TestClient(gate, base_url=HOME, headers={"origin": HOME}, follow_redirects=False)
    answer = client.post("/login", data={"token": token})
    assert answer.status_code == 303
    return client


def _paths(client) -> list[str]:
    return list(dict.fromkeys(re.findall(r'href="(/kernel/[^"]+)"', client.get("/?tab=all").text)))


def _decide(client, path, decision, **data):
    seen = re.search(r'name="seen" value="(\d+)"', client.get(path).text)[1]
    return client.post(f"{path}/decide", data={"decision": decision, "seen": seen, **data})


# -- the gate


def test_without_a_session_every_page_leads_to_the_login(site):
    _, client = site
    client.cookies.clear()
    for path in ("/", "/jobs", "/audit.jsonl", "/help", "/kernel/numpy.exp/float32/00"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path
    assert client.post("/reject", data={"chosen": "x"}).status_code == 303
    assert "Your token" in client.get("/login").text


def test_a_wrong_token_lets_nobody_in_and_may_not_be_tried_without_end(site):
    _, client = site
    client.cookies.clear()
    codes = [client.post("/login", data={"token": f"guess{n}"}) for n in range(12)]
    assert codes[0].headers["location"] == "/login?wrong=1"
    assert COOKIE not in client.cookies
    assert codes[-1].status_code == 429
    assert client.post("/login", data={"token": "secret"}).status_code == 429


def test_the_session_is_a_cookie_that_scripts_and_other_sites_cannot_use(site):
    _, client = site
    answer = client.get("/login?token=secret")
    told = answer.headers["set-cookie"].lower()
    assert "httponly" in told
    assert "samesite=strict" in told


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://127.0.0.1:9999"])
def test_a_write_from_another_sites_page_is_refused(site, origin):
    desk, client = site
    path = _paths(client)[0]
    headers = {} if origin is None else {"origin": origin}
    bare = TestClient(
        client.app, base_url=HOME, headers=headers, cookies=dict(client.cookies), follow_redirects=False
    )
    for where in (f"{path}/decide", f"{path}/undo", f"{path}/comment", "/reject", "/filters", "/logout"):
        answer = bare.post(where, data={"decision": "approve", "seen": "0"})
        assert answer.status_code == 403, where
    assert desk.reviews() == ((), ())


def test_a_name_that_is_not_this_sites_is_refused(site):
    _, client = site
    assert client.get("/", headers={"host": "evil.example:8765"}).status_code == 400


def test_every_answer_forbids_what_is_not_the_sites_own(site):
    _, client = site
    for path in ("/", _paths(client)[0], "/login", "/static/keys.js", "/nowhere"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_fetch_nothing_from_elsewhere_and_hold_no_inline_code(site):
    _, client = site
    for path in ("/", _paths(client)[0], "/help", "/jobs", "/login"):
        text = client.get(path).text
        assert not re.findall(r'(?:src|href|action)="(?!/|#)', text)
        assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=", text)


def test_people_of_a_team_have_tokens_of_their_own(site, tmp_path):
    _, client = site
    tokens = tmp_path / ".llmptx" / "tokens.json"
    viewer, first = add_token(tokens, "vi", "viewer"), add_token(tokens, "bob", "reviewer")
    second = add_token(tokens, "bob", "reviewer")
    assert viewer not in tokens.read_text()
    assert tokens.stat().st_mode & 0o077 == 0
    assert client.post("/login", data={"token": first}).headers["location"] == "/login?wrong=1"
    looking = client_of(client.app, viewer)
    path = _paths(looking)[0]
    assert "Approve" not in looking.get(path).text
    assert looking.post(f"{path}/decide", data={"decision": "approve", "seen": "0"}).status_code == 403
    assert _decide(client_of(client.app, second), path, "approve").status_code == 303


def test_a_form_that_is_too_large_is_refused(site):
    _, client = site
    answer = client.post(f"{_paths(client)[0]}/comment", data={"line": "1", "text": "x" * (LARGEST_FORM + 1)})
    assert answer.status_code == 413


def test_rates_forget_what_is_long_ago():
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert [rates.allow("a", "x", (2, 10.0)) for _ in range(3)] == [True, True, False]
    assert rates.allow("b", "x", (2, 10.0))
    now[0] = 10.5
    assert rates.allow("a", "x", (2, 10.0))


# -- deciding


def test_an_approval_files_the_kernel_and_shows_the_next(site):
    desk, client = site
    first, second = _paths(client)[:2]
    answer = _decide(client, first, "approve", text="read it line by line")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(second)
    (review,) = desk.reviews()[0]
    assert (review.decision, review.reviewer, review.reason) == ("approve", "ada", "read it line by line")
    assert len(list(desk.kernels())) == 1


def test_a_rejection_takes_reasons_from_the_list_and_in_words(site):
    desk, client = site
    path = _paths(client)[0]
    assert "needs a reason" in _decide(client, path, "reject").text
    assert "is no decision" in _decide(client, path, "burn", text="x").text
    answer = _decide(client, path, "reject", reason=["hard to read or maintain", "forged"], text="see 12")
    assert answer.status_code == 303
    assert desk.reviews()[0][-1].reason == "hard to read or maintain; see 12"


def test_of_two_reviewers_at_once_the_second_is_shown_what_the_first_did(site, tmp_path):
    desk, client = site
    bob = client_of(client.app, add_token(tmp_path / ".llmptx" / "tokens.json", "bob", "reviewer"))
    path = _paths(client)[0]
    seen = re.search(r'name="seen" value="(\d+)"', bob.get(path).text)[1]
    _decide(client, path, "reject", text="wrong at NaN")
    answer = bob.post(f"{path}/decide", data={"decision": "approve", "seen": seen, "text": "my notes"})
    assert answer.status_code == 409
    assert "ada decided meanwhile: reject" in answer.text
    assert "my notes" in answer.text
    assert len(desk.reviews()[0]) == 1
    assert _decide(bob, path, "approve").status_code == 303


def test_an_undo_is_ones_own_or_an_admins(site, tmp_path):
    desk, client = site
    tokens = tmp_path / ".llmptx" / "tokens.json"
    bob, eve = (
        client_of(client.app, add_token(tokens, n, r)) for n, r in (("bob", "reviewer"), ("eve", "admin"))
    )
    path = _paths(client)[0]
    _decide(client, path, "approve")
    assert "is ada" in bob.post(f"{path}/undo").text
    assert client.post(f"{path}/undo").status_code == 303
    assert list(desk.kernels()) == []
    _decide(client, path, "approve")
    assert eve.post(f"{path}/undo").status_code == 303
    assert [r.decision for r in desk.reviews()[0]] == ["approve", "undo", "approve", "undo"]


def test_many_are_rejected_at_once_and_none_is_approved_so(site):
    desk, client = site
    chosen = _paths(client)[:3]
    refused = client.post("/reject", data={"chosen": chosen})
    assert "0 rejected" in refused.text
    answer = client.post("/reject", data={"chosen": chosen, "text": "all of one faulty batch"})
    assert answer.headers["location"] == "/?done=3%20rejected"
    assert {r.decision for r in desk.reviews()[0]} == {"reject"}
    bad = client.post("/reject", data={"chosen": ["../../etc/passwd", "a/b/c"], "text": "x"})
    assert bad.status_code == 400
    assert client.post("/approve", data={"chosen": chosen}).status_code == 404


def test_a_comment_stands_at_its_line(site):
    _, client = site
    path = _paths(client)[0]
    answer = client.post(f"{path}/comment", data={"line": "4", "text": "why 64?"})
    assert answer.headers["location"] == f"{path}#L4"
    text = client.get(path).text
    assert text.index('id="L4"') < text.index("why 64?") < text.index('id="L5"')
    for line in ("-1", "99", "x", "²"):
        assert client.post(f"{path}/comment", data={"line": line, "text": "x"}).status_code == 400
    audit = [json.loads(line) for line in client.get("/audit.jsonl").text.splitlines()]
    assert [entry["text"] for entry in audit] == ["why 64?"]


# -- finding


def test_the_inbox_is_filtered_by_text_and_state_and_the_filter_is_kept(site):
    _, client = site
    assert len(_paths(client)) == 4
    text = client.get("/?q=NUMPY.add").text
    assert len(set(re.findall(r'href="(/kernel/[^"]+)"', text))) == 1
    _decide(client, _paths(client)[0], "approve")
    assert "Approved <b>1</b>" in client.get("/").text
    assert "Changed since you decided" in client.get("/").text
    answer = client.post("/filters", data={"name": "adds", "query": "q=add&page=3&evil=1"})
    assert answer.headers["location"] == "/?q=add"
    assert '<a href="/?q=add">adds</a>' in client.get("/").text
    client.post("/filters", data={"name": "adds", "forget": "yes"})
    assert ">adds<" not in client.get("/").text


@pytest.mark.parametrize(
    "query", ["page=0", "page=999999", "page=²", "tab=x&sort=y", "q=%00%ff", "model=" + "m" * 9999]
)
def test_an_address_that_makes_no_sense_shows_an_inbox(site, query):
    _, client = site
    assert client.get(f"/?{query}").status_code == 200


def test_an_unknown_kernel_is_a_page_that_says_so(site):
    _, client = site
    answer = client.get("/kernel/numpy.exp/float32/" + "0" * 64)
    assert answer.status_code == 404
    assert "no candidate" in answer.text


def test_what_came_since_a_decision_on_its_task_is_told(site, make_record):
    desk, client = site
    _decide(client, next(path for path in _paths(client) if "numpy.exp" in path), "approve")
    desk.corpus.append(make_record(number=50, created="2099-01-01T00:00:00Z"))
    assert "Changed since you decided <b>1</b>" in client.get("/").text
    assert len(set(re.findall(r'href="(/kernel/[^"]+)"', client.get("/?tab=changed").text))) == 1


# -- a kernel's page


def test_a_kernels_page_shows_the_difference_from_the_approved_one(site):
    _, client = site
    first, second, *_ = [path for path in _paths(client) if "numpy.exp" in path]
    _decide(client, first, "approve")
    text = client.get(second).text
    assert "Difference from the approved" in text
    assert re.search(r'class="removed".*mov\.u64', text)


def test_a_difference_sees_no_names_of_registers():
    head = ".version 8.0\n.target sm_80\n.address_size 64\n"
    old = head + ".visible .entry k()\n{\n.reg .b32 %a;\nmov.b32 %a, 1;\nret;\n}\n"
    assert {change.kind for change in difference(old, old.replace("%a", "%zz"))} <= {"same", "gap"}
    kinds = [change.kind for change in difference(old, old.replace(" 1;", " 2;"))]
    assert (kinds.count("added"), kinds.count("removed")) == (1, 1)


def test_hostile_text_stays_text_everywhere(tmp_path, make_record):
    record = make_record()
    attempt = record.attempts[0]
    candidate = dataclasses.replace(attempt.candidate, text=NASTY + attempt.candidate.text)
    finding = dataclasses.replace(
        make_record(outcomes=(False,)).attempts[0].verdict.findings[0], message=NASTY
    )
    verdict = dataclasses.replace(attempt.verdict, findings=(finding,), passed=True)
    completion = dataclasses.replace(
        attempt.completion, content=NASTY, reasoning=NASTY, reasoning_kind="full"
    )
    attempt = dataclasses.replace(attempt, candidate=candidate, verdict=verdict, completion=completion)
    record = dataclasses.replace(record, attempts=(attempt,), model=f"m{SCRIPT}\u202e\x1b[2J")
    desk = Desk(tmp_path)
    desk.corpus.append(record)
    gate, pages = build(tmp_path, started=("secret", Person(f"ada{SCRIPT}", "reviewer")))
    client = client_of(gate)
    path = _paths(client)[0]
    client.post(f"{path}/comment", data={"line": "1", "text": NASTY})
    client.post("/filters", data={"name": SCRIPT, "query": f"q={SCRIPT}"})
    for where in ("/", path, f"/?done={SCRIPT}", f"/?q={SCRIPT}", f"/kernel/{SCRIPT}/x/y"):
        text = client.get(where).text
        assert "<script>" not in text, where
        assert 'onmouseover="' not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "49 " not in text.replace("2049", "")
    assert "&lt;script&gt;" in client.get(path).text
    assert "\\u202e" in client.get(path).text
    raw = client.get(f"{path}/ptx")
    assert raw.headers["content-disposition"].startswith("attachment")
    assert raw.headers["content-type"].startswith("text/plain")
    pages.close()


def test_ten_megabytes_of_text_are_cut_and_said_to_be(tmp_path, make_record):
    long = make_record(text=make_record().attempts[0].candidate.text + "// x" * 2_500_000 + "\n")
    desk = Desk(tmp_path)
    desk.corpus.append(long)
    gate, pages = build(tmp_path, started=("secret", Person("ada", "reviewer")))
    client = client_of(gate)
    text = client.get(_paths(client)[0]).text
    assert len(text) < 1_500_000
    assert "longer than a page shows" in text
    pages.close()


def test_values_typed_in_run_beside_the_truth(site):
    desk, client = site
    record = desk.corpus.read()[0][3]
    text = (LIBRARY / "numpy/add/float32.2.ptx").read_text()
    attempt = record.attempts[0]
    candidate = dataclasses.replace(attempt.candidate, text=text, hash=candidate_hash(text))
    verdict = dataclasses.replace(attempt.verdict, candidate=candidate.hash)
    real = dataclasses.replace(
        record, attempts=(dataclasses.replace(attempt, candidate=candidate, verdict=verdict),)
    )
    desk.corpus.append(real)
    path = address(("numpy.add", "float32", candidate.hash))
    said = client.post(f"{path}/run", data={"in0": "1.5, -0.0 inf", "in1": "1"}).text
    rows = [
        ("1.5", "1.0", "2.5", "2.5", ""),
        ("-0.0", "1.0", "1.0", "1.0", ""),
        ("inf", "1.0", "inf", "inf", ""),
    ]
    assert re.findall(r'class="n">([^<]*)<', said) == [cell for row in rows for cell in row]
    for fields, words in (
        ({"in0": "1", "in1": "x"}, "is no float32"),
        ({"in0": "1 2 3", "in1": "1 2"}, "as many values"),
        ({"in0": "", "in1": "1"}, "type a value"),
        ({"in0": "1 " * 99, "in1": "1"}, "64 at most"),
    ):
        assert words in client.post(f"{path}/run", data=fields).text
    table = client.get(f"{path}/special").text
    assert table.count("<tr") > 40
    assert 'class="wrong"' not in table


def test_instructions_have_help_from_the_table():
    assert help_of("fma.rn.f32").startswith("fma.rnd:")
    assert "rounded once" in help_of("fma.rn.f32").lower()
    assert help_of("nosuch.f32") == ""
    (line,) = highlighted("@!%p fma.rn.f32 %f1, %f2, %f3, 0f3F800000; // one")
    text = re.sub(r"<[^>]+>", "", str(line.html))
    assert text == "@!%p fma.rn.f32 %f1, %f2, %f3, 0f3F800000; // one"
    assert '<span class="n">0f3F800000</span>' in line.html


def test_jobs_are_shown_as_they_stand(site, tmp_path):
    _, client = site
    assert "No jobs yet" in client.get("/jobs").text
    with Store(tmp_path / ".llmptx" / "jobs.sqlite") as store:
        store.submit(JobSpec.model_validate({"items": [{"routine": "numpy.exp", "dtype": "float32"}]}))
    text = client.get("/jobs", headers={"hx-request": "true"}).text
    assert "<nav>" not in text
    assert "0 done, 0 failed, 1 waiting of 1" in text
