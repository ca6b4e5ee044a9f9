"""The offline model: an endpoint's answers, made from the kernels shipped in llmptx/llm/offline/.

It speaks the chat-completions protocol, streaming or not, and answers each task with draft k of its kernel,
k counting the turns of the conversation: the first drafts have faults, the last one is right. Bytes in, bytes
out, always the same ones; it knows neither the judge nor HTTP.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

MODEL = "offline"

_NAME = re.compile(r"^(routine|dtype):[ \t]*([A-Za-z0-9_.]+)[ \t]*$", re.MULTILINE)
_DRAFT = re.compile(r"^(?P<dtype>[a-z0-9]+)\.(?P<k>[1-9][0-9]*)\.ptx$")
_PIECE = 400  # characters a streamed event carries


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: status, headers, and the body in the pieces it is sent in."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: tuple[bytes, ...]


def answer(method: str, path: str, body: bytes) -> Reply:
    """Answer one request to a chat-completions endpoint (`.../chat/completions`, `.../models`)."""
    if method == "GET" and path.endswith("/models"):
        return _json(
            200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "llmptx"}]}
        )
    if method != "POST" or not path.endswith("/chat/completions"):
        return _error(404, f"no such resource: {method} {path}")
    try:
        request = json.loads(body)
        turns = [(str(m["role"]), str(m["content"])) for m in request["messages"]]
    except (ValueError, TypeError, KeyError):
        return _error(400, "the body is not a chat-completions request")
    if request.get("model") != MODEL:
        return _error(404, f"no such model: {request.get('model')!r}; this endpoint has {MODEL!r}")
    content = reply_text(turns)
    usage = _usage(turns, content)
    if request.get("stream"):
        return Reply(
            200, (("content-type", "text/event-stream; charset=utf-8"),), tuple(_events(content, usage))
        )
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return _json(200, {**_envelope("chat.completion"), "choices": [choice], "usage": usage})


def reply_text(turns: Sequence[tuple[str, str]]) -> str:
    """What the model says to a conversation of (role, text) turns."""
    named: dict[str, str] = {}
    for role, text in turns:
        if role == "user":
            for key, value in _NAME.findall(text):
                named.setdefault(key, value)
    routine, dtype = named.get("routine", ""), named.get("dtype", "")
    if not routine or not dtype:
        return "I have no kernel to offer: a task I know names its routine and dtype on lines of their own.\n"
    texts = drafts(routine, dtype)
    if not texts:
        return f"I have no kernel for {routine} in {dtype}, and I would rather say so than make one up.\n"
    turn = 1 + sum(role == "assistant" for role, _ in turns)
    draft = texts[min(turn, len(texts)) - 1].strip("\n")
    opening = f"Here is `{routine}` for {dtype}. The launch plan stands in the header lines."
    if turn > 1:
        opening = (
            "Thank you, that finding is to the point. Here is the whole module again, changed accordingly."
        )
    closing = "The comments in the code say why each step is there."
    return f"{opening}\n\n```ptx\n{draft}\n```\n\n{closing}\n"


def drafts(routine: str, dtype: str) -> tuple[str, ...]:
    """The drafts for one dtype of a routine, in order; none where the library has no such kernel."""
    package, _, name = routine.rpartition(".")
    folder = _library() / package / name
    if not package or not folder.is_dir():
        return ()
    found = {}
    for file in folder.iterdir():
        match = _DRAFT.match(file.name)
        if match and match["dtype"] == dtype:
            found[int(match["k"])] = file
    return tuple(found[k].read_text(encoding="utf-8") for k in sorted(found))


@functools.cache
def library_hash() -> str:
    """SHA-256 over every kernel of the library: replies of another library are other replies."""
    total = hashlib.sha256()
    for path, text in sorted(_files(_library(), "")):
        total.update(f"{path}\0{len(text)}\0".encode() + text)
    return total.hexdigest()


def _library() -> Traversable:
    return resources.files("llmptx.llm") / "offline"


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        path = f"{prefix}/{entry.name}"
        if entry.is_dir():
            yield from _files(entry, path)
        elif entry.name.endswith(".ptx"):
            yield path, entry.read_bytes()


def _usage(turns: Sequence[tuple[str, str]], content: str) -> Mapping[str, int]:
    """Four characters a token: an honest count of text, not of any tokenizer."""
    asked = sum(-(-len(text) // 4) for _, text in turns)
    said = -(-len(content) // 4)
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _envelope(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-offline", "object": kind, "created": 0, "model": MODEL}


def _events(content: str, usage: Mapping[str, int]) -> Iterator[bytes]:
    head = _envelope("chat.completion.chunk")

    def event(choices: list[Any], **more: Any) -> bytes:
        return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"

    for at in range(0, len(content), _PIECE):
        yield event([{"index": 0, "delta": {"content": content[at : at + _PIECE]}, "finish_reason": None}])
    yield event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    yield event([], usage=usage)
    yield b"data: [DONE]\n\n"


def _json(status: int, value: Any) -> Reply:
    return Reply(status, (("content-type", "application/json"),), (json.dumps(value).encode(),))


def _error(status: int, message: str) -> Reply:
    return _json(
        status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    )
