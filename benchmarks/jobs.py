"""What the coordinator itself costs: `python benchmarks/jobs.py [own] [memory] [throughput] [faults]`.

own         CPU and wall milliseconds an item, model and judge answering at once and in this process; and how
            much of it goes into the normalised hash of the candidate, which finds duplicates
memory      peak resident megabytes of a job of 10,000 items, in a process of its own
throughput  replies a second with 64 requests out, from an endpoint that answers after a second
faults      a job against an endpoint that goes wrong by schedule: every item ends, nothing is paid for twice

Items are every kernel of the catalogue, sample after sample. The judge passes everything at once: what judges
cost is benchmarks/verdicts.py's to say.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmptx.corpus import Corpus
from llmptx.jobs import JobSpec, Ledger, Retry, Store, Summary, make, run
from llmptx.llm.client import Client, Limits
from llmptx.llm.library import drafts
from llmptx.record import Candidate, Completion, Message, Stage, Usage, Verdict
from llmptx.routines import catalog
from llmptx.search.loop import hash_of

TARGETS = {"own": "< 5 ms CPU an item", "memory": "< 500 MB", "throughput": ">= 60 a second"}


class Instant(Client):
    """Answers at once with the right kernel; the same protocol around it, no socket."""

    def complete(self, messages: Any, *, sample: int = 0) -> Completion:
        routine, dtype = _task(messages)
        text = f"```ptx\n{drafts(routine, dtype)[-1]}\n```\n"
        return Completion("offline", "offline", text, "stop", Usage(2000, 1000, 0.0), 0.0)


def _task(messages: list[Message]) -> tuple[str, str]:
    lines = [line.split(": ") for line in messages[1].content.splitlines()[:6] if ": " in line]
    found = {name: value for name, value, *_ in lines}
    return found["routine"], found["dtype"]


def approve(candidate: Candidate, level: object, device: object, on_stage: object) -> Verdict:
    """A judge that passes everything at once."""
    stage = Stage("quick", True, 1, 0.0)
    return Verdict(candidate.routine, candidate.dtype, "quick", candidate.hash, "", True, (), (stage,))


def spec_of(items: int, **settings: object) -> JobSpec:
    """A job of at least so many items: every kernel of the catalogue, as often as it takes."""
    rows = [{"routine": r.name, "dtype": s.dtype} for r in catalog().values() for s in r.signatures]
    have = [row for row in rows if drafts(row["routine"], row["dtype"])][: items or None]
    samples = -(-items // len(have))
    return make({"items": have, "samples": samples, "rounds": 1, "level": "quick", **settings})


@contextmanager
def endpoint(*options: str) -> Iterator[str]:
    """benchmarks/endpoint.py in a process of its own; its base URL."""
    command = [sys.executable, str(Path(__file__).with_name("endpoint.py")), *options]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.stdin.close()
        child.wait(10)


def worked(folder: Path, spec: JobSpec, **settings: Any) -> tuple[Summary, float, float, int]:
    """The job's end, wall and CPU seconds of the run, and how many calls the ledger says were sent."""
    with Store(folder / "jobs.sqlite") as store:
        job = store.submit(spec)
        wall, cpu = time.perf_counter(), time.process_time()
        done = run(store, job, Corpus(folder / "records.jsonl"), judge=approve, **settings)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        sent = Ledger(store).totals(job)[0]
    return done, wall, cpu, sent


def own(items: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        done, wall, cpu, _ = worked(Path(folder), spec_of(items, workers=2), client=Instant("offline"))
    count = len(done.items)
    found = {"items": count, "wall_ms": 1000 * wall / count, "cpu_ms": 1000 * cpu / count}
    return {**found, "normalising_cpu_ms": 1000 * _normalising()}


def _normalising() -> float:
    """CPU seconds the normalised hash of a kernel takes, on average over the catalogue."""
    kernels = [drafts(r.name, s.dtype) for r in catalog().values() for s in r.signatures]
    texts = [found[-1] for found in kernels if found]
    begun = time.process_time()
    for text in texts:
        hash_of(text)
    return (time.process_time() - begun) / len(texts)


def memory(items: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        spec = spec_of(items, workers=8, budget=1.0)  # a budget: the bandit keeps every search in mind
        done, _, _, _ = worked(Path(folder), spec, client=Instant("offline"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"items": len(done.items), "before_mb": before, "peak_mb": peak}


def throughput(items: int, concurrent: int = 64) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, endpoint("--delay", "1") as url:
        spec = spec_of(items, base_url=url, workers=concurrent)
        done, wall, cpu, sent = worked(Path(folder), spec)
    return {"items": len(done.items), "a_second": sent / wall, "wall_s": wall, "cpu_s": cpu}


def faults(items: int, rate: float = 0.2) -> dict[str, float]:
    options = ("--rate", str(rate), "--hang", "2", "--seed", "7")
    with tempfile.TemporaryDirectory() as folder, endpoint(*options) as url:
        spec = spec_of(items, base_url=url, workers=16, price=[1.0, 10.0])
        client = Client("offline", url, limits=Limits(read=1.0, total=5.0), price=(1.0, 10.0))
        quick = Retry(tries=8, base=0.02, cap=0.1)
        done, wall, _, sent = worked(Path(folder), spec, client=client, retry=quick)
        with urllib.request.urlopen(f"{url}/count") as answer:
            served = json.load(answer)
    return {
        "items": len(done.items),
        "passed": done.count("passed"),
        "requests_sent": sent,
        "requests_served": served["requests"],
        "completions": served["completions"],
        "wall_s": wall,
    }


MEASURES = {
    "own": (own, 2000),
    "memory": (memory, 10_000),
    "throughput": (throughput, 640),
    "faults": (faults, 300),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"{', '.join(MEASURES)}; all by default"
    )
    parser.add_argument("--items", type=int, help="of each job, instead of each measure's own number")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for name in options.measures or list(MEASURES):
        if len(options.measures) != 1:
            extra = ["--json"] if options.json else []
            extra += ["--items", str(options.items)] if options.items else []
            subprocess.run([sys.executable, __file__, name, *extra], check=True)
            continue
        measure, items = MEASURES[name]
        found = measure(options.items or items)
        if options.json:
            print(json.dumps({name: found}))
        else:
            values = ", ".join(f"{key} {value:,.2f}".replace(".00", "") for key, value in found.items())
            print(f"{name}: {values}" + (f"  (wanted: {TARGETS[name]})" if name in TARGETS else ""))


if __name__ == "__main__":
    main()
