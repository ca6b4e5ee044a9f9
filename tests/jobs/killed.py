"""Run as a program: works a job off with the judge that knows, and gets a signal at its N-th event.

killed.py FOLDER BASE_URL WORKERS N SIGNAL
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from llmptx.corpus import Corpus
from llmptx.jobs import Event, Store, run
from tests.jobs.fakes import KnowingJudge, spec_of


def main(folder: Path, base_url: str, workers: int, events: int, number: int) -> None:
    left = events

    def on_event(event: Event) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)

    with Store(folder / "jobs.sqlite") as store:
        jobs = store.jobs()
        job = jobs[0].id if jobs else store.submit(spec_of(base_url=base_url, workers=workers))
        done = run(store, job, Corpus(folder / "records.jsonl"), on_event, judge=KnowingJudge())
    print(done.pending)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
