"""Durable batch jobs: `Store` keeps them, `run` works them off, and running again is resuming."""

from llmptx.jobs.batch import Imported, read_answers
from llmptx.jobs.calls import Retry
from llmptx.jobs.errors import BudgetSpentError, JobError, StoreError, UnknownOutcomeError
from llmptx.jobs.ledger import Ledger
from llmptx.jobs.replies import Replies
from llmptx.jobs.result import Event, ItemResult, Summary
from llmptx.jobs.run import run, summary
from llmptx.jobs.spec import Item, ItemSpec, JobSpec, load, make
from llmptx.jobs.store import ItemRow, JobRow, Store

__all__ = [
    "BudgetSpentError",
    "Event",
    "Imported",
    "Item",
    "ItemResult",
    "ItemRow",
    "ItemSpec",
    "JobError",
    "JobRow",
    "JobSpec",
    "Ledger",
    "Replies",
    "Retry",
    "Store",
    "StoreError",
    "Summary",
    "UnknownOutcomeError",
    "load",
    "make",
    "read_answers",
    "run",
    "summary",
]
