"""The Responses protocol: a request's body, and a reply from its events or its one JSON answer.

Knows no transport, endpoint or price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmptx.llm.errors import EndpointError
from llmptx.llm.profiles import Profile
from llmptx.llm.reply import Reply, short
from llmptx.record import Message

PATH = "/responses"

_ENDED = ("response.completed", "response.incomplete", "response.failed")
_REASONS = {"max_output_tokens": "length"}


def body(
    model: str, messages: Sequence[Message], tokens: int, sample: int, profile: Profile, stream: bool
) -> dict[str, Any]:
    """The protocol has no seed: `sample` is told apart by whoever files the reply."""
    request: dict[str, Any] = {
        "model": model,
        "input": [{"role": message.role, "content": message.content} for message in messages],
        "max_output_tokens": tokens,
        "store": False,
    }
    if profile.reasoning != "none":
        request["reasoning"] = {"summary": "auto"}
    if stream:
        request["stream"] = True
    return request


def event(chunk: Mapping[str, Any], reply: Reply, profile: Profile) -> None:
    """Take in one event of a stream: the last one holds the whole answer, which counts.

    Raises EndpointError for a failure told in the stream, KeyError and the like for another shape.
    """
    kind = str(chunk["type"])
    if kind in _ENDED:
        reply.content.clear()
        reply.reasoning.clear()
        answer(chunk["response"], reply, profile)
    elif kind == "response.output_text.delta":
        reply.content.append(str(chunk["delta"]))
    elif kind == "error":
        raise EndpointError("cut", f"the stream ended with an error: {short(chunk.get('message'))}")


def answer(data: Mapping[str, Any], reply: Reply, profile: Profile) -> None:
    """Take in a whole answer. Raises EndpointError for one that says it failed, KeyError and the like."""
    status = str(data.get("status") or "completed")
    if status == "failed":
        error = data.get("error") or {}
        raise EndpointError("cut", f"the model's answer failed: {short(error.get('message'))}")
    for item in data["output"]:
        if item["type"] == "message":
            reply.content += [part["text"] for part in item["content"] if part["type"] == "output_text"]
        elif item["type"] == "reasoning":
            _think(item, reply)
    why = (data.get("incomplete_details") or {}).get("reason")
    reply.finish = "stop" if status == "completed" else _REASONS.get(str(why), str(why or status))
    reply.model = short(data.get("model"))
    usage = data.get("usage")
    if isinstance(usage, Mapping):
        tokens = {"prompt_tokens": usage.get("input_tokens"), "completion_tokens": usage.get("output_tokens")}
        reply.usage = {**tokens, "cost": usage.get("cost")}


def _think(item: Mapping[str, Any], reply: Reply) -> None:
    for part in item.get("content") or ():
        reply.think("full", part.get("text"))
    for part in item.get("summary") or ():
        reply.think("summary", part.get("text"))
    reply.think("encrypted", item.get("encrypted_content"))
