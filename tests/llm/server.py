"""A loopback endpoint: the chat-completions protocol over real sockets, and every fault on request."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llmptx.llm.library import answer


class Endpoint:
    """Serves the offline library's replies at `.url`; requests take the faults of `.faults` first.

    `.requests` holds the body of every completion request that arrived, in order.
    """

    def __init__(self, faults: Iterable[str] = ()) -> None:
        self.faults: deque[str] = deque(faults)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Endpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            endpoint.requests.append(json.loads(body))
            endpoint.headers.append({k.lower(): v for k, v in self.headers.items()})
            fault, _, value = (endpoint.faults.popleft() if endpoint.faults else "").partition(" ")
            if fault:
                getattr(self, f"fault_{fault}")(value, body)
            else:
                self.honest(body)

        def honest(self, body: bytes) -> None:
            reply = answer("POST", self.path, body)
            kind = dict(reply.headers)["content-type"]
            self.begin(reply.status, kind)
            self.pieces(reply.body)
            self.end()

        def begin(self, status: int, kind: str = "text/event-stream", **headers: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("transfer-encoding", "chunked")
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def pieces(self, chunks: Iterable[bytes]) -> None:
            for chunk in chunks:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

        def end(self) -> None:
            self.wfile.write(b"0\r\n\r\n")

        def stream(self, *chunks: bytes) -> None:
            self.begin(200)
            self.pieces(chunks)
            self.end()

        def events(self, text: str, finish: str = "stop") -> None:
            self.stream(event(text), event("", finish), b"data: [DONE]\n\n")

        # Faults: `name value` in Endpoint.faults

        def fault_status(self, value: str, body: bytes) -> None:
            status, *rest = value.split()
            headers = {"retry_after": rest[0]} if rest else {}
            self.begin(int(status), "application/json", **headers)
            key = self.headers["authorization"].split()[-1]
            self.pieces([json.dumps({"error": {"message": f"no, says the server to {key}"}}).encode()])
            self.end()

        def fault_hang(self, value: str, body: bytes) -> None:
            endpoint.open.wait(30)
            self.close_connection = True

        def fault_drip(self, value: str, body: bytes) -> None:
            """Never silent, never done."""
            self.begin(200)
            for _ in range(300):
                if endpoint.open.is_set():
                    break
                self.pieces([b": still here\n\n"])
                time.sleep(0.02)
            self.close_connection = True

        def fault_cut(self, value: str, body: bytes) -> None:
            """The connection breaks after the first words."""
            self.begin(200)
            self.pieces(answer("POST", self.path, body).body[:2])
            self.close_connection = True

        def fault_stops(self, value: str, body: bytes) -> None:
            """The stream ends cleanly, but before its last event."""
            self.stream(*answer("POST", self.path, body).body[:2])

        def fault_json(self, value: str, body: bytes) -> None:
            self.stream(b'data: {"choices": [{"delta": \n\n')

        def fault_shape(self, value: str, body: bytes) -> None:
            self.stream(b'data: {"choices": "none today"}\n\n', b"data: [1, 2]\n\n", b"data: [DONE]\n\n")

        def fault_utf8(self, value: str, body: bytes) -> None:
            self.stream(b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n')

        def fault_html(self, value: str, body: bytes) -> None:
            self.begin(200, "text/html")
            self.pieces([b"<html><body>Log in to the hotel's network</body></html>"])
            self.end()

        def fault_error(self, value: str, body: bytes) -> None:
            self.stream(event("Here is"), b'data: {"error": {"message": "overloaded, sorry"}}\n\n')

        def fault_empty(self, value: str, body: bytes) -> None:
            self.events("")

        def fault_nothing(self, value: str, body: bytes) -> None:
            self.stream()

        def fault_huge(self, value: str, body: bytes) -> None:
            self.begin(200)
            piece = event("x" * 60_000)
            try:
                for _ in range(200):
                    self.pieces([piece])
                self.end()
            except OSError:
                self.close_connection = True

        def fault_large(self, value: str, body: bytes) -> None:
            """A reply of ten megabytes, whole."""
            self.events("no PTX here " * (9_400_000 // 12))

        def fault_prose(self, value: str, body: bytes) -> None:
            self.events("I would rather not write PTX today.")

        def fault_short(self, value: str, body: bytes) -> None:
            self.events("```ptx\n.version 8.0\n.visible .entry f(\n", finish="length")

        def fault_reasoning(self, value: str, body: bytes) -> None:
            thought = json.dumps({"choices": [{"index": 0, "delta": {"reasoning_content": "Let me think."}}]})
            self.stream(b"data: " + thought.encode() + b"\n\n", event("Done."), event("", "stop"))

        def fault_whole(self, value: str, body: bytes) -> None:
            """A server that does not stream."""
            reply = answer("POST", self.path, json.dumps({**json.loads(body), "stream": False}).encode())
            self.begin(200, "application/json")
            self.pieces(reply.body)
            self.end()

        def fault_raw(self, value: str, body: bytes) -> None:
            """`value` is the whole answer, JSON."""
            self.begin(200, "application/json")
            self.pieces([value.encode()])
            self.end()

        def fault_sse(self, value: str, body: bytes) -> None:
            """`value` is a JSON list of events."""
            self.stream(*(b"data: " + json.dumps(each).encode() + b"\n\n" for each in json.loads(value)))

        def fault_priced(self, value: str, body: bytes) -> None:
            usage = {"prompt_tokens": 1000, "completion_tokens": 500, **json.loads(value or "{}")}
            last = json.dumps({"choices": [], "usage": usage}).encode()
            self.stream(event("Well."), event("", "stop"), b"data: " + last + b"\n\n", b"data: [DONE]\n\n")

        def fault_silent(self, value: str, body: bytes) -> None:
            """An honest reply without its usage."""
            self.stream(*(c for c in answer("POST", self.path, body).body if b'"usage"' not in c))

    return Handler


def event(text: str, finish: str | None = None) -> bytes:
    """One streamed event."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
