"""What can go wrong with a job as a whole. Errors of single items are kept with the item, not raised."""

from __future__ import annotations


class JobError(ValueError):
    """A job that cannot be: its file, routines, model or number are wrong. The text says what to change."""


class StoreError(RuntimeError):
    """The store cannot be used: another process writes to it, or it is of another version."""


class BusyError(StoreError):
    """Another process writes to the store, and only one may."""


class BudgetSpentError(Exception):
    """The next call could cost more than the budget has left. Nothing was sent."""


class NoReplyError(Exception):
    """A run that only has replies again asked for one that is not on record."""


class UnknownOutcomeError(Exception):
    """A call was sent and no reply is on file: it may have been billed, so it is not silently sent again."""
