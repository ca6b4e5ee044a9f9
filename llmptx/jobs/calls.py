"""From a prompt to a completion: from the ledger, else from the endpoint, within budget, with few retries.

Knows when to ask again and when to give up; knows nothing of what is asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from llmptx.jobs.batch import Batch
from llmptx.jobs.errors import BudgetSpentError, NoReplyError
from llmptx.jobs.ledger import Call, Ledger
from llmptx.jobs.replies import Replies
from llmptx.llm.client import Client
from llmptx.llm.errors import EndpointError
from llmptx.record import Completion, Prompt

# So many items in a row that failed for want of a reply, and the endpoint counts as dead.
DEAD_AFTER = 5


class StoppedError(Exception):
    """The run is ending, or the endpoint is dead: nothing new is begun."""


class AwaitedError(Exception):
    """The request is in a batch's file; its item goes on once the answer has been read."""


class NotOnFileError(LookupError):
    """A reply, or a verdict, that no earlier run has left behind."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Up to `tries` requests for one reply; waits of `base` seconds, doubled each time, up to `cap`.

    An endpoint's own Retry-After goes before that, unless it asks for more than `patience` seconds.
    """

    tries: int = 5
    base: float = 1.0
    cap: float = 30.0
    patience: float = 120.0

    def wait(self, error: EndpointError, attempt: int) -> float | None:
        """Seconds to wait after try number `attempt` failed; None to give up."""
        if error.fatal or not error.retryable or attempt >= self.tries:
            return None
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= self.patience else None
        return min(self.cap, self.base * 2.0 ** (attempt - 1))


class Lane:
    """What callers of one endpoint and model share: how many requests may be out, a common pause, the end.

    The number of requests adapts: from 8 it grows by one for each reply until the endpoint first says 429,
    and by one for each round of replies from then on; every 429 halves it, once for all the requests that
    were out by then. most: it never grows past this.
    """

    def __init__(self, most: int = 1024) -> None:
        self._change = threading.Condition()
        self._most = float(max(1, most))
        self._window = min(8.0, self._most)
        self._braked = 0
        self._out = 0
        self._resume_at = 0.0
        self._stopped = False
        self.unanswered = 0

    def dead(self, error: EndpointError) -> bool:
        """Whether to stop asking: the endpoint said so itself, or has left too many items without a reply."""
        with self._change:
            self.unanswered += error.retryable
            return error.fatal or self.unanswered >= DEAD_AFTER

    @property
    def stopped(self) -> bool:
        return self._stopped

    def stop(self) -> None:
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def check(self) -> None:
        """Raises StoppedError once the run is ending."""
        if self._stopped:
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Nobody sends for so long: the endpoint said so."""
        with self._change:
            self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run ends. Raises StoppedError if it does."""
        until = time.monotonic() + seconds
        with self._change:
            while not self._stopped and (left := max(until, self._resume_at) - time.monotonic()) > 0:
                self._change.wait(left)
        self.check()

    @property
    def window(self) -> int:
        """How many requests may be out."""
        return max(1, int(self._window))

    def enter(self) -> int | None:
        """A request goes out, as soon as it may: its ticket; None once the run is ending, and none may."""
        with self._change:
            while not self._stopped and self._out >= self.window:
                self._change.wait()
            if self._stopped:
                return None
            self._out += 1
            return self._braked

    def leave(self) -> None:
        with self._change:
            self._out -= 1
            self._change.notify_all()

    def grow(self) -> None:
        """A reply came."""
        with self._change:
            self._window = min(self._most, self._window + (1 / self._window if self._braked else 1.0))

    def brake(self, ticket: int) -> None:
        """The endpoint said 429 to a request of that ticket: half as many, unless that was done since."""
        with self._change:
            if ticket == self._braked:
                self._braked += 1
                self._window = max(1.0, self._window / 2)

    def settle(self, seconds: float) -> None:
        """Wait until no request is out, but not for ever."""
        with self._change:
            self._change.wait_for(lambda: not self._out, seconds)

    def others_settled(self) -> bool:
        """Wait for a request that is out to come back; False where none is."""
        with self._change:
            if not self._out:
                return False
            self._change.wait(1.0)
        self.check()
        return True


@dataclass(slots=True)
class Caller:
    """Completions for one item: `caller(prompt, sample)`. keys: the calls it used, those on file included.

    replies  on record elsewhere: every reply is taken from there, and nothing is sent
    batch    where requests are written instead of being sent

    Raises EndpointError, BudgetSpentError, UnknownOutcomeError, StoppedError, AwaitedError, NoReplyError.
    """

    ledger: Ledger
    client: Client
    lane: Lane
    job: int
    budget: float | None
    retry: Retry
    resend: bool
    waiting: Callable[[str], None]
    replies: Replies | None = None
    batch: Batch | None = None
    keys: list[str] = field(default_factory=list)

    def __call__(self, prompt: Prompt, sample: int) -> Completion:
        key = self._key(prompt, sample)
        on_file = self.ledger.reply(key)
        if on_file is not None:
            return on_file
        bound = self.client.upper_bound(prompt.messages) or 0.0
        call = Call(key, self.job, self.client.endpoint, self.client.model, sample, bound)
        if self.replies is not None:
            recorded = self.replies.get(key)
            if recorded is None:
                raise NoReplyError(f"no reply to this request is on record in {self.replies.path}")
            self.ledger.adopt(call, recorded)
            return recorded
        if self.batch is not None:
            self._batch(call, prompt, self.batch)
        attempt = 0
        while True:
            attempt += 1
            self.lane.sleep(0)
            self._reserve(call)
            try:
                return self._send(call, prompt)
            except EndpointError as error:
                seconds = self.retry.wait(error, attempt)
                if seconds is None:
                    raise
                if error.retry_after is not None:
                    self.lane.pause(seconds)
                self.waiting(f"{error}; trying again in {seconds:g} s")
                self.lane.sleep(seconds)

    def on_file(self, prompt: Prompt, sample: int) -> Completion:
        """The reply an earlier run was given. Raises NotOnFileError where there is none."""
        reply = self.ledger.reply(self._key(prompt, sample))
        if reply is None:
            raise NotOnFileError
        return reply

    def _key(self, prompt: Prompt, sample: int) -> str:
        request = self.client.request(prompt.messages, sample)
        key = self.ledger.key(self.client.identity, request, sample)
        if key not in self.keys:
            self.keys.append(key)
        return key

    def _reserve(self, call: Call) -> None:
        """Requests that are out hold more than they will cost: only once they are back is a budget spent."""
        while True:
            try:
                self.ledger.reserve(call, self.budget, resend=self.resend)
                return
            except BudgetSpentError:
                if not self.lane.others_settled():
                    raise

    def _batch(self, call: Call, prompt: Prompt, batch: Batch) -> NoReturn:
        if not self.ledger.is_awaited(call.key):
            self._reserve(call)
            batch.add(call.key, self.client, self.client.request(prompt.messages, call.sample))
        raise AwaitedError

    def _send(self, call: Call, prompt: Prompt) -> Completion:
        ticket = self.lane.enter()
        if ticket is None:
            self.ledger.release(call.key)
            raise StoppedError
        try:
            self.ledger.sent(call.key)
            try:
                completion = self.client.complete(prompt.messages, sample=call.sample)
            except BaseException as error:
                if isinstance(error, EndpointError) and error.status == 429:
                    self.lane.brake(ticket)
                billed = not isinstance(error, EndpointError) or error.maybe_billed
                (self.ledger.lose if billed else self.ledger.release)(call.key)
                raise
            self.ledger.arrived(call.key, completion)
            self.lane.grow()
            return completion
        finally:
            self.lane.leave()
