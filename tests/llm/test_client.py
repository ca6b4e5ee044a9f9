"""The client against a real server on loopback: each way to go wrong has an outcome of its own."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from llmptx.llm.client import Client, Limits
from llmptx.llm.errors import EndpointError
from llmptx.llm.extract import ReplyError, ptx_of
from llmptx.llm.profiles import UnknownModelError
from llmptx.record import Message
from tests.llm.server import Endpoint

TASK = (
    Message("system", "You write PTX."),
    Message("user", "Please.\n\nroutine: numpy.add\ndtype: float32\n"),
)
QUICK = Limits(connect=2, read=0.5, total=5)


def ask(fault: str, limits: Limits = QUICK):
    with Endpoint([fault]) as endpoint:
        client = Client("offline", endpoint.url, "sk-very-secret", limits=limits)
        try:
            return client.complete(TASK)
        finally:
            client.close()


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("status 400", "status", "answered 400"),
        ("status 401", "status", "is the API key right"),
        ("status 404", "status", "are base URL and model right"),
        ("status 429 7", "status", "answered 429"),
        ("status 500", "status", "answered 500"),
        ("hang", "timeout", "sent nothing for 0.5 s"),
        ("cut", "cut", "broke the connection"),
        ("stops", "cut", "in the middle of the reply, after"),
        ("nothing", "cut", "in the middle of the reply, after 0 characters"),
        ("json", "rubbish", "not the chat-completions protocol"),
        ("shape", "rubbish", "not the chat-completions protocol"),
        ("utf8", "rubbish", "not the chat-completions protocol"),
        ("html", "rubbish", "text/html, not an event stream"),
        ("error", "cut", "overloaded, sorry"),
        ("empty", "empty", "empty reply"),
        ("huge", "too-large", "larger than 10,000,000 bytes"),
    ],
)
def test_each_fault_has_its_own_clear_outcome(fault: str, kind: str, says: str) -> None:
    with pytest.raises(EndpointError) as caught:
        ask(fault)
    assert (caught.value.kind, says in str(caught.value)) == (kind, True), str(caught.value)
    assert "sk-very-secret" not in str(caught.value)


def test_retry_after_and_status_are_kept() -> None:
    with pytest.raises(EndpointError) as caught:
        ask("status 429 7")
    assert (caught.value.status, caught.value.retry_after, caught.value.retryable) == (429, 7.0, True)


@pytest.mark.parametrize(
    ("fault", "fatal", "retryable", "billed"),
    [
        ("status 401", True, False, False),
        ("status 400", False, False, False),
        ("status 500", False, True, False),
        ("cut", False, True, True),
        ("huge", False, False, True),
    ],
)
def test_what_to_do_about_a_fault(fault: str, fatal: bool, retryable: bool, billed: bool) -> None:
    with pytest.raises(EndpointError) as caught:
        ask(fault)
    error = caught.value
    assert (error.fatal, error.retryable, error.maybe_billed) == (fatal, retryable, billed)


def test_a_stream_that_drips_for_ever_ends_at_the_total_limit() -> None:
    with pytest.raises(EndpointError, match=r"did not end within 0\.3 s") as caught:
        ask("drip", Limits(read=2, total=0.3))
    assert caught.value.kind == "timeout"


def test_a_closed_port_is_refused_and_fatal() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(EndpointError, match="cannot connect to") as caught:
            Client("offline", url, limits=QUICK).complete(TASK)
    assert caught.value.kind == "refused"
    assert caught.value.fatal


def test_a_reply_of_ten_megabytes_arrives_whole() -> None:
    completion = ask("large")
    assert len(completion.content) > 9_000_000
    with pytest.raises(ReplyError, match="no fenced block"):
        ptx_of(completion.content)


def test_http_and_the_transport_in_process_give_the_same_completion() -> None:
    with Endpoint() as endpoint:
        far = Client("offline", endpoint.url).complete(TASK)
    near = Client("offline").complete(TASK)
    assert (near.content, near.usage.input_tokens, near.finish) == (
        far.content,
        far.usage.input_tokens,
        far.finish,
    )
    assert ".entry numpy_add_float32" in ptx_of(near.content)
    assert (near.endpoint, near.model, near.usage.cost) == ("offline", "offline", 0.0)
    assert far.usage.cost is None


def test_a_server_that_does_not_stream_is_understood() -> None:
    assert ask("whole").content == Client("offline").complete(TASK).content


def test_reasoning_is_kept_apart_from_the_reply() -> None:
    completion = ask("reasoning")
    assert (completion.content, completion.reasoning, completion.reasoning_kind) == (
        "Done.",
        "Let me think.",
        "full",
    )


@pytest.mark.parametrize(
    ("stated", "price", "cost"),
    [("", (2.0, 10.0), 0.007), ('{"cost": 0.25}', (2.0, 10.0), 0.25), ("", None, None)],
)
def test_cost_is_the_endpoints_word_or_the_price(
    stated: str, price: tuple[float, float] | None, cost: float
) -> None:
    with Endpoint([f"priced {stated}"]) as endpoint:
        usage = Client("offline", endpoint.url, price=price).complete(TASK).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cost) == (1000, 500, cost)


def test_what_is_sent_is_what_is_hashed() -> None:
    with Endpoint() as endpoint:
        client = Client("offline", endpoint.url, "sk-1")
        client.complete(TASK, sample=3)
        assert endpoint.requests == [client.request(TASK, 3)]
        assert endpoint.headers[0]["authorization"] == "Bearer sk-1"
        assert client.request(TASK, 3)["seed"] == 3


def test_one_complete_is_one_request() -> None:
    with Endpoint(["status 500", "status 500"]) as endpoint:
        with pytest.raises(EndpointError):
            Client("offline", endpoint.url).complete(TASK)
        assert len(endpoint.requests) == 1


def test_the_upper_bound_is_above_what_the_call_costs() -> None:
    client = Client("offline", price=(2.0, 10.0))
    cost = client.complete(TASK).usage.cost
    bound = client.upper_bound(TASK)
    assert cost is not None
    assert bound is not None
    assert 0 < cost < bound


def test_keys_go_only_where_they_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.delenv("LLMPTX_API_KEY", raising=False)
    with Endpoint() as endpoint:
        Client("offline", endpoint.url).complete(TASK)
        assert "sk-openai" not in endpoint.headers[0]["authorization"]


def test_an_unknown_model_without_an_address_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="give the endpoint's base URL"):
        Client("hal-9000")


def test_half_a_surrogate_pair_does_not_break_what_follows() -> None:
    from llmptx.llm.reply import joined

    assert joined(["a\ud83d", "\ude00b"]) == "a\U0001f600b"
    assert joined(["a\ud83d"]).encode() == "a\ufffd".encode()


def test_importing_jobs_imports_no_model_library() -> None:
    code = "import sys, llmptx.jobs; print({'openai', 'httpx2', 'jinja2', 'numpy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
