"""Durable batch jobs: `Store` keeps them, `run` works them off, and running again is resuming."""

from llmptx.jobs.calls import Retry
from llmptx.jobs.errors import BudgetSpentError, JobError, StoreError, UnknownOutcomeError
from llmptx.jobs.ledger import Ledger
from llmptx.jobs.result import Event, ItemResult, Summary
from llmptx.jobs.run import run, summary
from llmptx.jobs.spec import Item, ItemSpec, JobSpec, load, make
from llmptx.jobs.store import ItemRow, JobRow, Store

__all__ = [
    "BudgetSpentError",
    "Event",
    "Item",
    "ItemResult",
    "ItemRow",
    "ItemSpec",
    "JobError",
    "JobRow",
    "JobSpec",
    "Ledger",
    "Retry",
    "Store",
    "StoreError",
    "Summary",
    "UnknownOutcomeError",
    "load",
    "make",
    "run",
    "summary",
]
