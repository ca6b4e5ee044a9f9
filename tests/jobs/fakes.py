"""A judge that knows the answers, and a corpus in memory: what the coordinator needs, and nothing slow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from llmptx.jobs import Event, JobSpec, Store, Summary, make, run
from llmptx.llm.library import drafts
from llmptx.record import Accuracy, Candidate, Finding, Record, Stage, Verdict
from llmptx.routines import find

# Each of these has a faulty first draft in the library, but the last.
ITEMS = (
    ("numpy.add", "float32"),
    ("numpy.exp", "float32"),
    ("numpy.sum", "float32"),
    ("numpy.sqrt", "float64"),
)


class KnowingJudge:
    """Passes the last draft of the library and nothing else. `.judged` lists what it was shown."""

    def __init__(self) -> None:
        self.judged: list[Candidate] = []
        self._mutex = threading.Lock()

    def __call__(
        self, candidate: Candidate, level: object, device: object, on_stage: Callable[[str], None]
    ) -> Verdict:
        with self._mutex:
            self.judged.append(candidate)
        on_stage("quick: 3 cases")
        best = drafts(candidate.routine, candidate.dtype)[-1]
        passed = candidate.text == best.strip("\n") + "\n"
        return Verdict(
            routine=candidate.routine,
            dtype=candidate.dtype,
            level="full",
            candidate=candidate.hash,
            spec=find(candidate.routine).spec_hash(candidate.dtype),
            passed=passed,
            findings=()
            if passed
            else (Finding("mismatch", "element 3 is wrong", line=9, element=3, case="n=5"),),
            stages=(Stage("quick", passed, 3, 0.001 * len(self.judged)),),
            accuracy=Accuracy(0.5, "x", 3) if passed else None,
        )


class MemoryCorpus:
    """Keeps records in order, each once."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, record: Record) -> bool:
        if record.hash in self.hashes:
            return False
        self.records.append(record)
        return True

    @property
    def hashes(self) -> set[str]:
        return {record.hash for record in self.records}


def spec_of(*items: tuple[str, str], **settings: object) -> JobSpec:
    rows = [{"routine": routine, "dtype": dtype} for routine, dtype in items or ITEMS]
    return make({"items": rows, "workers": 2, **settings})


def run_in(folder: Path, spec: JobSpec, **settings: object) -> tuple[Summary, MemoryCorpus, list[Event]]:
    """A job from beginning to end in a store of its own."""
    corpus, events = MemoryCorpus(), []
    with Store(folder / "jobs.sqlite") as store:
        settings.setdefault("judge", KnowingJudge())
        done = run(store, store.submit(spec), corpus, events.append, **settings)  # type: ignore[arg-type]
    return done, corpus, events
