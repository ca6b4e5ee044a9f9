"""Which of several things to spend the next call on: Thompson sampling of successes per dollar.

Each arm's share of calls that end in a verified kernel is taken from its Beta posterior; the draw is divided
by what a call of that arm costs. The prior is what all arms together have shown, worth a few calls, so that
arms nobody tried are neither first nor forgotten (Thompson, Biometrika 1933; Russo et al., A Tutorial on
Thompson Sampling, 2018).

Counts are all it keeps, and each draw's seed is the number of calls counted so far: with the same history it
decides the same, in whatever order the history is read back. Knows nothing of what an arm stands for.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Arm = TypeVar("Arm", bound=Hashable)

PRIOR_CALLS = 4.0


@dataclass(slots=True)
class Tally:
    """Calls counted, how many of them ended in a verified kernel, and US dollars spent."""

    calls: int = 0
    successes: int = 0
    cost: float = 0.0


class Bandit(Generic[Arm]):
    """`learn` what came of calls, then `choose`. Not safe to call from several threads at a time."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._arms: dict[Arm, Tally] = {}
        self._all = Tally()

    def learn(self, arm: Arm, calls: int, successes: int, cost: float) -> None:
        """Costs that nobody knows count as 0; where all are, arms are compared by calls alone."""
        for tally in (self._arms.setdefault(arm, Tally()), self._all):
            tally.calls += calls
            tally.successes += successes
            tally.cost += cost

    def choose(self, arms: Iterable[Arm]) -> Arm:
        """The arm of the highest draw. Raises ValueError where there is none."""
        text = f"{self._seed} {self._all.calls}".encode()
        dice = random.Random(int.from_bytes(hashlib.sha256(text).digest()[:8], "big"))
        return max(arms, key=lambda arm: self._draw(dice, self._arms.get(arm) or Tally()))

    def _draw(self, dice: random.Random, tally: Tally) -> float:
        everywhere = self._all
        share = (everywhere.successes + 1) / (everywhere.calls + 2)
        wins = PRIOR_CALLS * share + tally.successes
        losses = PRIOR_CALLS * (1 - share) + tally.calls - tally.successes
        price = everywhere.cost / everywhere.calls if everywhere.calls else 0.0
        if price == 0:
            return dice.betavariate(wins, losses)
        return dice.betavariate(wins, losses) / ((tally.cost + price) / (tally.calls + 1))
