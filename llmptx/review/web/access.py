"""Who may do what: tokens, sessions, rates, and what a browser is told about a page.

Knows names and roles; nothing of kernels. A token is kept as its SHA-256 alone and shown once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from llmptx.review.desk import replace_file

Role = Literal["viewer", "reviewer", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "reviewer", "admin")
COOKIE = "llmptx_session"
SESSION_SECONDS = 12 * 3600
LOGINS, WRITES, READS = (10, 60.0), (240, 60.0), (1200, 60.0)  # so many, in so many seconds
LARGEST_FORM = 64 * 1024
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who may look (viewer), decide (reviewer), or also undo what others decided (admin)."""

    name: str
    role: Role

    @property
    def decides(self) -> bool:
        return self.role != "viewer"


@dataclass(frozen=True, slots=True)
class Token:
    """A person's way in, as it is on disk."""

    name: str
    role: Role
    sha256: str


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens on file. Raises ValueError for a file that holds something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    if not isinstance(data, dict) or data.get("schema") != "llmptx/tokens/1":
        raise ValueError(f"{path}: not of schema 'llmptx/tokens/1'")
    return tuple(Token(**row) for row in data["tokens"])


def add_token(path: Path, name: str, role: Role) -> str:
    """A new token for a person, whose earlier one no longer lets them in. It is told here and never again."""
    secret = secrets.token_urlsafe(24)
    kept = [token for token in read_tokens(path) if token.name != name]
    rows = [asdict(token) for token in (*kept, Token(name, role, _digest(secret)))]
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps({"schema": "llmptx/tokens/1", "tokens": rows}, indent=2) + "\n")
    path.chmod(0o600)
    return secret


class Rates:
    """How often somebody did something lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: dict[tuple[str, str], deque[float]] = defaultdict(deque)

    def allow(self, who: str, what: str, limit: tuple[int, float]) -> bool:
        """Whether once more is within the limit; counted where it is."""
        count, seconds = limit
        now, times = self._clock(), self._times[who, what]
        while times and times[0] <= now - seconds:
            times.popleft()
        if len(times) >= count:
            return False
        times.append(now)
        return True


class Gate:
    """The door: an ASGI middleware that lets in whom it knows, and only requests of this site's own pages.

    tokens   the file of people's tokens, read anew when somebody logs in
    started  (token, person) of whoever started the server
    hosts    names the site is reached by; a request for any other is another site's
    """

    def __init__(
        self, app: Any, *, tokens: Path, started: tuple[str, Person] | None, hosts: tuple[str, ...]
    ) -> None:
        self.app, self.tokens, self.hosts = app, tokens, hosts
        self._started = started
        self._sessions: dict[str, tuple[Person, float]] = {}
        self._rates = Rates()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        response = await self._answer(request)
        if response is not None:
            response.headers.update(HEADERS)
            await response(scope, receive, send)
            return

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self.app(scope, receive, sending)

    async def _answer(self, request: Request) -> Response | None:
        """The response to a request that goes no further; None for one that may."""
        host = re.sub(r":\d+$", "", request.headers.get("host", ""))
        if host not in self.hosts:
            return PlainTextResponse("this site is not reached by that name\n", 400)
        path = request.url.path
        if request.method not in ("GET", "HEAD") and not self._own(request):
            return PlainTextResponse("the request comes from another site's page\n", 403)
        if path.startswith("/static/"):
            return None
        if path == "/login":
            return await self._login(request)
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        if session is None or session[1] < time.time():
            return RedirectResponse("/login", 303)
        person = session[0]
        write = request.method not in ("GET", "HEAD")
        if not self._rates.allow(person.name, "write" if write else "read", WRITES if write else READS):
            return PlainTextResponse("too many requests; wait a minute\n", 429)
        if write and not person.decides:
            return PlainTextResponse(f"{person.name} may look, not decide\n", 403)
        if write and int(request.headers.get("content-length") or LARGEST_FORM + 1) > LARGEST_FORM:
            return PlainTextResponse("the form is too large\n", 413)
        if path == "/logout" and write:
            del self._sessions[request.cookies[COOKIE]]
            return RedirectResponse("/login", 303)
        request.scope["person"] = person
        return None

    def _own(self, request: Request) -> bool:
        origin = request.headers.get("origin", "")
        return hmac.compare_digest(origin, f"{request.url.scheme}://{request.headers['host']}")

    async def _login(self, request: Request) -> Response | None:
        """In with a token: from the form, or from the address that the server printed when it started."""
        if request.method == "POST":
            given = str((await request.form(max_files=0)).get("token", ""))
        else:
            given = request.query_params.get("token", "")
        if not given:
            return None
        where = request.client.host if request.client else ""
        if not self._rates.allow(where, "login", LOGINS):
            return PlainTextResponse("too many tries; wait a minute\n", 429)
        person = self._who(given)
        if person is None:
            return RedirectResponse("/login?wrong=1", 303)
        session = secrets.token_urlsafe(32)
        self._sessions[session] = (person, time.time() + SESSION_SECONDS)
        response = RedirectResponse("/", 303)
        safe = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=safe
        )
        return response

    def _who(self, given: str) -> Person | None:
        digest = _digest(given)
        found = None
        if self._started and hmac.compare_digest(_digest(self._started[0]), digest):
            found = self._started[1]
        for token in read_tokens(self.tokens):
            if hmac.compare_digest(token.sha256, digest):
                found = Person(token.name, token.role)
        return found


def person_of(request: Request) -> Person:
    """Who asks; the gate has let them in."""
    person: Person = request.scope["person"]
    return person


def form_text(form: Mapping[str, Any], name: str) -> str:
    """A field of a form, as text; empty where it is not there."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
