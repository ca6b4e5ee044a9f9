"""The HTTP underneath the client: limits on every response, and the offline model as a transport.

Imported only by a client that is about to speak: it imports httpx2. Knows bytes and clocks, nothing of chat.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import httpx2

from llmptx.llm.errors import EndpointError
from llmptx.llm.library import answer

_STARTED = "llmptx.started"


class OfflineTransport(httpx2.BaseTransport):
    """Answers every request from the shipped kernel library, in this process."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        reply = answer(request.method, request.url.path, request.read())
        return httpx2.Response(
            reply.status, headers=dict(reply.headers), stream=_Chunks(reply.body), request=request
        )


class _Chunks(httpx2.SyncByteStream):
    def __init__(self, chunks: tuple[bytes, ...]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks


class _Limited(httpx2.SyncByteStream):
    """A response's bytes, until they are too many or take too long."""

    def __init__(self, inner: httpx2.SyncByteStream, started: float, seconds: float, size: int) -> None:
        self._inner = inner
        self._deadline = started + seconds
        self._seconds = seconds
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        seen = 0
        for chunk in self._inner:
            seen += len(chunk)
            if seen > self._size:
                raise EndpointError(
                    "too-large", f"the reply is larger than {self._size:,} bytes; the rest was not read"
                )
            if time.monotonic() > self._deadline:
                raise EndpointError("timeout", f"the reply did not end within {self._seconds:g} s")
            yield chunk

    def close(self) -> None:
        self._inner.close()


def limits(seconds: float, size: int) -> Mapping[str, list[Callable[..., None]]]:
    """Event hooks for an httpx2.Client: a response ends within `seconds` of its request, in `size` bytes."""

    def on_request(request: httpx2.Request) -> None:
        request.extensions[_STARTED] = time.monotonic()

    def on_response(response: httpx2.Response) -> None:
        started = response.request.extensions.get(_STARTED, time.monotonic())
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _Limited(response.stream, started, seconds, size)

    return {"request": [on_request], "response": [on_response]}
