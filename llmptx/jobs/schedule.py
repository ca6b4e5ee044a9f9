"""Whose turn it is: the items that wait, handed to threads one step or one item at a time.

Without a bandit, items go in their order, each to its end. With one, every call goes where it is expected to
bring the most verified kernels a dollar: the arms are routine, strategy and model; within an arm the search
that came furthest goes on, and a new one is begun where none is open. Knows no model, store or judge.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from llmptx.jobs.store import ItemRow
from llmptx.search import Bandit, Search


class Arm(NamedTuple):
    """What the bandit compares."""

    routine: str
    strategy: str
    model: str


@dataclass(slots=True, eq=False)
class Task:
    """An item that waits or is worked on.

    strategy  "" until it is begun
    keys      of the calls it used
    seconds   of work so far
    """

    row: ItemRow
    strategy: str = ""
    search: Search | None = None
    keys: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def arm(self) -> Arm:
        return Arm(self.row.item.routine, self.strategy, self.row.item.model)


class Schedule:
    """Threads `take` a task and give it `back`. strategies: those a task may be begun with."""

    def __init__(self, strategies: Sequence[str], bandit: Bandit[Arm] | None = None) -> None:
        self._change = threading.Condition()
        self._strategies = tuple(strategies)
        self._bandit = bandit
        self._fresh: dict[tuple[str, str], deque[Task]] = {}
        self._begun: dict[Arm, list[Task]] = {}
        self._out = 0
        self._closed = False

    def add(self, tasks: Iterable[Task]) -> None:
        with self._change:
            for task in tasks:
                self._put(task)

    @property
    def by_turns(self) -> bool:
        """Whether a task is given back after each step, not only at its end."""
        return self._bandit is not None

    def take(self) -> Task | None:
        """The next task; waits while one may still come back. None: there is nothing left to do."""
        with self._change:
            while True:
                task = None if self._closed else self._next()
                if task is not None:
                    self._out += 1
                    return task
                if self._closed or not self._out:
                    return None
                self._change.wait()

    def back(self, task: Task, over: bool) -> None:
        """A task that was taken; unless it is over it waits again."""
        with self._change:
            self._out -= 1
            if not over:
                self._put(task)
            self._change.notify_all()

    def learn(self, arm: Arm, calls: int, successes: int, cost: float) -> None:
        """What came of calls, for the bandit."""
        with self._change:
            if self._bandit is not None:
                self._bandit.learn(arm, calls, successes, cost)

    def drop(self, model: str) -> None:
        """Nothing that waits for this model is begun or gone on with."""
        with self._change:
            self._fresh = {key: tasks for key, tasks in self._fresh.items() if key[1] != model}
            self._begun = {arm: tasks for arm, tasks in self._begun.items() if arm.model != model}
            self._change.notify_all()

    def close(self) -> None:
        """Nothing more is handed out."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def _put(self, task: Task) -> None:
        if task.strategy:
            self._begun.setdefault(task.arm, []).append(task)
        else:
            item = task.row.item
            self._fresh.setdefault((item.routine, item.model), deque()).append(task)

    def _next(self) -> Task | None:
        if self._bandit is None:
            return self._in_order()
        arms = {arm for arm, tasks in self._begun.items() if tasks}
        for (routine, model), waiting in self._fresh.items():
            if waiting:
                arms.update(Arm(routine, strategy, model) for strategy in self._strategies)
        if not arms:
            return None
        arm = self._bandit.choose(sorted(arms))
        if begun := self._begun.get(arm):
            task = max(begun, key=lambda t: (t.search.reached if t.search else 0, -t.row.position))
            begun.remove(task)
            return task
        task = self._fresh[arm.routine, arm.model].popleft()
        task.strategy = arm.strategy
        return task

    def _in_order(self) -> Task | None:
        firsts = [tasks[0] for tasks in self._fresh.values() if tasks]
        if not firsts:
            return None
        task = min(firsts, key=lambda t: t.row.position)
        self._fresh[task.row.item.routine, task.row.item.model].popleft()
        task.strategy = self._strategies[0]
        return task
