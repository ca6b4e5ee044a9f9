"""`llmptx doctor --model`: what one request to an endpoint shows, and what goes wrong with it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from llmptx.cli import main
from tests.llm.server import Endpoint


def doctor(*args):
    return CliRunner().invoke(main, ["doctor", "--json", *args])


def facts(result):
    return {fact["name"]: (fact["found"], fact["what"]) for fact in json.loads(result.stdout)}


def test_it_says_what_an_endpoint_answers():
    with Endpoint(["reasoning"]) as endpoint:
        result = doctor("--model", "offline", "--base-url", endpoint.url)
        assert len(endpoint.requests) == 1
    found = facts(result)
    assert result.exit_code == 0
    assert found["reply"][0]
    assert found["reasoning"] == (True, "full")
    assert found["usage"] == (False, "not stated")
    assert found["cost"] == (False, "not known: give --price")


@pytest.mark.parametrize(
    ("fault", "says"), [("status 401", "is the API key right"), ("html", "is the base URL right")]
)
def test_an_endpoint_that_fails_is_exit_4(fault, says):
    with Endpoint([fault]) as endpoint:
        result = doctor("--model", "offline", "--base-url", endpoint.url)
    found, what = facts(result)["reply"]
    assert (found, result.exit_code) == (False, 4)
    assert says in what


def test_an_unknown_model_is_wrong_use():
    result = doctor("--model", "hal-9000")
    assert result.exit_code == 2
    assert "unknown model 'hal-9000'" in result.stderr
