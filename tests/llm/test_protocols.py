"""Both protocols, streamed and whole, with each kind of reasoning; profiles of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmptx.llm.client import Client, Limits
from llmptx.llm.errors import EndpointError
from llmptx.llm.profiles import ProfileError, known, profile_for
from llmptx.record import Completion, Message
from tests.llm.server import Endpoint

ASKED = (Message("system", "You write PTX."), Message("user", "Please."))
ANSWER: dict[str, Any] = {
    "object": "response",
    "id": "r",
    "created_at": 0,
    "model": "thinker",
    "status": "completed",
    "output": [
        {
            "type": "reasoning",
            "id": "a",
            "summary": [{"type": "summary_text", "text": "In short."}],
            "encrypted_content": "c2VjcmV0",
        },
        {
            "type": "message",
            "id": "b",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Done.", "annotations": []}],
        },
    ],
    "usage": {"input_tokens": 1000, "output_tokens": 500},
}


def profiled(
    monkeypatch: pytest.MonkeyPatch, folder: Path, endpoint: Endpoint, mode: Any = "online", **keys: object
) -> Client:
    """A client for "thinker" at the endpoint, as a profile of one's own describes it."""
    rows = {"name": "mine", "models": ["thinker"], "base_url": endpoint.url, "price": [2.0, 10.0], **keys}
    text = "[[profile]]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in rows.items())
    (folder / "profiles.toml").write_text(text)
    monkeypatch.setenv("LLMPTX_PROFILES", str(folder / "profiles.toml"))
    return Client("thinker", limits=Limits(read=2, total=5), mode=mode)


def responses(events: bool, answer: dict[str, Any] = ANSWER) -> str:
    if not events:
        return f"raw {json.dumps(answer)}"
    delta = {"type": "response.output_text.delta", "delta": "Do", "item_id": "b", "output_index": 1}
    last = {"type": f"response.{answer['status']}", "response": answer, "sequence_number": 2}
    return f"sse {json.dumps([{**delta, 'content_index': 0, 'sequence_number': 1, 'logprobs': []}, last])}"


@pytest.mark.parametrize("stream", [True, False])
def test_the_responses_protocol(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stream: bool) -> None:
    with Endpoint([responses(stream)]) as endpoint:
        client = profiled(
            monkeypatch, tmp_path, endpoint, api="responses", stream=stream, reasoning="summary"
        )
        completion = client.complete(ASKED, sample=4)
        (sent,) = endpoint.requests
    assert (completion.content, completion.finish, completion.model) == ("Done.", "stop", "thinker")
    assert (completion.reasoning, completion.reasoning_kind) == ("In short.", "summary")
    assert completion.usage.cost == pytest.approx(0.007)
    assert sent.get("stream", False) is stream
    assert [m["role"] for m in sent["input"]] == ["system", "user"]
    assert (sent["max_output_tokens"], sent["store"]) == (16_384, False)
    assert "seed" not in sent


def test_a_response_that_ran_out_of_tokens_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cut = {**ANSWER, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    with Endpoint([responses(True, cut)]) as endpoint:
        assert profiled(monkeypatch, tmp_path, endpoint, api="responses").complete(ASKED).finish == "length"


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_that_failed_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stream: bool
) -> None:
    failed = {**ANSWER, "status": "failed", "error": {"code": "server_error", "message": "too hot"}}
    with Endpoint([responses(stream, failed)]) as endpoint:
        client = profiled(monkeypatch, tmp_path, endpoint, api="responses", stream=stream)
        with pytest.raises(EndpointError, match="too hot") as caught:
            client.complete(ASKED)
    assert caught.value.retryable
    assert caught.value.maybe_billed


def test_a_response_of_another_shape_is_rubbish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Endpoint(['raw {"output": [{"kind": "message"}]}']) as endpoint:
        client = profiled(monkeypatch, tmp_path, endpoint, api="responses", stream=False)
        with pytest.raises(EndpointError, match="not the responses protocol"):
            client.complete(ASKED)


@pytest.mark.parametrize(
    ("message", "reasoning", "expected"),
    [
        ({"reasoning_content": "All of it."}, "full", ("All of it.", "full")),
        ({"reasoning": "A summary."}, "summary", ("A summary.", "summary")),
        (
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "abc"}]},
            "full",
            ("abc", "encrypted"),
        ),
        (
            {
                "reasoning": "both",
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "short"},
                    {"type": "reasoning.text", "text": "long"},
                ],
            },
            "full",
            ("long", "full"),
        ),
        ({}, "full", ("", "none")),
    ],
)
def test_reasoning_is_kept_with_its_kind(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    message: dict[str, Any],
    reasoning: str,
    expected: tuple[str, str],
) -> None:
    def asked(stream: bool) -> Completion:
        said = {"role": "assistant", "content": "Done.", **message}
        place = {"delta": said} if stream else {"message": said}
        chunk = {"choices": [{"index": 0, "finish_reason": "stop", **place}]}
        fault = f"sse {json.dumps([chunk])}" if stream else f"raw {json.dumps(chunk)}"
        with Endpoint([fault]) as endpoint:
            client = profiled(monkeypatch, tmp_path, endpoint, reasoning=reasoning, stream=stream)
            return client.complete(ASKED)

    for completion in (asked(True), asked(False)):
        assert (completion.reasoning, completion.reasoning_kind) == expected


def test_flex_asks_for_the_tier_and_costs_the_profiles_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Endpoint([responses(False)]) as endpoint:
        keys: dict[str, Any] = {"api": "responses", "stream": False, "discount": 0.5}
        completion = profiled(monkeypatch, tmp_path, endpoint, "flex", **keys).complete(ASKED)
        assert endpoint.requests[0]["service_tier"] == "flex"
    assert completion.usage.cost == pytest.approx(0.0035)


def test_a_batchs_request_is_not_streamed_and_its_answer_is_read_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Endpoint() as endpoint:
        client = profiled(monkeypatch, tmp_path, endpoint, "batch", api="responses")
        assert "stream" not in client.request(ASKED)
        assert client.read(ANSWER).content == "Done."
        with pytest.raises(EndpointError, match="not the responses protocol"):
            client.read({})


def test_of_profiles_with_one_address_the_one_that_names_the_model_counts() -> None:
    url = "https://api.openai.com/v1"
    assert profile_for("gpt-9-pro", url).api == "responses"
    assert profile_for("gpt-9", url).api == "chat"
    assert profile_for("something", url).base_url == url


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[profile]]\nname = 'x'\nmodles = []\n", "unknown key 'modles'; known are api"),
        ("profile = ", "not a file of profiles"),
        ("[[profile]]\nname = 'x'\n", "not a file of profiles: KeyError: 'models'"),
    ],
)
def test_a_file_of_profiles_that_is_wrong_says_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, says: str
) -> None:
    monkeypatch.setenv("LLMPTX_PROFILES", str(tmp_path / "p.toml"))
    with pytest.raises(ProfileError, match=r"p\.toml: cannot be read"):
        known()
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ProfileError, match=says):
        known()
