"""The offline model: honest about what it has, the same every time."""

from __future__ import annotations

import json

import pytest

from llmptx.llm import library
from llmptx.llm.extract import ReplyError, ptx_of
from llmptx.llm.library import answer, drafts, reply_text

ADD = "routine: numpy.add\ndtype: float32\n"


def post(request: dict[str, object]) -> library.Reply:
    return answer("POST", "/v1/chat/completions", json.dumps(request).encode())


def test_draft_k_answers_turn_k_and_the_last_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = drafts("numpy.add", "float32")
    assert texts
    turns = [("user", ADD)]
    for k in range(len(texts) + 2):
        assert ptx_of(reply_text(turns)) == texts[min(k, len(texts) - 1)].strip("\n") + "\n"
        turns += [("assistant", "..."), ("user", "Wrong, again.")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("routine: numpy.frobnicate\ndtype: float32", "I have no kernel for numpy.frobnicate in float32"),
        ("routine: numpy.add\ndtype: complex999", "I have no kernel for numpy.add in complex999"),
        ("write me a poem", "I have no kernel to offer"),
        ("routine: ../../x\ndtype: float32", "I have no kernel to offer"),
        ("routine: ....x\ndtype: float32", "I have no kernel"),
    ],
)
def test_a_task_it_does_not_know_gets_an_honest_reply(text: str, says: str) -> None:
    reply = reply_text([("user", text)])
    assert says in reply
    with pytest.raises(ReplyError):
        ptx_of(reply)


def test_streamed_and_whole_replies_say_the_same() -> None:
    request = {"model": "offline", "messages": [{"role": "user", "content": ADD}]}
    whole = json.loads(b"".join(post(request).body))
    lines = b"".join(post({**request, "stream": True}).body).decode().split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line and "[DONE]" not in line]
    text = "".join(c["delta"].get("content", "") for e in events for c in e["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert events[-1]["usage"] == whole["usage"]
    assert post(request) == post(request)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/chat/completions", b'{"model": "gpt-5", "messages": []}', 404),
        ("GET", "/v1/files", b"", 404),
        ("GET", "/v1/models", b"", 200),
    ],
)
def test_requests_it_cannot_answer_get_a_status(method: str, path: str, body: bytes, status: int) -> None:
    assert answer(method, path, body).status == status
