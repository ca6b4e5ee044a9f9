"""The review page over ten thousand records: what an inbox and a kernel's page take of the server.

    python benchmarks/review.py [--records N] [--json]

The records are those of a real run of the offline model on a few routines, filed again and again under other
hashes. Requests go to the application in this process, one after another; seconds are medians and the worst.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from starlette.testclient import TestClient

from llmptx.review.web.access import Person
from llmptx.review.web.app import build

HOME = "http://127.0.0.1:8765"
ROUTINES = ("exp", "add", "sum", "matmul", "sort", "softmax")


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds that requests of one kind took. cpu: the processor's, each, which say more where it is busy."""

    page: str
    requests: int
    median: float
    worst: float
    cpu: float
    target: float | None


def records(root: Path, count: int) -> None:
    """Fill the workspace: a run of the offline model, then its lines again under other hashes."""
    command = [sys.executable, "-m", "llmptx", "--workspace", str(root), "rewrite", *ROUTINES]
    subprocess.run([*command, "--dtype", "float32", "--json"], check=True, stdout=subprocess.DEVNULL)
    path = root / "corpus" / "records.jsonl"
    lines = path.read_text().splitlines()
    with path.open("a") as file:
        for number in range(count - len(lines)):
            file.write(_again(lines[number % len(lines)], number) + "\n")


def _again(line: str, number: int) -> str:
    """The record as that of another candidate: its hash is another wherever it stands."""
    hash = json.loads(line)["attempts"][-1]["candidate"]["hash"]
    return line.replace(hash, hashlib.sha256(f"{hash} {number}".encode()).hexdigest())


def measure(root: Path) -> Iterator[Row]:
    """Rows as they are measured; the first request reads all records, the others what was added."""
    gate, site = build(root, started=("token", Person("ada", "reviewer")))
    client = TestClient(gate, base_url=HOME, headers={"origin": HOME})
    client.post("/login", data={"token": "token"}, follow_redirects=False)
    yield _timed(client, "the first inbox, all records read", ["/"], None)
    inboxes = ["/", "/?page=100", "/?q=numpy.sum", "/?sort=newest", "/?tab=all&q=shared"] * 4
    yield _timed(client, "inbox", inboxes, 0.3)
    kernels = re.findall(r'href="(/kernel/[^"]+)"', client.get("/").text)[:20]
    kernels += re.findall(r'href="(/kernel/[^"]+)"', client.get("/?page=90").text)[:20]
    yield _timed(client, "kernel", kernels, 0.2)
    site.close()


def _timed(client: TestClient, name: str, paths: list[str], target: float | None) -> Row:
    times, before = [], time.process_time()
    for path in paths:
        start = time.perf_counter()
        assert client.get(path).status_code == 200, path
        times.append(time.perf_counter() - start)
    return Row(
        name, len(paths), median(times), max(times), (time.process_time() - before) / len(paths), target
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records(Path(folder), options.records)
        rows = list(measure(Path(folder)))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    print(f"{options.records:,} records, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(f"{'page':<36}{'requests':>9}{'median s':>10}{'worst s':>9}{'cpu s':>8}{'target':>9}")
    for row in rows:
        target = f"< {row.target:g}" if row.target else "-"
        print(
            f"{row.page:<36}{row.requests:>9}{row.median:>10.3f}{row.worst:>9.3f}{row.cpu:>8.3f}{target:>9}"
        )


if __name__ == "__main__":
    main()
