"""A real browser does a reviewer's day: Chromium, by Playwright; skipped where there is none."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from llmptx.review import Desk
from llmptx.review.web.access import add_token
from tests.export.approving import LIBRARY

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium", allow_module_level=True)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def served(tmp_path, make_record):
    """(desk, address that logs ada in) of a workspace with real and hostile kernels."""
    desk = Desk(tmp_path)
    for routine, dtype in (("numpy.exp", "float32"), ("numpy.add", "float32"), ("numpy.sum", "float32")):
        package, _, name = routine.rpartition(".")
        text = max((LIBRARY / package / name).glob(f"{dtype}.*.ptx")).read_text()
        desk.corpus.append(make_record(routine=routine, dtype=dtype, text=text, outcomes=(False, True)))
    exp = (LIBRARY / "numpy/exp/float32.2.ptx").read_text()
    desk.corpus.append(make_record(text=exp.replace("ret;", "bra.uni END;\nEND:\n    ret;"), max_ulp=0.5))
    hostile = (
        "// <img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script>\x1b[31m\n"
    )
    desk.corpus.append(
        make_record(routine="numpy.log", text=hostile + make_record().attempts[0].candidate.text)
    )
    command = [sys.executable, "-m", "llmptx", "--workspace", str(tmp_path)]
    server = subprocess.Popen(
        [*command, "review", "serve", "--port", "0", "--reviewer", "ada", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    said = ""
    while not said.rstrip().endswith("}"):
        line = server.stdout.readline()
        assert line, "the server ended"
        said += line
    yield desk, json.loads(said)["address"]
    server.terminate()
    server.wait(20)


@pytest.fixture
def page(chromium, served):
    """ada's page; what the console complains of fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(served[1])
    yield page
    context.close()
    assert [c for c in complaints if "409" not in c and "400" not in c] == []


def _open(page, routine: str) -> None:
    page.goto(re.match(r"http://[^/]+/", page.url)[0])
    page.keyboard.press("/")
    page.keyboard.type(routine)
    page.keyboard.press("Enter")
    page.wait_for_url("**q=*")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/kernel/**")


def test_approve_by_keyboard_and_the_next_is_shown(page, served):
    desk, _ = served
    _open(page, "numpy.add")
    with page.expect_navigation():
        page.keyboard.press("a")
    assert "/kernel/" in page.url
    assert "numpy.add" not in page.locator("h1").inner_text()
    assert "approved: numpy.add" in page.locator("[role=status]").inner_text()
    assert [k.routine for k in desk.kernels()] == ["numpy.add"]


def test_reject_asks_for_a_reason_and_undo_takes_it_back(page, served):
    desk, _ = served
    _open(page, "numpy.sum")
    page.keyboard.press("r")
    assert page.evaluate("document.activeElement.id") == "reason"
    assert desk.reviews()[0] == ()
    page.keyboard.type("drops the tail")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    assert [(r.decision, r.reason) for r in desk.reviews()[0]] == [("reject", "drops the tail")]
    page.go_back()
    page.reload()
    assert page.locator("h1 .state").inner_text() == "rejected"
    with page.expect_navigation():
        page.keyboard.press("u")
    assert page.locator("h1 .state").inner_text() == "waiting"


def test_comment_on_the_line_one_is_at(page):
    _open(page, "numpy.exp")
    page.locator('#ptx [data-line="7"]').click()
    assert page.evaluate("document.activeElement.id") == "words"
    page.keyboard.type("where does this constant come from?")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    assert "where does this constant" in page.locator("#L7 + .remark").inner_text()


def test_the_difference_shows_what_changed_since_the_approved_one(page):
    _open(page, "numpy.exp")
    with page.expect_navigation():
        page.keyboard.press("a")
    _open(page, "numpy.exp")
    page.keyboard.press("d")
    assert (
        "bra.uni"
        in page.locator("#diff .added, #diff .removed").first.inner_text()
        + page.locator("#diff").inner_text()
    )
    assert page.locator("#diff .added, #diff .removed").count() >= 1


def test_values_are_run_and_instructions_explained(page):
    _open(page, "numpy.add")
    page.locator('#try input[name="in0"]').fill("1 2 nan")
    page.locator('#try input[name="in1"]').fill("0x1p-1")
    page.locator("#try button").click()
    page.locator("#ran table").wait_for()
    assert page.locator("#ran tr").nth(2).locator("td").nth(2).inner_text() == "2.5"
    page.locator("#ptx .k[data-help]").first.hover()
    assert page.locator("#tip").inner_text()


def test_two_reviewers_at_once_are_told_of_each_other(page, served, chromium):
    desk, address = served
    token = add_token(desk.path.parents[1] / ".llmptx" / "tokens.json", "bob", "reviewer")
    context = chromium.new_context()
    bob = context.new_page()
    bob.goto(address.partition("?")[0] + f"?token={token}")
    _open(page, "numpy.add")
    _open(bob, "numpy.add")
    with page.expect_navigation():
        page.keyboard.press("a")
    with bob.expect_navigation():
        bob.keyboard.press("a")
    assert "ada decided meanwhile: approve" in bob.locator("[role=alert]").inner_text()
    assert [r.reviewer for r in desk.reviews()[0]] == ["ada"]
    context.close()


def test_a_hostile_kernel_stays_text(page):
    _open(page, "numpy.log")
    page.wait_for_load_state("networkidle")
    assert page.title() == "numpy.log float32 · llmptx review"
    assert "<script>" in page.locator("#L1").inner_text()
    assert "\\x1b[31m" in page.locator("#L1").inner_text()


def test_filters_are_saved_and_everything_fits_a_phone(page, served):
    page.goto(page.url.split("?")[0] + "?q=exp")
    page.locator('.saved input[name="name"]').fill("exps")
    page.locator(".saved button", has_text="Save").click()
    assert page.locator(".chip a").inner_text() == "exps"
    page.set_viewport_size({"width": 390, "height": 800})
    for path in ("", "help", "jobs"):
        page.goto(re.match(r"http://[^/]+/", page.url)[0] + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    _open(page, "numpy.exp")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_help_is_a_key_away(page):
    page.keyboard.press("?")
    page.wait_for_url("**/help")
    assert "approve" in page.locator("table").inner_text()
