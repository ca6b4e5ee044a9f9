"""The ledger of paid calls: what was asked, what came back, what it cost, and what it may have cost.

A call's key is the SHA-256 of endpoint, request and sample index. Its states:

    planned    on file, nothing is held for it
    reserved   the most it can cost is held
    sent       committed before the request leaves
    received   the reply is on file
    settled    so is its cost
    unknown    sent before a crash, no reply will come: it stays charged, and is sent again only on request

A try that failed but may have been billed is charged as a loss. Budgets are sums over all of this, so no
crash and no resume resets them. Knows no HTTP.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from llmptx.jobs.errors import BudgetSpentError, UnknownOutcomeError
from llmptx.jobs.store import Store
from llmptx.record import Completion, Usage, canonical, digest

# What a call stands for in a budget: its cost once known, until then the most it can be.
_CHARGE = """CASE WHEN state = 'settled' THEN coalesce(cost, 0)
    WHEN state IN ('reserved', 'sent', 'received', 'unknown') THEN reserved ELSE 0 END"""


@dataclass(frozen=True, slots=True)
class Call:
    """A call to be made: for which job, and the most it can cost in US dollars."""

    key: str
    job: int
    endpoint: str
    model: str
    sample: int
    bound: float


class Ledger:
    """The calls of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @staticmethod
    def key(endpoint: str, request: Mapping[str, Any], sample: int) -> str:
        return digest([endpoint, request, sample])

    def reply(self, key: str) -> Completion | None:
        """The reply on file, if there is one."""
        found = self._store.rows("SELECT reply FROM calls WHERE key = ? AND reply IS NOT NULL", key)
        return completion_of(found[0]["reply"]) if found else None

    def reserve(self, call: Call, budget: float | None = None, *, resend: bool = False) -> None:
        """Hold the most the call can cost.

        Raises BudgetSpentError where less than that is left of the job's budget, and UnknownOutcomeError for
        a call whose outcome a crash has hidden; with `resend` that one counts as lost, and this is another.
        """
        with self._store.transaction(paid=False) as db:  # nothing has left yet
            row = db.execute("SELECT * FROM calls WHERE key = ?", (call.key,)).fetchone()
            if row is not None and row["state"] == "unknown":
                if not resend:
                    raise UnknownOutcomeError(
                        "this request was sent before a crash, and its reply is lost; up to "
                        f"${row['reserved']:.4f} may have been billed. It is sent again only when asked for"
                    )
                _lose(db, row)
            if budget is not None and (spent := _spent(db, call.job)) + call.bound > budget:
                text = (
                    f"${spent:.4f} of ${budget:g} is spent or held; the next call can cost ${call.bound:.4f}"
                )
                raise BudgetSpentError(text)
            db.execute(
                "INSERT INTO calls (key, job, endpoint, model, sample, state, updated) "
                "VALUES (?, ?, ?, ?, ?, 'planned', ?) ON CONFLICT (key) DO NOTHING",
                (call.key, call.job, call.endpoint, call.model, call.sample, time.time()),
            )
            _set(db, call.key, "reserved", job=call.job, reserved=call.bound)

    def sent(self, key: str) -> None:
        """The request may leave once this has returned."""
        with self._store.transaction() as db:
            _set(db, key, "sent", tries=_row(db, key)["tries"] + 1)

    def received(self, key: str, completion: Completion) -> None:
        with self._store.transaction() as db:
            _set(db, key, "received", reply=canonical(dataclasses.asdict(completion)))

    def settle(self, key: str) -> None:
        """Charge what the reply cost; where nobody can say, what was held for it stays charged."""
        with self._store.transaction() as db:
            row = _row(db, key)
            cost = completion_of(row["reply"]).usage.cost
            _set(db, key, "settled", cost=(row["reserved"] or None) if cost is None else cost)

    def arrived(self, key: str, completion: Completion) -> None:
        """`received` and `settle` at once."""
        cost = completion.usage.cost
        with self._store.transaction() as db:
            held = _row(db, key)["reserved"] or None
            reply = canonical(dataclasses.asdict(completion))
            _set(db, key, "settled", reply=reply, cost=held if cost is None else cost)

    def release(self, key: str) -> None:
        """Nothing was billed, nothing is held any more."""
        with self._store.transaction() as db:
            _set(db, key, "planned", reserved=0, batch="")

    def adopt(self, call: Call, completion: Completion) -> None:
        """File a reply that was paid for elsewhere: it costs this job nothing."""
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO calls (key, job, endpoint, model, sample, state, cost, reply, updated) "
                "VALUES (?, ?, ?, ?, ?, 'settled', 0, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "state = 'settled', cost = 0, reply = excluded.reply WHERE reply IS NULL",
                (
                    call.key,
                    call.job,
                    call.endpoint,
                    call.model,
                    call.sample,
                    canonical(dataclasses.asdict(completion)),
                    time.time(),
                ),
            )

    def batched(self, keys: Collection[str], batch: str) -> None:
        """All of these left in a file; they are waited for, whatever crashes."""
        with self._store.transaction() as db:
            for key in keys:
                _set(db, key, "sent", tries=_row(db, key)["tries"] + 1, batch=batch)

    def awaited(self, job: int) -> dict[str, str]:
        """Keys of a job's calls that left in a file and are not answered, with their models."""
        rows = self._store.rows(
            "SELECT key, model FROM calls WHERE job = ? AND state = 'sent' AND batch != ''", job
        )
        return {row["key"]: row["model"] for row in rows}

    def is_awaited(self, key: str) -> bool:
        return bool(
            self._store.rows("SELECT 1 FROM calls WHERE key = ? AND state = 'sent' AND batch != ''", key)
        )

    def lose(self, key: str) -> None:
        """The try failed and may have been billed: charge all that was held for it."""
        with self._store.transaction() as db:
            _lose(db, _row(db, key))

    def recover(self) -> int:
        """After a crash: settle what was received, let go of what never left. How many are unknown?"""
        for row in self._store.rows(
            "SELECT key, state FROM calls WHERE state IN ('reserved', 'sent', 'received') AND batch = ''"
        ):
            if row["state"] == "reserved":
                self.release(row["key"])
            elif row["state"] == "received":
                self.settle(row["key"])
            elif row["state"] == "sent":
                with self._store.transaction() as db:
                    _set(db, row["key"], "unknown")
        return int(self._store.rows("SELECT count(*) AS n FROM calls WHERE state = 'unknown'")[0]["n"])

    def spent(self, job: int) -> float:
        """US dollars of the job that are spent, held or lost."""
        with self._store.transaction() as db:
            return _spent(db, job)

    def totals(self, job: int, keys: Collection[str] | None = None) -> tuple[int, float | None]:
        """How many requests a job sent and what they cost, in all or for `keys`; None: nobody knows."""
        calls = self._store.rows(
            f"SELECT key, tries, state, cost, {_CHARGE} AS charge FROM calls WHERE job = ?", job
        )
        losses = self._store.rows("SELECT key, charge FROM losses WHERE job = ?", job)
        calls = [row for row in calls if keys is None or row["key"] in keys]
        losses = [row for row in losses if keys is None or row["key"] in keys]
        tries = sum(row["tries"] for row in calls)
        if any(row["state"] == "settled" and row["cost"] is None for row in calls):
            return tries, None
        return tries, float(sum(row["charge"] for row in calls) + sum(row["charge"] for row in losses))


def _row(db: sqlite3.Connection, key: str) -> sqlite3.Row:
    row: sqlite3.Row = db.execute("SELECT * FROM calls WHERE key = ?", (key,)).fetchone()
    return row


def _set(db: sqlite3.Connection, key: str, state: str, **columns: Any) -> None:
    values = {**columns, "state": state, "updated": time.time()}
    assignments = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE calls SET {assignments} WHERE key = ?", (*values.values(), key))


def _lose(db: sqlite3.Connection, row: sqlite3.Row) -> None:
    db.execute("INSERT INTO losses VALUES (?, ?, ?)", (row["key"], row["job"], row["reserved"]))
    _set(db, row["key"], "planned", reserved=0, batch="")


def _spent(db: sqlite3.Connection, job: int) -> float:
    calls = db.execute(f"SELECT coalesce(sum({_CHARGE}), 0) FROM calls WHERE job = ?", (job,)).fetchone()[0]
    losses = db.execute("SELECT coalesce(sum(charge), 0) FROM losses WHERE job = ?", (job,)).fetchone()[0]
    return float(calls + losses)


def completion_of(reply: str) -> Completion:
    """A reply as the store keeps it. Raises ValueError, KeyError or TypeError for what is none."""
    data = json.loads(reply)
    return Completion(**{**data, "usage": Usage(**data["usage"])})
