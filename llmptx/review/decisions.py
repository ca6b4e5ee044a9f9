"""What decisions come to: which one stands, how many people approve, what was undone.

Knows the log of decisions and nothing of candidates or pages. The log is only ever added to: an undo is a
line of its own, which takes back the last decision before it that stands.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from llmptx.record import Review

State = Literal["waiting", "approved", "rejected", "returned", "recalled"]
Key = tuple[str, str, str]
_STATES: Mapping[str, State] = {"reject": "rejected", "return": "returned", "recall": "recalled"}


class PolicyError(ValueError):
    """A policy file that cannot be followed; str() says why."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Routines, by shell pattern of their dotted name, that need two people's approval."""

    two_people: tuple[str, ...] = ()

    def needed(self, routine: str) -> int:
        """How many people must approve a kernel of the routine."""
        return 2 if any(fnmatchcase(routine, pattern) for pattern in self.two_people) else 1


@dataclass(frozen=True, slots=True)
class Standing:
    """How a candidate stands.

    decision    the last one that stands, or None
    approvers   who approves it: people since whatever else was decided
    needed      how many of them it needs
    count       lines about it in the log; a form that saw fewer has missed one
    """

    state: State = "waiting"
    decision: Review | None = None
    approvers: tuple[str, ...] = ()
    needed: int = 1
    count: int = 0


def standings(reviews: Iterable[Review], policy: Policy = Policy()) -> dict[Key, Standing]:
    """Every candidate that was decided on, by routine, dtype and hash, in the order of first decisions."""
    logs: dict[Key, list[Review]] = {}
    for review in reviews:
        logs.setdefault((review.routine, review.dtype, review.candidate), []).append(review)
    return {key: standing(log, policy) for key, log in logs.items()}


def standing(log: Iterable[Review], policy: Policy = Policy()) -> Standing:
    """How the candidate stands that a log is about."""
    made: list[Review] = []
    count = 0
    for review in log:
        count += 1
        if review.decision != "undo":
            made.append(review)
        elif made:
            made.pop()
    if not made:
        return Standing(count=count)
    last, needed = made[-1], policy.needed(made[-1].routine)
    if last.decision != "approve":
        return Standing(_STATES[last.decision], last, (), needed, count)
    since = max((at for at, r in enumerate(made, 1) if r.decision != "approve"), default=0)
    approvers = tuple(dict.fromkeys(review.reviewer for review in made[since:]))
    state: State = "approved" if len(approvers) >= needed else "waiting"
    return Standing(state, last, approvers, needed, count)


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file, `two-people = ["scipy.*"]`; no file, no policy. Raises PolicyError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Policy()
    except (OSError, ValueError) as error:
        raise PolicyError(f"{path}: {error}") from error
    patterns = data.pop("two-people", [])
    if data:
        raise PolicyError(f"{path}: unknown key {next(iter(data))!r}; a policy has two-people")
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise PolicyError(f'{path}: two-people is a list of patterns, ["scipy.*"]')
    return Policy(tuple(patterns))
