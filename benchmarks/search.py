"""Cost per verified kernel by strategy, with a simulated model: `python benchmarks/search.py [--json]`.

The model's error rates come from a TOML file, benchmarks/search.toml unless another is named; docs/search.md
says what they mean. Everything else is the real thing: prompts, extraction, normalised hashes, the search
loop, the strategies, and the schedule with its bandit. Intervals are 95% bootstrap intervals over kernels, or
over jobs where there is a budget; every strategy meets the same ones.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from llmptx.jobs.schedule import Schedule, Task
from llmptx.jobs.spec import Item
from llmptx.jobs.store import ItemRow
from llmptx.record import Candidate, Completion, Finding, Prompt, Stage, Usage, Verdict
from llmptx.routines import find
from llmptx.search import STRATEGIES, Bandit, Limits, Search

STAGES = ("read", "assemble", "quick", "full")
MODULE = """//@ launch entry=k grid=1 block=1
.version 8.0
.target sm_80
.address_size 64
.visible .entry k()
{
.reg .u64 %%rd<2>;
mov.u64 %%rd1, %d;
ret;
}
"""


@dataclass(frozen=True, slots=True)
class Class:
    """Error rates of one class of routines, as docs/search.md explains them."""

    name: str
    routine: str
    share: float
    right: float
    spread: float
    duplicate: float
    regress: float
    task: int
    reply: int
    faults: Mapping[str, float]
    mends: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Mix:
    """A whole file."""

    samples: int
    rounds: int
    coupling: float
    price: tuple[float, float]
    budget: float
    findings: int
    classes: tuple[Class, ...]

    @property
    def limits(self) -> Limits:
        total = self.samples * self.rounds
        return Limits(drafts=total, turns=self.rounds, samples=total)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One thing to be written. right: P(a draw of this one is right)."""

    kind: Class
    number: int
    right: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one search came to: US dollars, calls, judged texts, and whether a kernel was verified."""

    cost: float
    calls: int
    judged: int
    verified: bool


def load(path: Path) -> Mix:
    """Raises KeyError or TypeError for a file that lacks a number or has one too many."""
    data = tomllib.loads(path.read_text())
    classes = tuple(Class(**row) for row in data.pop("class"))
    return Mix(**{**data, "price": tuple(data["price"]), "classes": classes})


def kernels(mix: Mix, count: int, seed: int) -> list[Kernel]:
    """`count` kernels, in the classes' shares, each of a difficulty of its own."""
    dice = random.Random(f"kernels {seed}")
    drawn = []
    for number in range(count):
        kind = dice.choices(mix.classes, [c.share for c in mix.classes])[0]
        right = dice.betavariate(kind.right * kind.spread, (1 - kind.right) * kind.spread)
        drawn.append(Kernel(kind, number, right))
    return drawn


class Simulated:
    """A model and a judge for one kernel: a draft is a number; it stands for the stages that find a fault."""

    def __init__(self, mix: Mix, kernel: Kernel, seed: int) -> None:
        self._mix, self._kernel, self._seed = mix, kernel, seed
        self._faults: list[frozenset[str]] = []
        self._drawn: list[int] = []
        self.cost = 0.0
        self.judged = 0

    def complete(self, prompt: Prompt, sample: int) -> Completion:
        """The task's draws are the same ones for every strategy."""
        said = [int(n) for n in re.findall(r"mov\.u64 %rd1, (\d+);", "".join(_replies(prompt)))]
        dice = random.Random(f"{self._seed} {self._kernel.number} {sample} {len(said)}")
        kind, mix = self._kernel.kind, self._mix
        tokens = max(200, round(kind.reply * dice.lognormvariate(-0.08, 0.4)))
        asked = kind.task + len(said) * (kind.reply + mix.findings)
        cost = (asked * mix.price[0] + tokens * mix.price[1]) / 1e6
        self.cost += cost
        number = self._mended(said[-1], dice) if said else self._new(dice)
        text = f"```ptx\n{MODULE % number}```\n"
        return Completion("simulated", "simulated", text, "stop", Usage(asked, tokens, cost), 0.0)

    def judge(self, candidate: Candidate) -> Verdict:
        self.judged += 1
        number = int(re.findall(r"mov\.u64 %rd1, (\d+);", candidate.text)[0])
        stages: list[Stage] = []
        for name in STAGES:
            stages.append(Stage(name, name not in self._faults[number], 1, 0.0))
            if not stages[-1].passed:
                break
        passed = all(stage.passed for stage in stages)
        findings = () if passed else (Finding("mismatch", f"a fault at {stages[-1].name}"),)
        routine, dtype = candidate.routine, candidate.dtype
        return Verdict(routine, dtype, "full", candidate.hash, "", passed, findings, tuple(stages))

    def _new(self, dice: random.Random) -> int:
        kind = self._kernel.kind
        if self._drawn and dice.random() < kind.duplicate:
            return dice.choice(self._drawn)
        # Each stage is free of faults with a probability whose product over the stages is P(right).
        faults = [name for name in STAGES if dice.random() > self._kernel.right ** kind.faults[name]]
        self._drawn.append(self._keep(faults))
        return self._drawn[-1]

    def _mended(self, parent: int, dice: random.Random) -> int:
        kind = self._kernel.kind
        if dice.random() < kind.duplicate:
            return parent
        faults = set(self._faults[parent])
        stopped_at = next(name for name in STAGES if name in faults)
        harder = min(1.0, self._kernel.right / kind.right) ** self._mix.coupling
        if dice.random() < kind.mends[stopped_at] * harder:
            faults.discard(stopped_at)
        if dice.random() < kind.regress:
            faults.add(dice.choice(STAGES))
        return self._keep(faults)

    def _keep(self, faults: Sequence[str] | set[str]) -> int:
        self._faults.append(frozenset(faults))
        return len(self._faults) - 1


def _replies(prompt: Prompt) -> list[str]:
    return [message.content for message in prompt.messages if message.role == "assistant"]


def searched(mix: Mix, kernel: Kernel, strategy: str, seed: int) -> Outcome:
    """One kernel, searched for to the end."""
    world = Simulated(mix, kernel, seed)
    search = Search(find(kernel.kind.routine), "float32", STRATEGIES[strategy], mix.limits)
    while not search.over:
        search.step(world.complete, world.judge)
    return Outcome(world.cost, len(search.drafts), world.judged, search.passed)


def within(
    mix: Mix, tasks: Sequence[Kernel], strategy: str, budget: float, seed: int, bandit: bool
) -> tuple[float, int]:
    """US dollars spent and kernels verified within a budget: in order, or by the bandit's choice."""
    schedule = Schedule([strategy], Bandit(seed) if bandit else None)
    worlds = [Simulated(mix, kernel, seed) for kernel in tasks]
    items = [Item(f"{k.kind.name} {at}", "float32", 0, "") for at, k in enumerate(tasks)]
    schedule.add(Task(ItemRow(at, item, "pending", None)) for at, item in enumerate(items))
    verified, spent = 0, 0.0
    while spent < budget and (task := schedule.take()) is not None:
        world, kind = worlds[task.row.position], tasks[task.row.position].kind
        search = task.search or Search(find(kind.routine), "float32", STRATEGIES[strategy], mix.limits)
        task.search = search
        while spent < budget and not search.over:
            before = world.cost
            search.step(world.complete, world.judge)
            spent += world.cost - before
            schedule.learn(task.arm, 1, int(search.passed), world.cost - before)
            if schedule.by_turns:
                break
        verified += search.passed
        schedule.back(task, search.over)
    return spent, verified


Spent = Sequence[tuple[float, int]]  # US dollars, and kernels verified for them: of a kernel, or of a job
Interval = tuple[float, float, float]


def per_kernel(spent: Spent, seed: int = 0) -> Interval:
    """US dollars a verified kernel, and the ends of its 95% bootstrap interval."""
    values = np.array(spent, dtype=float)
    return _interval(lambda pick: _rate(values[pick]), len(values), seed)


def ratio(ours: Spent, theirs: Spent, seed: int = 0) -> Interval:
    """How many times as much theirs costs a verified kernel; both are resampled together."""
    a, b = np.array(ours, dtype=float), np.array(theirs, dtype=float)
    return _interval(lambda pick: _rate(b[pick]) / _rate(a[pick]), len(a), seed)


def _rate(values: np.ndarray) -> float:
    cost, verified = values.sum(axis=0)
    return float(cost / max(1.0, verified))


def _interval(statistic: Callable[[np.ndarray], float], count: int, seed: int, draws: int = 1000) -> Interval:
    dice = np.random.default_rng(seed)
    values = [statistic(dice.integers(0, count, count)) for _ in range(draws)]
    low, high = np.quantile(values, [0.025, 0.975])
    return statistic(np.arange(count)), float(low), float(high)


def scaled(mix: Mix, repair: float) -> Mix:
    """The same mix with repairs that succeed less often, or more."""
    classes = [replace(c, mends={s: min(1.0, p * repair) for s, p in c.mends.items()}) for c in mix.classes]
    return replace(mix, classes=tuple(classes))


def without_budget(mix: Mix, drawn: Sequence[Kernel], seed: int) -> dict[str, list[Outcome]]:
    """Every strategy on every kernel, each search to its end."""
    return {name: [searched(mix, kernel, name, seed) for kernel in drawn] for name in STRATEGIES}


def with_budget(mix: Mix, drawn: Sequence[Kernel], size: int, seed: int) -> dict[str, Spent]:
    """Every strategy on jobs of `size` kernels, in order and by the bandit."""
    jobs = [drawn[at : at + size] for at in range(0, len(drawn) - size + 1, size)]
    return {
        f"{name}, {'bandit' if bandit else 'in order'}": [
            within(mix, job, name, mix.budget * size, seed, bandit) for job in jobs
        ]
        for name in STRATEGIES
        for bandit in (False, True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name("search.toml"))
    parser.add_argument("--kernels", type=int, default=600)
    parser.add_argument("--job", type=int, default=30, help="kernels of a job with a budget")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repair", type=float, default=1.0, help="repairs succeed so many times as often")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    mix = scaled(load(options.model), options.repair)
    drawn = kernels(mix, options.kernels, options.seed)
    free = without_budget(mix, drawn, options.seed)
    tied = with_budget(mix, drawn, options.job, options.seed)
    spent = {name: [(o.cost, int(o.verified)) for o in found] for name, found in free.items()}
    if options.json:
        print(json.dumps({"without_budget": spent, "with_budget": tied}))
        return
    print(f"{len(drawn)} kernels, at most {mix.limits.drafts} drafts each, no budget")
    print(
        f"{'':<24}{'verified':>9}{'calls':>7}{'judged':>8}   $ a verified kernel   best-first is cheaper by"
    )
    for name, found in free.items():
        shares = (sum(o.verified for o in found), sum(o.calls for o in found), sum(o.judged for o in found))
        verified, calls, judged = (total / len(found) for total in shares)
        print(f"{name:<24}{verified:9.1%}{calls:7.2f}{judged:8.2f}{_both(spent['best-first'], spent[name])}")
    jobs = len(drawn) // options.job
    print(f"\n{jobs} jobs of {options.job} kernels, ${mix.budget * options.job:.2f} each")
    for name, results in tied.items():
        verified = sum(v for _, v in results) / (jobs * options.job)
        print(f"{name:<24}{verified:9.1%}{'':15}{_both(tied['best-first, bandit'], results)}")


def _both(ours: Spent, theirs: Spent) -> str:
    cost, times = per_kernel(theirs), ratio(ours, theirs)
    return f"   {cost[0]:.3f} [{cost[1]:.3f}, {cost[2]:.3f}]  {times[0]:.2f} [{times[1]:.2f}, {times[2]:.2f}]"


if __name__ == "__main__":
    main()
