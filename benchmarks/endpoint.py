"""An endpoint that answers late and goes wrong by schedule: `python benchmarks/endpoint.py [--delay S] ...`.

Serves the offline library's replies over the chat-completions protocol on loopback, prints its base URL, and
ends with its stdin. Request number i goes wrong where the seed says so; GET /count tells how
many requests came and how many whole replies left. asyncio, so that hundreds may wait at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmptx.llm.library import answer

FAULTS = ("429", "500", "503", "cut", "stops", "json", "utf8", "empty", "hang")
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


@dataclass
class Service:
    """delay: seconds before an answer; rate: share that goes wrong; hang: seconds a silent one takes."""

    delay: float = 0.0
    rate: float = 0.0
    seed: int = 0
    faults: Sequence[str] = FAULTS
    hang: float = 5.0
    counts: Counter[str] = field(default_factory=Counter)

    def fault(self, number: int) -> str:
        """What goes wrong with request number `number`; "" for nothing."""
        dice = random.Random(f"{self.seed} {number}")
        return dice.choice(list(self.faults)) if dice.random() < self.rate else ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request after the other, until the client or a fault ends it."""
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone, as clients do
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
        if not head:
            return False
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        sizes = [line.split(":")[1] for line in lines if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(sizes[0]) if sizes else 0)
        if path.endswith("/count"):
            writer.write(_whole(200, json.dumps(self.counts).encode()))
            await writer.drain()
            return True
        number = self.counts["requests"]
        self.counts["requests"] += 1
        await asyncio.sleep(self.delay)
        kind = self.fault(number)
        self.counts[kind or "completions"] += 1
        if kind:
            return await self._wrong(kind, body, writer)
        reply = answer(method, path, body)
        stream = b"".join(reply.body)
        writer.write(_whole(reply.status, stream, dict(reply.headers)["content-type"]))
        await writer.drain()
        return True

    async def _wrong(self, kind: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Every fault but a status ends the connection."""
        if kind.isdigit():
            text = json.dumps({"error": {"message": "by schedule"}}).encode()
            writer.write(_whole(int(kind), text, retry="0.05" if kind == "429" else ""))
            await writer.drain()
            return True
        events = answer("POST", "/v1/chat/completions", body).body
        writer.write(EVENTS)
        if kind == "hang":
            await asyncio.sleep(self.hang)
        elif kind in ("cut", "stops"):
            writer.write(b"".join(events[:2]))
        elif kind == "json":
            writer.write(b'data: {"choices": [{"delta": \n\n')
        elif kind == "utf8":
            writer.write(b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n')
        else:
            writer.write(b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')
        await writer.drain()
        if kind == "cut":
            writer.transport.abort()
        return False


def _whole(status: int, body: bytes, kind: str = "application/json", retry: str = "") -> bytes:
    wait = f"retry-after: {retry}\r\n" if retry else ""
    head = f"HTTP/1.1 {status} .\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{wait}\r\n"
    return head.encode() + body


async def run(service: Service) -> None:
    """Serve until stdin ends; the base URL is the first line on stdout."""
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--rate", type=float, default=0.0, help="share of requests that go wrong")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hang", type=float, default=5.0, help="seconds that a hanging request is silent")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only these; may be given again")
    options = parser.parse_args()
    faults = options.fault or FAULTS
    asyncio.run(run(Service(options.delay, options.rate, options.seed, faults, options.hang)))


if __name__ == "__main__":
    main()
