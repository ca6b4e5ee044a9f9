"""The coordinator: works a job off, item by item, each step on disk before it is announced.

Threads ask the models and hand candidates to judges in other processes; a schedule says whose turn it is.
What they did lies in the ledger, the verdicts and the corpus, so a run that ends anywhere, even by kill -9,
goes on by being run again: it walks the same path, and finds the steps already taken on file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from llmptx.jobs import asks
from llmptx.jobs.batch import Batch
from llmptx.jobs.calls import AwaitedError, Caller, Lane, NotOnFileError, Retry, StoppedError
from llmptx.jobs.errors import BudgetSpentError, JobError, NoReplyError, UnknownOutcomeError
from llmptx.jobs.judging import Device, JudgeError, Judges, OnStage, verdict_key
from llmptx.jobs.ledger import Ledger
from llmptx.jobs.replies import Replies
from llmptx.jobs.result import Event, ItemResult, Status, Summary
from llmptx.jobs.schedule import Arm, Schedule, Task
from llmptx.jobs.spec import JobSpec, Resolve, client_of, from_catalogue, writer_of
from llmptx.jobs.store import State, Store
from llmptx.llm.client import Client
from llmptx.llm.errors import EndpointError
from llmptx.record import Attempt, Candidate, Level, Record, Verdict
from llmptx.search import STRATEGIES, Bandit, Improving, Limits, Search
from llmptx.search.improve import Weigh
from llmptx.search.loop import in_one_line, no_ptx
from llmptx.toolchain.weight import weigh

Judge = Callable[[Candidate, Level, Device, OnStage], Verdict]

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
    weigh: Weigh = weigh,
    replies: Replies | None = None,
) -> Summary:
    """Work off what is left of a job: items that wait, and items that failed. Resuming is running again.

    on_event        is never called twice at a time
    judge           left out: judge processes of its own, one for each worker
    replies         on record: the run takes every reply from there and sends nothing
    retry_unknown   send calls again whose outcome a crash has hidden; free ones always are

    Raises JobError for a job that is unknown or cancelled, EndpointError where an endpoint is dead (items of
    its models wait, the others are done first), KeyboardInterrupt after Ctrl-C, once the steps under way are
    on disk.
    """
    row = store.job(job)
    if row.cancelled:
        raise JobError(f"job {job} was cancelled; reopen it to go on")
    store.reopen(job)
    asks.take(store.path, job)  # left for an earlier run
    spec = row.spec
    with contextlib.ExitStack() as stack:
        routes = {}
        for model in spec.all_models:
            used = client or client_of(spec, model)
            if client is None:
                stack.callback(used.close)
            routes[model.name] = Route(
                used, Lane(spec.workers or os.cpu_count() or 1), retry_unknown or used.price == (0.0, 0.0)
            )
        if judge is None:
            judge = stack.enter_context(Judges()).judge
        ledger = Ledger(store)
        ledger.recover()
        return _Run(
            store,
            ledger,
            job,
            spec,
            corpus,
            on_event,
            routes,
            judge,
            resolve,
            retry or Retry(),
            weigh,
            replies,
        ).all()


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


@dataclass(frozen=True, slots=True)
class Route:
    """How a model is reached. resend: calls whose outcome a crash has hidden are sent again."""

    client: Client
    lane: Lane
    resend: bool


@dataclass
class _Run:
    store: Store
    ledger: Ledger
    job: int
    spec: JobSpec
    corpus: Corpus
    on_event: Callable[[Event], None]
    routes: Mapping[str, Route]
    judge: Judge
    resolve: Resolve
    retry: Retry
    weigh: Weigh
    replies: Replies | None

    def __post_init__(self) -> None:
        self.mutex = threading.Lock()
        self.budget_spent = False
        self.error: BaseException | None = None
        self.strategies = tuple(STRATEGIES) if self.spec.strategy == "auto" else (self.spec.strategy,)
        folder = self.store.path.parent / "batches"
        self.batch = Batch(folder, self.job) if self.spec.mode == "batch" else None
        self.writer = writer_of(self.spec)
        turns = self.spec.budget is not None or len(self.strategies) > 1
        self.schedule = Schedule(self.strategies, Bandit(self.spec.seed) if turns else None)

    def all(self) -> Summary:
        tasks = self._tasks()
        self.schedule.add(tasks)
        width = min(self.spec.workers or os.cpu_count() or 1, len(tasks))
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(width)]
        try:
            for thread in threads:
                thread.start()
            _join(threads)
        except KeyboardInterrupt:
            self._stop()
            for route in self.routes.values():
                route.lane.settle(GRACE)
            _join(threads, 1.0)
            raise
        if self.error is not None:
            raise self.error
        paths = self.batch.close(self.ledger) if self.batch else []
        done = summary(self.store, self.job, budget_spent=self.budget_spent)
        return replace(done, batches=tuple(map(str, paths)))

    def _tasks(self) -> list[Task]:
        """What waits. The schedule is told what earlier runs learnt: by results, and by steps on file."""
        rows = self.store.items(self.job)
        if not self.schedule.by_turns:
            return [Task(row) for row in rows if row.state == "pending"]
        for row in rows:
            if row.state == "done" and row.result is not None:
                arm = Arm(row.item.routine, row.result.strategy, row.item.model)
                won = row.result.status in ("passed", "repaired")
                self.schedule.learn(arm, row.result.rounds, int(won), row.result.cost or 0.0)
        tasks = [Task(row, row.strategy) for row in rows if row.state == "pending"]
        return [task for task in tasks if not (task.strategy and self._over(task))]

    def _over(self, task: Task) -> bool:
        """Take a search to where an earlier run left it; one that was over then is filed now."""
        search = task.search = self._search(task)
        complete, judge = self._caller(task).on_file, self._kept(task, filed_only=True)
        try:
            while not search.over:
                self._learn(task, search.step(complete, judge))
        except NotOnFileError:
            return False
        if search.passed and self.spec.optimize:
            return False
        self._file(task, time.perf_counter())
        return True

    def _work(self) -> None:
        """A thread: a step or an item after the other, until there are none, or the run ends."""
        while (task := self.schedule.take()) is not None:
            over = True
            try:
                over = self._advance(task)
                self._heed()
            except (StoppedError, AwaitedError):
                pass  # its lane is dead, the run ends, or a batch must be answered: it waits for another run
            except BudgetSpentError as error:
                self.budget_spent = True
                self.schedule.close()
                with contextlib.suppress(StoppedError):
                    self._announce(task, "stop", f"budget spent: {error}")
            except EndpointError as error:
                self.error = self.error or error
                self.routes[task.row.item.model].lane.stop()
                self.schedule.drop(task.row.item.model)
            except BaseException as error:
                self.error = self.error or error
                self._stop()
            finally:
                self.schedule.back(task, over)

    def _heed(self) -> None:
        """Do what another process asks of the job: what is under way is finished, nothing more is begun."""
        ask = asks.take(self.store.path, self.job)
        if ask is not None:
            self.schedule.close()
            (self.store.pause if ask == "pause" else self.store.cancel)(self.job)

    def _stop(self) -> None:
        self.schedule.close()
        for route in self.routes.values():
            route.lane.stop()

    def _advance(self, task: Task) -> bool:
        """A step of a search, or all of them, and the record once it is over; True: it is over."""
        started = time.perf_counter()
        lane = self.routes[task.row.item.model].lane
        caller = self._caller(task)
        try:
            search = task.search = task.search or self._begun(task)
            judge = self._kept(task)
            while not search.over:
                attempt = search.step(caller, judge, lambda note: self._announce(task, note.stage, note.text))
                lane.unanswered = 0
                lane.check()
                if self.schedule.by_turns:
                    self._learn(task, attempt)
                    if not search.over:
                        return False
        except (StoppedError, AwaitedError, BudgetSpentError, sqlite3.Error):
            raise
        except Exception as error:
            if isinstance(error, EndpointError) and lane.dead(error):
                raise
            lane.check()
            self._finish(task, "failed", started, "failed", _why(error), "")
        else:
            self._file(task, started)
        finally:
            task.seconds += time.perf_counter() - started
        return True

    def _begun(self, task: Task) -> Search:
        if self.schedule.by_turns:
            self.store.begin(self.job, task.row.position, task.strategy)
        return self._search(task)

    def _search(self, task: Task) -> Search:
        spec, item = self.spec, task.row.item
        total = spec.samples * spec.rounds
        limits = Limits(drafts=total, turns=spec.rounds, samples=total, first=item.sample * total)
        if spec.strategy == "repair":
            limits = Limits(drafts=spec.rounds, turns=spec.rounds, samples=1, first=item.sample)
        routine, strategy = self.resolve(item.routine)[0], STRATEGIES[task.strategy]
        return Search(routine, item.dtype, strategy, limits, self.writer)

    def _caller(self, task: Task) -> Caller:
        route = self.routes[task.row.item.model]
        return Caller(
            self.ledger,
            route.client,
            route.lane,
            self.job,
            self.spec.budget,
            self.retry,
            route.resend,
            waiting=lambda text: self._announce(task, "waiting", text),
            replies=self.replies,
            batch=self.batch,
            keys=task.keys,
        )

    def _learn(self, task: Task, attempt: Attempt) -> None:
        passed = attempt.verdict is not None and attempt.verdict.passed
        self.schedule.learn(task.arm, 1, int(passed), attempt.completion.usage.cost or 0.0)

    def _kept(self, task: Task, *, filed_only: bool = False) -> Callable[[Candidate], Verdict]:
        """The judge, asked once for each text: its verdicts are kept. filed_only: and it is never asked."""
        item = task.row.item
        bound = self.resolve(item.routine)[0].spec_hash(item.dtype)
        level, device = self.spec.level, self.spec.device
        lane = self.routes[item.model].lane

        def judge(candidate: Candidate) -> Verdict:
            lane.check()
            key = verdict_key(candidate, bound, level, device)
            verdict = self.store.verdict(key)
            if verdict is None:
                if filed_only:
                    raise NotOnFileError
                verdict = self.judge(
                    candidate, level, device, lambda text: self._announce(task, "judging", text)
                )
                self.store.keep_verdict(key, verdict)
            return verdict

        return judge

    def _file(self, task: Task, started: float) -> None:
        """A search that is over: its record, what improves on its kernel, then its result."""
        assert task.search is not None
        attempts = task.search.attempts
        record = self._record(task, attempts)
        self.corpus.append(record)
        better = self._improved(task, attempts[-1]) if task.search.passed and self.spec.optimize else 0
        status, why = _outcome(attempts)
        self._finish(task, "done", started, status, why, record.hash, better)

    def _improved(self, task: Task, start: Attempt) -> int:
        """Files a record for each better kernel. What ends the search for them ends nothing else."""
        item, lane = task.row.item, self.routes[task.row.item.model].lane
        routine = self.resolve(item.routine)[0]
        work = Improving(routine, item.dtype, start, self.weigh, self.spec.optimize, self.writer)
        caller, judge = self._caller(task), self._kept(task)
        try:
            while not work.over:
                work.step(caller, judge, lambda note: self._announce(task, note.stage, note.text))
                lane.check()
        except (BudgetSpentError, EndpointError, UnknownOutcomeError, JudgeError, NoReplyError) as error:
            self._announce(task, "stop", f"no more improvements: {error}")
        for kept in work.front:
            if kept.turns:
                self.corpus.append(self._record(task, kept.turns))
        return sum(bool(kept.turns) for kept in work.front)

    def _record(self, task: Task, attempts: Sequence[Attempt]) -> Record:
        last = attempts[-1].verdict
        profile = self.routes[task.row.item.model].client.profile
        return Record(
            routine=task.row.item.routine,
            dtype=task.row.item.dtype,
            model=task.row.item.model,
            attempts=tuple(attempts),
            passed=last is not None and last.passed,
            license=profile.license,
            terms_class=profile.terms,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            sample=task.row.item.sample,
        )

    def _finish(
        self,
        task: Task,
        state: State,
        started: float,
        status: Status,
        why: str,
        record_hash: str,
        better: int = 0,
    ) -> None:
        attempts = task.search.attempts if task.search else []
        calls, cost = self.ledger.totals(self.job, frozenset(task.keys))
        last = attempts[-1].verdict if attempts else None
        result = ItemResult(
            routine=task.row.item.routine,
            dtype=task.row.item.dtype,
            sample=task.row.item.sample,
            status=status,
            why=why,
            rounds=len(attempts),
            calls=calls,
            cost=cost,
            seconds=task.seconds + time.perf_counter() - started,
            record_hash=record_hash,
            max_ulp=last.accuracy.max_ulp if last and last.accuracy else None,
            model=task.row.item.model,
            strategy=task.strategy,
            better=better,
        )
        self.store.finish(self.job, task.row.position, state, result)
        self._announce(task, state, f"{status}{': ' + why if why else ''}")

    def _announce(self, task: Task, stage: str, text: str) -> None:
        item, search = task.row.item, task.search
        drafts = len(search.drafts) if search else 0
        number = drafts + (stage not in ("verdict", "stop", "done", "failed"))
        event = Event(item.routine, item.dtype, item.sample, max(1, number), stage, text, item.model)
        try:
            with self.mutex:
                self.on_event(event)
        except BaseException as error:
            self.error = self.error or error
            self._stop()
            raise StoppedError from error


def _why(error: Exception) -> str:
    """A failure for people; one that nobody foresaw is named by its type."""
    expected = isinstance(error, EndpointError | UnknownOutcomeError | JudgeError | NoReplyError)
    return str(error) if expected else f"internal error: {type(error).__name__}: {error}"


def _outcome(attempts: Sequence[Attempt]) -> tuple[Status, str]:
    last = attempts[-1]
    if last.verdict is None:
        return "rejected", f"no PTX in the reply: {no_ptx(last.completion)}"
    if not last.verdict.passed:
        return "rejected", in_one_line(last.verdict)
    return ("repaired" if last.prompt.template == "repair" else "passed"), ""


def _join(threads: list[threading.Thread], seconds: float = float("inf")) -> None:
    """Wait for threads in short steps, so that Ctrl-C is seen at once."""
    until = time.monotonic() + seconds
    for thread in threads:
        while thread.is_alive() and time.monotonic() < until:
            thread.join(0.1)
