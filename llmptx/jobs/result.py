"""What a job tells while it runs and when it ends. Plain values: knows no store and no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "repaired", "rejected", "failed"]


@dataclass(frozen=True, slots=True)
class Event:
    """One step of one item, announced after it is on disk.

    round   number of the draft, from 1
    stage   asking, waiting, reply, judging, verdict, stop; done or failed with the item's last event
    """

    routine: str
    dtype: str
    sample: int
    round: int
    stage: str
    text: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """How an item ended. better: verified kernels found beyond the first that nothing found is better than.

    passed     a candidate that answered the task did; repaired: one that answered findings did; rejected:
               none did (why: the last finding)
    failed     it could not be carried out (why); it is taken up again when the job is resumed
    rounds     drafts in all
    calls      requests this job sent for it; cost in US dollars, None where no price is known
    """

    routine: str
    dtype: str
    sample: int
    status: Status
    why: str
    rounds: int
    calls: int
    cost: float | None
    seconds: float
    record_hash: str
    max_ulp: float | None
    model: str = ""
    strategy: str = ""
    better: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """A job's end, or where it stands: results of the items that have one, in the job's order.

    calls, cost, seconds   of the whole job, over every run of it; `seconds` is the sum over the items
    budget_spent           it stopped because the next call could have passed the budget
    pending                items without a result
    batches                files of requests this run wrote, to be answered
    """

    items: tuple[ItemResult, ...]
    calls: int
    cost: float | None
    seconds: float
    budget_spent: bool = False
    pending: int = 0
    batches: tuple[str, ...] = ()

    def count(self, status: Status) -> int:
        return sum(item.status == status for item in self.items)
