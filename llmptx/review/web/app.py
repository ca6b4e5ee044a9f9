"""The review page as a Starlette application: addresses, forms, and who may ask. Decides nothing itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from anyio import to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from llmptx.review.decisions import Key
from llmptx.review.desk import Desk, ReviewError, replace_file
from llmptx.review.index import Index, Row
from llmptx.review.plain import plain, plain_line
from llmptx.review.queue import Entry
from llmptx.review.web import pages
from llmptx.review.web.access import LOOPBACK, Gate, Person, form_text, person_of
from llmptx.review.web.difference import difference
from llmptx.review.web.trials import TrialError, special, typed
from llmptx.run.worker import Pool

HERE = Path(__file__).parent
MOST_FILTERS = 30
MOST_REJECTED = 200


class Site:
    """The pages of one workspace. `close` ends the worker that runs typed-in values."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.desk = Desk(root)
        self.index = Index(self.desk)
        self.pool = Pool(1)
        self._filters = root / ".llmptx" / "filters.json"
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"plain": plain, "line": plain_line, "path": address}

    def close(self) -> None:
        self.pool.close()

    def routes(self) -> list[Route | Mount]:
        kernel = "/kernel/{routine}/{dtype}/{hash}"
        return [
            Route("/", self.inbox),
            Route("/login", self.login),
            Route("/help", self.help),
            Route("/jobs", self.jobs),
            Route("/audit.jsonl", self.audit),
            Route("/filters", self.save_filter, methods=["POST"]),
            Route("/reject", self.bulk_reject, methods=["POST"]),
            Route(kernel, self.kernel),
            Route(kernel + "/ptx", self.raw),
            Route(kernel + "/special", self.special),
            Route(kernel + "/run", self.run, methods=["POST"]),
            Route(kernel + "/decide", self.decide, methods=["POST"]),
            Route(kernel + "/undo", self.undo, methods=["POST"]),
            Route(kernel + "/comment", self.comment, methods=["POST"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]

    # -- looking

    async def inbox(self, request: Request) -> Response:
        person, asked = person_of(request), pages.Filter.of(request.query_params)
        rows = await to_thread.run_sync(self.index.rows)
        again = pages.changed(rows, self.index.log(), person.name)
        chosen = pages.chosen(rows, asked, again)
        last = max(1, -(-len(chosen) // pages.PAGE))
        page = min(asked.page, last)
        return self._page(
            "inbox.html",
            request,
            asked=asked,
            rows=chosen[(page - 1) * pages.PAGE : page * pages.PAGE],
            total=len(chosen),
            page=page,
            last=last,
            counts=pages.counts(rows, again),
            models=sorted({plain_line(row.model) for row in rows}),
            filters=self._saved(person),
            problems=self.index.problems[-5:],
            reasons=pages.REASONS,
            done=request.query_params.get("done", "")[:200],
        )

    async def kernel(self, request: Request) -> Response:
        try:
            return await self._kernel(request, _key(request))
        except ReviewError as error:
            return self._page("error.html", request, 404, message=str(error))

    async def _kernel(
        self, request: Request, key: Key, status: int = 200, message: str = "", kept: str = ""
    ) -> Response:
        entry = await to_thread.run_sync(self.index.entry, key)
        rows = self.index.rows()
        spec = pages.spec(*key[:2])
        comments = self.index.comments(key)
        shown, loose = pages.source(entry.candidate.text, entry.verdict.findings, comments)
        ahead, behind = _neighbours(rows, key)
        approved = self._approved(rows, key)
        return self._page(
            "kernel.html",
            request,
            status,
            entry=entry,
            key=key,
            spec=spec,
            source=shown,
            loose=loose,
            comments=[c for c in comments if c.line == 0],
            turns=pages.turns(entry),
            curve=pages.curve(entry, spec.limit),
            histogram=pages.histogram(entry),
            changes=difference(approved.candidate.text, entry.candidate.text) if approved else (),
            against=approved,
            log=[r for r in self.index.log() if (r.routine, r.dtype, r.candidate) == key],
            next=ahead,
            previous=behind,
            reasons=pages.REASONS,
            message=message,
            done=request.query_params.get("done", "")[:200],
            kept=kept,
            long=len(entry.candidate.text) > pages.LONGEST,
        )

    async def raw(self, request: Request) -> Response:
        try:
            entry = self.index.entry(_key(request))
        except ReviewError as error:
            return PlainTextResponse(f"{error}\n", 404)
        name = f"{entry.candidate.routine}-{entry.candidate.dtype}-{entry.candidate.hash[:12]}.ptx"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return PlainTextResponse(entry.candidate.text, headers=headers)

    async def special(self, request: Request) -> Response:
        return await self._trial(request, partial(special, self.pool))

    async def run(self, request: Request) -> Response:
        form = await request.form(max_files=0)
        count = len(pages.spec(*_key(request)[:2]).inputs)
        fields = [form_text(form, f"in{at}") for at in range(count)]
        return await self._trial(request, partial(typed, self.pool), fields)

    async def _trial(self, request: Request, run: Any, *rest: Any) -> Response:
        routine, dtype, _ = key = _key(request)
        try:
            text = self.index.entry(key).candidate.text
            results = await to_thread.run_sync(run, text, routine, dtype, *rest)
            return self._page("results.html", request, results=results, message="")
        except (ReviewError, TrialError) as error:
            return self._page("results.html", request, results=(), message=str(error))

    async def jobs(self, request: Request) -> Response:
        part = request.headers.get("hx-request") == "true"
        jobs = await to_thread.run_sync(_jobs, self.root / ".llmptx" / "jobs.sqlite")
        return self._page("jobs_part.html" if part else "jobs.html", request, jobs=jobs)

    async def audit(self, request: Request) -> Response:
        lines = await to_thread.run_sync(lambda: "".join(line + "\n" for line in self.desk.audit()))
        headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
        return Response(lines, media_type="application/jsonl", headers=headers)

    async def help(self, request: Request) -> Response:
        return self._page("help.html", request)

    async def login(self, request: Request) -> Response:
        return self._page("login.html", request, wrong="wrong" in request.query_params)

    # -- deciding

    async def decide(self, request: Request) -> Response:
        """A decision, bound to what the person saw: where another came in between, nothing is filed."""
        key, form, person = _key(request), await request.form(max_files=0), person_of(request)
        decision = form_text(form, "decision")
        reason = _reason(form.getlist("reason"), form_text(form, "text"))
        try:
            entry = self.index.entry(key)
            if form_text(form, "seen") != str(entry.standing.count):
                last = entry.standing.decision
                said = (
                    f"{last.reviewer} decided meanwhile: {last.decision}"
                    if last
                    else "it was undone meanwhile"
                )
                message = f"{said}. Nothing of yours was filed; look again and decide."
                return await self._kernel(request, key, 409, message, reason)
            after = self._next(key)
            act = {"approve": self.desk.approve, "reject": self.desk.reject, "return": self.desk.send_back}
            if decision not in act:
                raise ReviewError(f"{decision[:40]!r} is no decision")
            await to_thread.run_sync(act[decision], entry, person.name, reason)
        except ReviewError as error:
            return await self._kernel(request, key, 400, str(error), reason)
        words = {"approve": "approved", "reject": "rejected", "return": "sent back"}[decision]
        done = quote(f"{words}: {key[0]} {key[1]} {key[2][:12]}")
        return RedirectResponse(f"{address(after)}?done={done}" if after else f"/?done={done}", 303)

    async def undo(self, request: Request) -> Response:
        key = _key(request)
        try:
            person = person_of(request)
            await to_thread.run_sync(
                self.desk.undo, self.index.entry(key), person.name, person.role == "admin"
            )
        except ReviewError as error:
            return await self._kernel(request, key, 400, str(error))
        return RedirectResponse(address(key), 303)

    async def comment(self, request: Request) -> Response:
        key, form = _key(request), await request.form(max_files=0)
        line = form_text(form, "line")
        try:
            number = int(line) if line.isascii() and line.isdigit() else -1
            entry = self.index.entry(key)
            self.desk.comment(entry, number, form_text(form, "text"), person_of(request).name)
        except ReviewError as error:
            return await self._kernel(request, key, 400, str(error))
        return RedirectResponse(f"{address(key)}#L{number}", 303)

    async def bulk_reject(self, request: Request) -> Response:
        """Many at once may be rejected, never approved."""
        form, person = await request.form(max_files=0), person_of(request)
        reason = _reason(form.getlist("reason"), form_text(form, "text"))
        done = 0
        try:
            for key in [_addressed(str(one)) for one in form.getlist("chosen")][:MOST_REJECTED]:
                await to_thread.run_sync(self.desk.reject, self.index.entry(key), person.name, reason)
                done += 1
        except ReviewError as error:
            return self._page("error.html", request, 400, message=f"{done} rejected; then: {error}")
        return RedirectResponse(f"/?done={quote(f'{done} rejected')}", 303)

    async def save_filter(self, request: Request) -> Response:
        form, person = await request.form(max_files=0), person_of(request)
        name, query = form_text(form, "name").strip()[:40], form_text(form, "query")[:400]
        saved = self._all_filters()
        mine = {k: v for k, v in saved.get(person.name, {}).items() if k != name}
        if name and form_text(form, "forget") != "yes":
            kept = pages.Filter.of(dict(parse_qsl(query))).query()
            mine = dict([*mine.items(), (name, kept)][-MOST_FILTERS:])
        self._filters.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._filters, json.dumps({**saved, person.name: mine}, indent=2) + "\n")
        return RedirectResponse(f"/?{mine.get(name, '')}", 303)

    # -- parts

    def _page(self, template: str, request: Request, status: int = 200, **values: Any) -> HTMLResponse:
        person: Person | None = request.scope.get("person")
        text = self._templates.get_template(template).render(person=person, **values)
        return HTMLResponse(text, status)

    def _approved(self, rows: list[Row], key: Key) -> Entry | None:
        """The kernel of the task that was approved last, other than this."""
        others = [r for r in rows if r.key[:2] == key[:2] and r.key != key and r.state == "approved"]
        if not others:
            return None
        last = max(others, key=lambda row: row.standing.decision.created if row.standing.decision else "")
        return self.index.entry(last.key)

    def _next(self, key: Key) -> Key | None:
        return _neighbours(self.index.rows(), key)[0]

    def _saved(self, person: Person) -> Mapping[str, str]:
        return self._all_filters().get(person.name, {})

    def _all_filters(self) -> dict[str, dict[str, str]]:
        try:
            data = json.loads(self._filters.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}


def build(
    root: Path, *, started: tuple[str, Person] | None = None, hosts: tuple[str, ...] = LOOPBACK
) -> tuple[Gate, Site]:
    """The application behind its gate, and the site, to be closed.

    started  (token, person) of whoever starts the server; hosts: names it is reached by
    """
    site = Site(root)
    app = Starlette(routes=site.routes())
    return Gate(app, tokens=root / ".llmptx" / "tokens.json", started=started, hosts=hosts), site


def address(key: Key) -> str:
    """Of a kernel's page."""
    return "/kernel/" + "/".join(quote(part, safe="") for part in key)


def _addressed(path: str) -> Key:
    """The kernel whose page has that address."""
    parts = [unquote(part) for part in path.split("/")]
    if len(parts) != 5:
        raise ReviewError(f"{path[:80]!r} is no kernel's address")
    return parts[2], parts[3], parts[4]


def _key(request: Request) -> Key:
    parts = request.path_params
    return parts["routine"], parts["dtype"], parts["hash"]


def _neighbours(rows: list[Row], key: Key) -> tuple[Key | None, Key | None]:
    """The next one that waits after this, and the one before, in the inbox's order."""
    waiting = [row.key for row in rows if row.state == "waiting" or row.key == key]
    at = waiting.index(key) if key in waiting else -1
    others = [k for k in waiting if k != key]
    following = waiting[at + 1] if at + 1 < len(waiting) else (others[0] if others else None)
    return following, waiting[at - 1] if at > 0 else None


def _reason(chosen: list[Any], text: str) -> str:
    listed = [one for one in chosen if one in pages.REASONS]
    return "; ".join([*listed, *([text.strip()[:4000]] if text.strip() else [])])


def _jobs(path: Path) -> list[dict[str, Any]]:
    from llmptx.jobs.store import Store

    if not path.exists():
        return []
    with Store(path, readonly=True) as store:
        rows = []
        for job in reversed(store.jobs()):
            total = sum(job.states.values())
            done, failed = job.states.get("done", 0), job.states.get("failed", 0)
            rows.append(
                {
                    "id": job.id,
                    "model": job.spec.model,
                    "level": job.spec.level,
                    "total": total,
                    "done": done,
                    "failed": failed,
                    "waiting": total - done - failed,
                    "cancelled": job.cancelled,
                    "share": (done + failed) / total if total else 0.0,
                    "recent": [i for i in store.items(job.id) if i.state == "done"][-6:],
                }
            )
        return rows
