"""One completion from any OpenAI-compatible endpoint, or a clear error. Whoever pays decides on retries.

The openai package is imported when a client first speaks. Knows neither budgets nor caches nor what is asked.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from llmptx.llm import chat, responses
from llmptx.llm.errors import EndpointError
from llmptx.llm.profiles import Profile, profile_for
from llmptx.llm.reply import Reply, count, joined
from llmptx.record import Completion, Message, Usage

if TYPE_CHECKING:
    import openai

OFFLINE = "offline"
Mode = Literal["online", "flex", "batch"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a call: seconds to connect, between bytes and in all; bytes and tokens of the reply."""

    connect: float = 10.0
    read: float = 180.0
    total: float = 900.0
    size: int = 10_000_000
    tokens: int = 16_384


_PROTOCOLS: Mapping[str, ModuleType] = {"chat": chat, "responses": responses}


class Client:
    """A model at an endpoint. `Client("offline")` needs nothing; others need an address and a key.

    base_url, api_key   left out: what the model's profile says
    price               US dollars a million tokens, (input, output); left out: what the profile says
    mode                online; flex: cheaper and slower, where an endpoint has it; batch: files of requests

    Safe to call from several threads. Raises UnknownModelError where no endpoint is known for the model.
    """

    def __init__(
        self,
        model: str,
        base_url: str = "",
        api_key: str = "",
        *,
        limits: Limits | None = None,
        price: tuple[float, float] | None = None,
        mode: Mode = "online",
    ) -> None:
        self.model = model
        self.profile: Profile = profile_for(model, base_url)
        self.limits = limits or Limits()
        full = price or self.profile.price
        cheaper = 1.0 if mode == "online" else self.profile.discount
        self.price = (full[0] * cheaper, full[1] * cheaper) if full else None
        self.mode: Mode = mode
        self.protocol = _PROTOCOLS[self.profile.api]
        self.offline = not self.profile.base_url
        self.endpoint = OFFLINE if self.offline else self.profile.base_url
        self._api_key = api_key or self.profile.api_key()
        self._sdk: openai.OpenAI | None = None

    @property
    def identity(self) -> str:
        """The endpoint as cached replies are filed: the offline model is another one with other kernels."""
        if not self.offline:
            return self.endpoint
        from llmptx.llm.library import library_hash

        return f"{OFFLINE}#{library_hash()}"

    def request(self, messages: Sequence[Message], sample: int = 0) -> dict[str, Any]:
        """The body of the call, whole: what is sent is what is hashed. `sample` > 0 asks for another draw."""
        stream = self.profile.stream and self.mode != "batch"
        body: dict[str, Any] = self.protocol.body(
            self.model, messages, self.limits.tokens, sample, self.profile, stream
        )
        if self.mode == "flex":
            body["service_tier"] = "flex"
        return body

    def upper_bound(self, messages: Sequence[Message]) -> float | None:
        """The most the call can cost in US dollars, a token being a byte at least; None: price not known."""
        if self.price is None:
            return None
        asked = sum(len(message.content.encode()) + 16 for message in messages)
        return (asked * self.price[0] + self.limits.tokens * self.price[1]) / 1e6

    def complete(self, messages: Sequence[Message], *, sample: int = 0) -> Completion:
        """Ask once. Raises EndpointError, and nothing else for whatever the endpoint does."""
        start = time.perf_counter()
        reply = Reply()
        body = self.request(messages, sample)
        with self._clear_errors():
            calls = self._open()
            create = calls.responses if self.profile.api == "responses" else calls.chat.completions
            if body.get("stream"):
                stream = create.create(**body)
                try:
                    self._read(stream, reply)
                finally:
                    stream.close()
            else:
                raw = create.with_raw_response.create(**body)
                self.protocol.answer(json.loads(raw.http_response.read()), reply, self.profile)
        return self._completion(reply, time.perf_counter() - start)

    def read(self, answer: Mapping[str, Any]) -> Completion:
        """A completion from the body of an answer that came by another way, a batch's file say.

        Raises EndpointError.
        """
        reply = Reply()
        with self._clear_errors():
            self.protocol.answer(answer, reply, self.profile)
        return self._completion(reply, 0.0)

    def _completion(self, reply: Reply, seconds: float) -> Completion:
        content = joined(reply.content)
        if not reply.finish:
            raise EndpointError(
                "cut",
                f"{self.endpoint} stopped in the middle of the reply, after {len(content):,} characters",
            )
        if not content.strip():
            raise EndpointError(
                "empty", f"{self.endpoint} sent an empty reply (finish reason {reply.finish!r})"
            )
        reasoning, kind = reply.thought
        return Completion(
            model=reply.model or self.model,
            endpoint=self.endpoint,
            content=content,
            finish=reply.finish,
            usage=self._usage(reply.usage),
            seconds=seconds,
            reasoning=reasoning,
            reasoning_kind=kind,
        )

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._sdk is not None:
            self._sdk.close()
            self._sdk = None

    def _open(self) -> openai.OpenAI:
        if self._sdk is None:
            import httpx2
            import openai

            from llmptx.llm.transport import OfflineTransport, limits

            bounds = self.limits
            read = min(bounds.read, bounds.total)
            self._sdk = openai.OpenAI(
                base_url=self.profile.base_url or "http://offline.invalid/v1",
                api_key=self._api_key or "none",
                max_retries=0,
                http_client=httpx2.Client(
                    transport=OfflineTransport() if self.offline else None,
                    timeout=httpx2.Timeout(read, connect=bounds.connect),
                    event_hooks=dict(limits(bounds.total, bounds.size)),
                    headers={"accept-encoding": "identity"},
                ),
            )
        return self._sdk

    def _read(self, stream: Any, reply: Reply) -> None:
        """Read an event stream, or the whole answer of a server that does not stream."""
        kind = stream.response.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind == "application/json":
            self.protocol.answer(json.loads(stream.response.read().decode("utf-8")), reply, self.profile)
            return
        if kind not in ("text/event-stream", ""):
            raise EndpointError(
                "rubbish",
                f"{self.endpoint} answered with {kind}, not an event stream: is the base URL right?",
            )
        for event in stream:
            self.protocol.event(event.to_dict(warnings=False), reply, self.profile)

    def _usage(self, stated: Mapping[str, Any] | None) -> Usage:
        """Cost as the endpoint states it, else from the price; None without usage or price."""
        if not isinstance(stated, Mapping):
            return Usage(cost=0.0 if self.offline else None)
        asked, said = count(stated.get("prompt_tokens")), count(stated.get("completion_tokens"))
        cost = stated.get("cost")
        if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < 1e6:
            return Usage(asked, said, float(cost))
        if self.price is None:
            return Usage(asked, said, None)
        return Usage(asked, said, (asked * self.price[0] + said * self.price[1]) / 1e6)

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        import httpx2
        import openai

        try:
            yield
        except EndpointError:
            raise
        except (openai.APITimeoutError, httpx2.TimeoutException) as error:
            raise self._timeout(error) from error
        except openai.APIStatusError as error:
            raise self._status(error) from error
        except (openai.APIConnectionError, httpx2.TransportError) as error:
            raise self._connection(error) from error
        except openai.APIResponseValidationError as error:
            raise EndpointError("rubbish", f"{self.endpoint} sent an answer of another shape") from error
        except openai.APIError as error:
            raise EndpointError(
                "cut", f"{self.endpoint} ended the stream with an error: {self._said(error.message)}"
            ) from error
        except (ValueError, TypeError, LookupError, AttributeError, httpx2.HTTPError) as error:
            what = f"{type(error).__name__}: {self._said(error)}"
            text = f"{self.endpoint} sent something that is not the {self._speech} protocol ({what})"
            raise EndpointError("rubbish", text) from error

    def _timeout(self, error: Exception) -> EndpointError:
        import httpx2

        if isinstance(_cause(error, lambda e: isinstance(e, httpx2.ConnectTimeout)), httpx2.ConnectTimeout):
            return EndpointError(
                "refused", f"{self.endpoint} did not take the connection within {self.limits.connect:g} s"
            )
        return EndpointError(
            "timeout", f"{self.endpoint} sent nothing for {min(self.limits.read, self.limits.total):g} s"
        )

    def _connection(self, error: Exception) -> EndpointError:
        """No connection at all, or one that broke: only in the second case may a model have worked."""
        import httpx2

        ours = _cause(error, lambda e: isinstance(e, EndpointError))
        if isinstance(ours, EndpointError):
            return ours
        cause = _cause(error, lambda e: isinstance(e, httpx2.TransportError)) or error
        if isinstance(cause, httpx2.ConnectError | httpx2.UnsupportedProtocol | httpx2.ProxyError):
            return EndpointError("refused", f"cannot connect to {self.endpoint}: {self._said(cause)}")
        return EndpointError("cut", f"{self.endpoint} broke the connection: {self._said(cause)}")

    def _status(self, error: openai.APIStatusError) -> EndpointError:
        hint = {
            401: "; is the API key right?",
            403: "; may this key use this model?",
            404: "; are base URL and model right?",
        }
        said = self._said(error.message)
        text = (
            f"{self.endpoint} answered {error.status_code}{hint.get(error.status_code, '')} {said}".rstrip()
        )
        wait = _seconds(error.response.headers.get("retry-after"))
        return EndpointError("status", text, status=error.status_code, retry_after=wait)

    @property
    def _speech(self) -> str:
        return "responses" if self.profile.api == "responses" else "chat-completions"

    def _said(self, text: object) -> str:
        """An endpoint's words, short, on one line and without the key some of them repeat."""
        words = " ".join(str(text).split())
        if len(self._api_key) >= 4:
            words = words.replace(self._api_key, "***")
        return words[:300]


def _cause(error: BaseException | None, wanted: Callable[[BaseException], bool]) -> BaseException | None:
    while error is not None and not wanted(error):
        error = error.__cause__ or error.__context__
    return error


def _seconds(value: str | None) -> float | None:
    """A Retry-After header in seconds; an HTTP date counts from now."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
