"""The corpus as a dataset folder: Parquet files by split, and a dataset card. Needs the `hf` extra."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from llmptx.corpus.store import outcome, passing
from llmptx.corpus.training import part_of
from llmptx.record import Attempt, Record
from llmptx.routines import HELD_OUT, families

_CARD = """\
---
license: {license}
pretty_name: {name}
task_categories:
- text-generation
tags:
- ptx
- cuda
- numpy
- code
size_categories:
- {size}
configs:
- config_name: default
  data_files:
{files}
---

# {name}

Language models rewriting numpy and scipy routines as NVIDIA PTX: {records} trajectories, each with every
reply and the judge's findings on it, and what came of it. {passed} end in a kernel that passed the judge.

| split | records | passed | repaired | rejected |
| --- | --- | --- | --- | --- |
{splits}

Whole families of routines are held out in `test` ({held_out}), so that no near relative of a test task is
taught.

| routine family | records |
| --- | --- |
{families}

Models: {models}. Terms of use of what they wrote: {terms}.

A row is one trajectory: `routine`, `dtype`, `family`, `model`, `outcome`, the `prompt` turns, the `attempts`
(reply, reasoning where it was given, PTX, findings with their line), and of a kernel that passed its `ptx`,
`max_ulp` (the largest error found, in units in the last place) and `registers` by target.
"""


def write(
    folder: Path, records: Iterable[Record], name: str, terms: Collection[str] = ("open",)
) -> dict[str, int]:
    """Write data/SPLIT.parquet and README.md into `folder`; how many rows each split has.

    terms  classes of terms to take: open, restricted, unknown
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    taken = [record for record in records if record.terms_class in terms]
    by_split = {split: [r for r in taken if part_of(r.routine) == split] for split in ("train", "test")}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, rows in by_split.items():
        file = folder / "data" / f"{split}.parquet"
        file.unlink(missing_ok=True)
        if rows:
            pq.write_table(pa.Table.from_pylist([_row(r) for r in rows], schema=_schema()), file)
    if taken:
        (folder / "README.md").write_text(_card(name, by_split), encoding="utf-8")
    return {split: len(rows) for split, rows in by_split.items()}


def _schema() -> Any:
    import pyarrow as pa

    turn = pa.struct({"role": pa.string(), "content": pa.string()})
    finding = pa.struct({"kind": pa.string(), "message": pa.string(), "line": pa.int32()})
    attempt = pa.struct(
        {
            "template": pa.string(),
            "reply": pa.string(),
            "reasoning": pa.string(),
            "reasoning_kind": pa.string(),
            "ptx": pa.string(),
            "candidate": pa.string(),
            "passed": pa.bool_(),
            "findings": pa.list_(finding),
            "input_tokens": pa.int64(),
            "output_tokens": pa.int64(),
            "cost": pa.float64(),
        }
    )
    return pa.schema(
        {
            "hash": pa.string(),
            "routine": pa.string(),
            "dtype": pa.string(),
            "family": pa.string(),
            "model": pa.string(),
            "license": pa.string(),
            "terms_class": pa.string(),
            "created": pa.string(),
            "outcome": pa.string(),
            "prompt": pa.list_(turn),
            "attempts": pa.list_(attempt),
            "ptx": pa.string(),
            "max_ulp": pa.float64(),
            "registers": pa.map_(pa.string(), pa.int32()),
        }
    )


def _row(record: Record) -> dict[str, Any]:
    candidate, verdict = passing(record), record.attempts[-1].verdict
    accuracy = verdict.accuracy if verdict and verdict.passed else None
    registers: dict[str, int] = {}
    for resource in verdict.resources if verdict else ():
        registers[resource.target] = max(resource.registers, registers.get(resource.target, 0))
    return {
        "hash": record.hash,
        "routine": record.routine,
        "dtype": record.dtype,
        "family": families().get(record.routine, ""),
        "model": record.model,
        "license": record.license,
        "terms_class": record.terms_class,
        "created": record.created,
        "outcome": outcome(record),
        "prompt": [{"role": m.role, "content": m.content} for m in record.attempts[0].prompt.messages],
        "attempts": [_attempt(attempt) for attempt in record.attempts],
        "ptx": candidate.text if candidate else None,
        "max_ulp": accuracy.max_ulp if accuracy else None,
        "registers": list(registers.items()),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    completion, verdict = attempt.completion, attempt.verdict
    return {
        "template": attempt.prompt.template,
        "reply": completion.content,
        "reasoning": completion.reasoning,
        "reasoning_kind": completion.reasoning_kind,
        "ptx": attempt.candidate.text if attempt.candidate else None,
        "candidate": attempt.candidate.hash if attempt.candidate else None,
        "passed": verdict.passed if verdict else False,
        "findings": [
            {"kind": f.kind, "message": f.message, "line": f.line}
            for f in (verdict.findings if verdict else ())
        ],
        "input_tokens": completion.usage.input_tokens,
        "output_tokens": completion.usage.output_tokens,
        "cost": completion.usage.cost,
    }


def _card(name: str, by_split: dict[str, list[Record]]) -> str:
    records = [record for rows in by_split.values() for record in rows]
    lines = []
    for split, rows in by_split.items():
        ends = Counter(outcome(record) for record in rows)
        lines.append(
            f"| {split} | {len(rows)} | {ends['passed']} | {ends['repaired']} | {ends['rejected']} |"
        )
    licenses = {record.license for record in records}
    counts = Counter(families().get(record.routine, "other") for record in records)
    sizes = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    return _CARD.format(
        name=name,
        license=licenses.pop().lower() if len(licenses) == 1 else "other",
        size=next((word for most, word in sizes if len(records) < most), "n>100K"),
        files="\n".join(
            f"  - split: {s}\n    path: data/{s}.parquet" for s, rows in by_split.items() if rows
        ),
        records=len(records),
        passed=sum(record.passed for record in records),
        splits="\n".join(lines),
        held_out=", ".join(sorted(HELD_OUT)),
        families="\n".join(f"| {family} | {count} |" for family, count in counts.most_common()),
        models=", ".join(sorted({record.model for record in records})),
        terms=", ".join(sorted({record.terms_class for record in records})),
    )
