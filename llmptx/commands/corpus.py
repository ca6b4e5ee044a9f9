"""`llmptx corpus`: what the corpus holds, whether it is sound, and training examples from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from llmptx.commands.output import (
    NO,
    Workspace,
    cell,
    json_option,
    pass_workspace,
    print_json,
    stdout,
    table,
)

_OUT = click.Path(dir_okay=False, writable=True, path_type=Path)
_OUT_ANY = click.Path(path_type=Path)
FORMATS = (
    "chat",
    "repair",
    "preference",
    "unpaired",
    "openai",
    "openai-preference",
    "tasks",
    "parquet",
)


@click.group()
def corpus() -> None:
    """The corpus: every trajectory, append-only."""


@corpus.command()
@json_option
@pass_workspace
@click.pass_context
def stats(context: click.Context, workspace: Workspace, as_json: bool) -> None:
    """Counts of records, outcomes, routines, dtypes and models."""
    from llmptx.corpus import Corpus
    from llmptx.corpus import stats as count

    found = count(Corpus(workspace.records))
    if as_json:
        print_json(found)
        context.exit(0 if found.records else NO)
    click.echo(
        f"{found.records:,} records, {found.turns:,} replies, {found.candidates:,} distinct candidates, "
        f"{found.input_tokens:,} tokens in, {found.output_tokens:,} out, ${found.cost:,.2f}"
    )
    for name in ("outcomes", "dtypes", "models", "terms", "routines"):
        listing = table(name, "records", right=("records",))
        counts: dict[str, int] = getattr(found, name)
        for key, value in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
            listing.add_row(cell(key), f"{value:,}")
        if counts:
            click.echo()
            stdout().print(listing)
    if found.unreadable:
        click.echo(f"\n{found.unreadable} lines cannot be read; see llmptx corpus check", err=True)
    context.exit(0 if found.records else NO)


@corpus.command()
@json_option
@pass_workspace
@click.pass_context
def check(context: click.Context, workspace: Workspace, as_json: bool) -> None:
    """Name every line that is broken, a double, at odds with itself, stale or leaking; exit 1 if one is.

    Stale: passed by another judge, engine or spec than today's, and not rechecked. Leaking: shows a kernel of
    the split that its routine is not in.
    """
    from llmptx.corpus import Corpus, rechecked
    from llmptx.corpus import check as look

    problems = list(look(Corpus(workspace.records), rechecked(workspace.root)))
    if as_json:
        print_json({"file": workspace.records, "problems": problems})
    else:
        from llmptx.review.plain import plain_line

        for problem in problems:
            click.echo(f"{workspace.records}:{problem.line}: {plain_line(problem.message)}")
        click.echo(
            f"{len(problems)} problems" if problems else "sound: every line was read and agrees with itself"
        )
    context.exit(NO if problems else 0)


@corpus.command()
@click.option(
    "--out", type=_OUT, help="Write the records without doubles here. The corpus itself stays as it is."
)
@click.option(
    "--near",
    type=click.FloatRange(0.5, 1, min_open=True),
    help="Count kernels as doubles too that share this much of their runs of instructions: 0.9, say.",
)
@json_option
@pass_workspace
def dedup(workspace: Workspace, out: Path | None, near: float | None, as_json: bool) -> None:
    """Count records whose passing kernel an earlier one has, names of registers and labels aside."""
    from llmptx.corpus import Corpus, distinct

    records, _ = Corpus(workspace.records).read()
    kept = list(distinct(records))
    if near is not None:
        with _extra("hf"):
            from llmptx.corpus.near import unlike

            kept = list(unlike(kept, near))
    if out:
        _write(out, (json.loads(record.to_json()) for record in kept))
    if as_json:
        print_json({"records": len(records), "distinct": len(kept), "out": out})
    else:
        where = f"; written to {out}" if out else ""
        click.echo(f"{len(records)} records, {len(records) - len(kept)} doubles, {len(kept)} distinct{where}")


@corpus.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="chat",
    show_default=True,
    help="What the trainer takes; see above.",
)
@click.option(
    "--out", type=_OUT_ANY, required=True, help="The JSON Lines file to write; for parquet, a folder."
)
@click.option(
    "--terms",
    multiple=True,
    type=click.Choice(["open", "restricted", "unknown"]),
    default=("open",),
    show_default=True,
    help="Terms of use to take; may be given again.",
)
@click.option(
    "--split",
    type=click.Choice(["all", "train", "test"]),
    default="all",
    show_default=True,
    help="Of the catalogue: train leaves out the families that are held out, test takes only those.",
)
@click.option(
    "--reasoning",
    is_flag=True,
    help="Put what the model thought before its reply, in <think> tags, where it was given in full.",
)
@click.option(
    "--near",
    type=click.FloatRange(0.5, 1, min_open=True),
    help="Leave out kernels that share this much of their runs of instructions with an earlier one.",
)
@json_option
@pass_workspace
@click.pass_context
def export(
    context: click.Context,
    workspace: Workspace,
    form: str,
    out: Path,
    terms: tuple[str, ...],
    split: str,
    reasoning: bool,
    near: float | None,
    as_json: bool,
) -> None:
    """Training examples of distinct records, of those terms that allow it unless others are asked for.

    \b
    chat               the task and the reply that passed: prompt, completion (TRL SFT)
    repair             findings and the reply that mended them: prompt, completion
    preference         a right and a wrong reply to one task: prompt, chosen, rejected (TRL DPO)
    unpaired           every judged reply: prompt, completion, label (TRL KTO)
    openai             chat as messages (OpenAI supervised fine-tuning)
    openai-preference  preference as OpenAI takes it
    tasks              every task of the catalogue, for llmptx.corpus.reward (TRL GRPO)
    parquet            whole records by split, with a dataset card: a folder
    """
    from llmptx.corpus import Corpus, distinct, examples

    records = list(distinct(Corpus(workspace.records)))
    left_out = 0 if form == "tasks" else sum(record.terms_class not in terms for record in records)
    if near is not None:
        with _extra("hf"):
            from llmptx.corpus.near import unlike

            records = list(unlike(records, near))
    if form == "parquet":
        with _extra("hf"):
            from llmptx.corpus.parquet import write

            count = sum(write(out, records, out.name, terms).values())
    else:
        rows = examples(records, form, terms, part=split, reasoning=reasoning)  # type: ignore[arg-type]
        count = _write(out, rows)
    if as_json:
        print_json({"examples": count, "out": out, "left_out_for_terms": left_out})
    else:
        aside = f"; {left_out} records left out for their terms" if left_out else ""
        click.echo(f"{count} examples written to {out}{aside}")
    context.exit(0 if count else NO)


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """What an extra brings may not be there: says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise click.UsageError(f"this needs {error.name}: pip install 'llmptx[{name}]'") from error


def _write(out: Path, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, sort_keys=True) + "\n")
            count += 1
    return count
