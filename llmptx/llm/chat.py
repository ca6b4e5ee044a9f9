"""The Chat Completions protocol: a request's body, and a reply from its events or its one JSON answer.

Knows no transport, endpoint or price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmptx.llm.profiles import Profile
from llmptx.llm.reply import Reply, short
from llmptx.record import Message

PATH = "/chat/completions"

# Types of OpenRouter's reasoning_details, and the field each keeps its text in.
_DETAILS = {
    "reasoning.text": ("full", "text"),
    "reasoning.summary": ("summary", "summary"),
    "reasoning.encrypted": ("encrypted", "data"),
}


def body(
    model: str, messages: Sequence[Message], tokens: int, sample: int, profile: Profile, stream: bool
) -> dict[str, Any]:
    """`sample` > 0 asks for another draw, where the endpoint takes a seed."""
    request: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        profile.max_tokens_name: tokens,
    }
    if stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    if profile.seed:
        request["seed"] = sample
    return request


def event(chunk: Mapping[str, Any], reply: Reply, profile: Profile) -> None:
    """Take in one event of a stream. Raises KeyError, TypeError and the like for one of another shape."""
    reply.model = reply.model or short(chunk.get("model"))
    reply.usage = chunk.get("usage") or reply.usage
    for choice in (chunk.get("choices") or [])[:1]:
        _take(choice.get("delta") or {}, reply, profile)
        reply.finish = str(choice.get("finish_reason") or reply.finish)


def answer(data: Mapping[str, Any], reply: Reply, profile: Profile) -> None:
    """Take in a whole answer. Raises KeyError, TypeError and the like for one of another shape."""
    choice = data["choices"][0]
    _take(choice["message"], reply, profile)
    reply.finish, reply.model = str(choice.get("finish_reason") or "stop"), short(data.get("model"))
    reply.usage = data.get("usage")


def _take(message: Mapping[str, Any], reply: Reply, profile: Profile) -> None:
    if isinstance(text := message.get("content"), str) and text:
        reply.content.append(text)
    details = message.get("reasoning_details") or []
    for detail in details:
        kind, name = _DETAILS.get(str(detail.get("type")), ("", ""))
        if kind:
            reply.think(kind, detail.get(name))
    if not details:
        reply.think(profile.reasoning, message.get("reasoning_content") or message.get("reasoning"))
