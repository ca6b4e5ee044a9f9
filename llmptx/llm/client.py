"""One chat completion from any OpenAI-compatible endpoint, or a clear error. Whoever pays decides on retries.

The openai package is imported when a client first speaks. Knows neither budgets nor caches nor what is asked.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmptx.llm.errors import EndpointError
from llmptx.llm.profiles import Profile, profile_for
from llmptx.record import Completion, Message, Usage

if TYPE_CHECKING:
    import openai

OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a call: seconds to connect, between bytes and in all; bytes and tokens of the reply."""

    connect: float = 10.0
    read: float = 180.0
    total: float = 900.0
    size: int = 10_000_000
    tokens: int = 16_384


@dataclass(slots=True)
class _Reply:
    """What has arrived so far."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish: str = ""
    model: str = ""
    usage: Mapping[str, Any] | None = None


class Client:
    """A model at an endpoint. `Client("offline")` needs nothing; others need an address and a key.

    base_url, api_key   left out: what the model's profile says
    price               US dollars a million tokens, (input, output); left out: what the profile says

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
    ) -> None:
        self.model = model
        self.profile: Profile = profile_for(model, base_url)
        self.limits = limits or Limits()
        self.price = price or self.profile.price
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
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            self.profile.max_tokens_name: self.limits.tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.profile.seed:
            body["seed"] = sample
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
        reply = _Reply()
        with self._clear_errors():
            stream = self._open().chat.completions.create(**self.request(messages, sample))
            try:
                self._read(stream, reply)
            finally:
                stream.close()
        content = _text(reply.content)
        reasoning = _text(reply.reasoning)
        if not reply.finish:
            raise EndpointError(
                "cut",
                f"{self.endpoint} stopped in the middle of the reply, after {len(content):,} characters",
            )
        if not content.strip():
            raise EndpointError(
                "empty", f"{self.endpoint} sent an empty reply (finish reason {reply.finish!r})"
            )
        return Completion(
            model=reply.model or self.model,
            endpoint=self.endpoint,
            content=content,
            finish=reply.finish,
            usage=self._usage(reply.usage),
            seconds=time.perf_counter() - start,
            reasoning=reasoning,
            reasoning_kind="full" if reasoning else "none",
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

    def _read(self, stream: Any, reply: _Reply) -> None:
        """Read an event stream, or the whole answer of a server that does not stream."""
        kind = stream.response.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind == "application/json":
            body = json.loads(stream.response.read().decode("utf-8"))
            choice = body["choices"][0]
            _take(choice["message"], reply)
            reply.finish, reply.model = str(choice.get("finish_reason") or "stop"), _short(body.get("model"))
            reply.usage = body.get("usage")
            return
        if kind not in ("text/event-stream", ""):
            raise EndpointError(
                "rubbish",
                f"{self.endpoint} answered with {kind}, not an event stream: is the base URL right?",
            )
        for event in stream:
            chunk = event.to_dict(warnings=False)
            reply.model = reply.model or _short(chunk.get("model"))
            reply.usage = chunk.get("usage") or reply.usage
            for choice in (chunk.get("choices") or [])[:1]:
                _take(choice.get("delta") or {}, reply)
                reply.finish = str(choice.get("finish_reason") or reply.finish)

    def _usage(self, stated: Mapping[str, Any] | None) -> Usage:
        """Cost as the endpoint states it, else from the price; None without usage or price."""
        if not isinstance(stated, Mapping):
            return Usage(cost=0.0 if self.offline else None)
        asked, said = _count(stated.get("prompt_tokens")), _count(stated.get("completion_tokens"))
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
            text = f"{self.endpoint} sent something that is not the chat-completions protocol ({what})"
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

    def _said(self, text: object) -> str:
        """An endpoint's words, short, on one line and without the key some of them repeat."""
        words = " ".join(str(text).split())
        if len(self._api_key) >= 4:
            words = words.replace(self._api_key, "***")
        return words[:300]


def _take(message: Mapping[str, Any], reply: _Reply) -> None:
    for name, into in (
        ("content", reply.content),
        ("reasoning_content", reply.reasoning),
        ("reasoning", reply.reasoning),
    ):
        text = message.get(name)
        if isinstance(text, str) and text:
            into.append(text)
            if into is reply.reasoning:
                return


def _text(pieces: Sequence[str]) -> str:
    """The pieces as one text that UTF-8 can hold: JSON can name half a surrogate pair, which no text has."""
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _cause(error: BaseException | None, wanted: Callable[[BaseException], bool]) -> BaseException | None:
    while error is not None and not wanted(error):
        error = error.__cause__ or error.__context__
    return error


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _short(value: object) -> str:
    return _text([value[:200]]) if isinstance(value, str) else ""


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
