"""The coordinator: works a job off, item by item, each step on disk before it is announced.

Threads ask the model and hand candidates to judges in other processes. What they did lies in the ledger, the
verdicts and the corpus, so a run that ends anywhere, even by kill -9, goes on by being run again: it walks
the same path, and finds the steps already taken on file.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from llmptx.jobs.calls import Caller, Lane, Retry, StoppedError
from llmptx.jobs.errors import BudgetSpentError, JobError, UnknownOutcomeError
from llmptx.jobs.judging import Device, JudgeError, Judges, OnStage, verdict_key
from llmptx.jobs.ledger import Ledger
from llmptx.jobs.result import Event, ItemResult, Status, Summary
from llmptx.jobs.spec import JobSpec, Resolve, from_catalogue
from llmptx.jobs.store import ItemRow, Store
from llmptx.llm.client import Client, Limits
from llmptx.llm.errors import EndpointError
from llmptx.llm.extract import ReplyError, ptx_of
from llmptx.record import Attempt, Candidate, Level, Record, Routine, Verdict
from llmptx.search import Note, attempt
from llmptx.search.loop import in_one_line, no_ptx

Judge = Callable[[Candidate, Level, Device, OnStage], Verdict]

# So many items in a row that failed for want of a reply, and the endpoint counts as dead.
DEAD_AFTER = 5
# Seconds that requests have to come back after Ctrl-C. Verdicts under way are dropped: they cost nothing.
GRACE = 10.0


class Corpus(Protocol):
    """Where records go: `append` returns once it is on disk, and does nothing for a record it has."""

    def append(self, record: Record, /) -> object: ...


def run(
    store: Store,
    job: int,
    corpus: Corpus,
    on_event: Callable[[Event], None] = lambda event: None,
    *,
    client: Client | None = None,
    judge: Judge | None = None,
    resolve: Resolve = from_catalogue,
    retry: Retry | None = None,
    retry_unknown: bool = False,
) -> Summary:
    """Work off what is left of a job: items that wait, and items that failed. Resuming is running again.

    on_event        is never called twice at a time
    judge           left out: judge processes of its own, one for each worker
    retry_unknown   send calls again whose outcome a crash has hidden; free ones always are

    Raises JobError for a job that is unknown or cancelled, EndpointError where the endpoint is dead (what is
    left waits), KeyboardInterrupt after Ctrl-C, once the steps under way are on disk.
    """
    row = store.job(job)
    if row.cancelled:
        raise JobError(f"job {job} was cancelled; reopen it to go on")
    store.reopen(job)
    spec = row.spec
    with contextlib.ExitStack() as stack:
        if client is None:
            client = Client(spec.model, spec.base_url, limits=Limits(tokens=spec.tokens), price=spec.price)
            stack.callback(client.close)
        if judge is None:
            judge = stack.enter_context(Judges()).judge
        ledger = Ledger(store)
        ledger.recover()
        resend = retry_unknown or client.price == (0.0, 0.0)
        work = _Run(
            store, ledger, job, spec, corpus, on_event, client, judge, resolve, retry or Retry(), resend
        )
        return work.all()


def summary(store: Store, job: int, *, budget_spent: bool = False) -> Summary:
    """Where a job stands. Raises JobError where there is no such job."""
    store.job(job)
    rows = store.items(job)
    results = tuple(row.result for row in rows if row.result is not None and row.state != "pending")
    calls, cost = Ledger(store).totals(job)
    return Summary(
        items=results,
        calls=calls,
        cost=cost,
        seconds=sum(result.seconds for result in results),
        budget_spent=budget_spent,
        pending=len(rows) - len(results),
    )


@dataclass
class _Run:
    store: Store
    ledger: Ledger
    job: int
    spec: JobSpec
    corpus: Corpus
    on_event: Callable[[Event], None]
    client: Client
    judge: Judge
    resolve: Resolve
    retry: Retry
    resend: bool

    def __post_init__(self) -> None:
        self.lane = Lane()
        self.mutex = threading.Lock()
        self.budget_spent = False
        self.unanswered = 0
        self.error: BaseException | None = None
        self.todo: queue.SimpleQueue[ItemRow] = queue.SimpleQueue()

    def all(self) -> Summary:
        waiting = [row for row in self.store.items(self.job) if row.state == "pending"]
        for row in waiting:
            self.todo.put(row)
        width = min(self.spec.workers or os.cpu_count() or 1, len(waiting))
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(width)]
        for thread in threads:
            thread.start()
        try:
            _join(threads)
        except KeyboardInterrupt:
            self.lane.stop()
            self.lane.settle(GRACE)
            _join(threads, 1.0)
            raise
        if self.error is not None:
            raise self.error
        return summary(self.store, self.job, budget_spent=self.budget_spent)

    def _work(self) -> None:
        """A thread: one item after the other, until there are none, or the run ends."""
        while not self.lane.stopped:
            try:
                row = self.todo.get_nowait()
            except queue.Empty:
                return
            try:
                self._item(row)
            except StoppedError:
                return
            except BudgetSpentError as error:
                self.budget_spent = True
                self._empty()
                with contextlib.suppress(StoppedError):
                    self._announce(row, 0, "stop", f"budget spent: {error}")
            except BaseException as error:
                self.error = self.error or error
                self.lane.stop()
                return

    def _item(self, row: ItemRow) -> None:
        """One trajectory, from the first prompt to the record in the corpus."""
        started = time.perf_counter()
        routine = self.resolve(row.item.routine)[0]
        attempts: list[Attempt] = []
        caller = Caller(
            self.ledger,
            self.client,
            self.lane,
            self.job,
            row.item.sample,
            self.spec.budget,
            self.retry,
            self.resend,
            waiting=lambda text: self._announce(row, len(attempts) + 1, "waiting", text),
        )
        judge = self._kept(
            routine, row.item.dtype, lambda text: self._announce(row, len(attempts) + 1, "judging", text)
        )
        try:
            for step in attempt(routine, row.item.dtype, caller, judge, self.spec.rounds):
                if isinstance(step, Note):
                    self._announce(row, step.round, step.stage, step.text)
                else:
                    attempts.append(step)
                    self.unanswered = 0
                self.lane.check()
        except (StoppedError, BudgetSpentError, sqlite3.Error):
            raise
        except Exception as error:
            if isinstance(error, EndpointError) and self._dead(error):
                raise
            self.lane.check()
            result = self._result(row, attempts, caller, started, "failed", _why(error), "")
            self.store.finish(self.job, row.position, "failed", result)
        else:
            record = self._record(row, attempts)
            self.corpus.append(record)
            status, why = _outcome(attempts)
            result = self._result(row, attempts, caller, started, status, why, record.hash)
            self.store.finish(self.job, row.position, "done", result)
        stage = "failed" if result.status == "failed" else "done"
        self._announce(
            row, max(1, len(attempts)), stage, f"{result.status}{': ' + result.why if result.why else ''}"
        )

    def _kept(self, routine: Routine, dtype: str, on_stage: OnStage) -> Callable[[Candidate], Verdict]:
        """The judge, asked once for each text: its verdicts are kept."""
        bound = routine.spec_hash(dtype)
        level, device = self.spec.level, self.spec.device

        def judge(candidate: Candidate) -> Verdict:
            self.lane.check()
            key = verdict_key(candidate, bound, level, device)
            verdict = self.store.verdict(key)
            if verdict is None:
                verdict = self.judge(candidate, level, device, on_stage)
                self.store.keep_verdict(key, verdict)
            return verdict

        return judge

    def _dead(self, error: EndpointError) -> bool:
        """Whether to stop asking: the endpoint said so itself, or has left too many items without a reply."""
        with self.mutex:
            self.unanswered += error.retryable
            return error.fatal or self.unanswered >= DEAD_AFTER

    def _record(self, row: ItemRow, attempts: list[Attempt]) -> Record:
        last = attempts[-1].verdict
        return Record(
            routine=row.item.routine,
            dtype=row.item.dtype,
            model=self.spec.model,
            attempts=tuple(attempts),
            passed=last is not None and last.passed,
            license=self.client.profile.license,
            terms_class=self.client.profile.terms,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            sample=row.item.sample,
        )

    def _result(
        self,
        row: ItemRow,
        attempts: list[Attempt],
        caller: Caller,
        started: float,
        status: Status,
        why: str,
        record_hash: str,
    ) -> ItemResult:
        calls, cost = self.ledger.totals(self.job, frozenset(caller.keys))
        last = attempts[-1].verdict if attempts else None
        return ItemResult(
            routine=row.item.routine,
            dtype=row.item.dtype,
            sample=row.item.sample,
            status=status,
            why=why,
            rounds=len(attempts),
            calls=calls,
            cost=cost,
            seconds=time.perf_counter() - started,
            record_hash=record_hash,
            max_ulp=last.accuracy.max_ulp if last and last.accuracy else None,
        )

    def _announce(self, row: ItemRow, round: int, stage: str, text: str) -> None:
        event = Event(row.item.routine, row.item.dtype, row.item.sample, round, stage, text)
        try:
            with self.mutex:
                self.on_event(event)
        except BaseException as error:
            self.error = self.error or error
            self.lane.stop()
            raise StoppedError from error

    def _empty(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self.todo.get_nowait()


def _why(error: Exception) -> str:
    """A failure for people; one that nobody foresaw is named by its type."""
    expected = isinstance(error, EndpointError | UnknownOutcomeError | JudgeError)
    return str(error) if expected else f"internal error: {type(error).__name__}: {error}"


def _outcome(attempts: list[Attempt]) -> tuple[Status, str]:
    last = attempts[-1]
    if last.verdict is None:
        try:
            ptx_of(last.completion.content)
        except ReplyError as error:
            return "rejected", f"no PTX in the reply: {no_ptx(last.completion, error)}"
    if last.verdict is None or not last.verdict.passed:
        return "rejected", in_one_line(last.verdict) if last.verdict else ""
    return ("passed" if len(attempts) == 1 else "repaired"), ""


def _join(threads: list[threading.Thread], seconds: float = float("inf")) -> None:
    """Wait for threads in short steps, so that Ctrl-C is seen at once."""
    until = time.monotonic() + seconds
    for thread in threads:
        while thread.is_alive() and time.monotonic() < until:
            thread.join(0.1)
