"""Runs the review page on a socket of this machine until it is interrupted."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from llmptx.review.web.access import LOOPBACK, Person
from llmptx.review.web.app import build


def run(
    root: Path, host: str, port: int, names: tuple[str, ...], reviewer: str, ready: Callable[[str], None]
) -> None:
    """Serve the workspace `root` as `reviewer`'s; `ready` is told the address that logs them in.

    names  others that the site is reached by. Raises OSError where the port is taken.
    """
    token = secrets.token_urlsafe(24)
    gate, site = build(root, started=(token, Person(reviewer, "admin")), hosts=(*LOOPBACK, host, *names))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            shown = f"[{host}]" if ":" in host else host
            ready(f"http://{shown}:{listening.getsockname()[1]}/login?token={token}")
            # No access log: addresses carry tokens.
            config = uvicorn.Config(gate, log_level="warning", access_log=False, server_header=False)
            uvicorn.Server(config).run([listening])
    finally:
        site.close()
