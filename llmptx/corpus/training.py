"""Training examples from the corpus, each format as its trainer takes it.

Knows formats, not trainers. Records whose terms do not allow training are left out unless asked for; rows say
which part of the catalogue they belong to, so that what is held out stays out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

from llmptx.llm import prompt as prompts
from llmptx.record import Attempt, Message, Record
from llmptx.routines import UnknownRoutine, select, split

Format = Literal["chat", "repair", "preference", "unpaired", "openai", "openai-preference", "tasks"]
Split = Literal["all", "train", "test"]
SCHEMA = "llmptx/training/1"
Row = dict[str, Any]
_Task = tuple[str, str, tuple[Message, ...]]


def examples(
    records: Iterable[Record],
    form: Format,
    terms: Collection[str] = ("open",),
    *,
    part: Split = "all",
    reasoning: bool = False,
) -> Iterator[Row]:
    """Rows of a format. Conversations are lists of {role, content}.

    chat               of each record that passed: prompt, completion (TRL's SFT)
    repair             the turns up to the last findings, and the reply that mended them: prompt, completion
    preference         a reply that passed and one that did not to the same task: prompt, chosen, rejected
                       (TRL's DPO)
    unpaired           every judged reply with the turns before it: prompt, completion, label (TRL's KTO)
    openai             chat, as messages (OpenAI's supervised fine-tuning)
    openai-preference  preference, as OpenAI's preference fine-tuning has it
    tasks              every task of the catalogue, without answers: prompt, routine, dtype, which
                       llmptx.corpus.reward judges (TRL's GRPO); records and terms do not matter

    terms      classes of terms to take: open, restricted, unknown
    part       of the catalogue: train leaves out the families that are held out, test takes only them
    reasoning  put what the model thought, where it was given in full, before its reply in <think> tags
    """
    if form == "tasks":
        yield from (row for row in _tasks() if part in ("all", row["split"]))
        return
    taken = [r for r in records if r.terms_class in terms and part in ("all", part_of(r.routine))]
    yield from _MAKERS[form](taken, reasoning)


def part_of(routine: str) -> str:
    """The split a routine is in; test where the catalogue does not know it: what is unknown is not taught."""
    try:
        return split(routine)
    except UnknownRoutine:
        return "test"


def _chat(records: Iterable[Record], reasoning: bool) -> Iterator[Row]:
    for record, attempt in _passed(records):
        task = record.attempts[0].prompt.messages
        yield _about(record, attempt) | {"prompt": _turns(task), "completion": [_reply(attempt, reasoning)]}


def _repair(records: Iterable[Record], reasoning: bool) -> Iterator[Row]:
    for record, attempt in _passed(records):
        if attempt.prompt.template == "repair":
            before = _turns(attempt.prompt.messages)
            yield _about(record, attempt) | {"prompt": before, "completion": [_reply(attempt, reasoning)]}


def _preference(records: Iterable[Record], reasoning: bool) -> Iterator[Row]:
    """Every distinct wrong candidate once, beside the right ones of its task in turn."""
    good: dict[_Task, dict[str, tuple[Record, Attempt]]] = {}
    bad: dict[_Task, dict[str, Attempt]] = {}
    for record in records:
        task = record.routine, record.dtype, record.attempts[0].prompt.messages
        for attempt in record.attempts:
            if attempt.candidate is None or attempt.verdict is None:
                continue
            if attempt.verdict.passed:
                good.setdefault(task, {}).setdefault(attempt.candidate.hash, (record, attempt))
            else:
                bad.setdefault(task, {}).setdefault(attempt.candidate.hash, attempt)
    for task, wrong in bad.items():
        right = list(good.get(task, {}).values())
        for number, attempt in enumerate(wrong.values() if right else ()):
            record, chosen = right[number % len(right)]
            yield _about(record, chosen) | {
                "prompt": _turns(task[2]),
                "chosen": [_reply(chosen, reasoning)],
                "rejected": [_reply(attempt, reasoning)],
                "rejected_for": attempt.verdict.findings[0].kind if attempt.verdict else "",
            }


def _unpaired(records: Iterable[Record], reasoning: bool) -> Iterator[Row]:
    for record in records:
        for attempt in record.attempts:
            if attempt.verdict is not None:
                yield _about(record, attempt) | {
                    "prompt": _turns(attempt.prompt.messages),
                    "completion": [_reply(attempt, reasoning)],
                    "label": attempt.verdict.passed,
                }


def _openai(records: Iterable[Record], reasoning: bool) -> Iterator[Row]:
    """Their upload takes no other key."""
    for row in _chat(records, reasoning):
        yield {"messages": [*row["prompt"], *row["completion"]]}


def _openai_preference(records: Iterable[Record], reasoning: bool) -> Iterator[Row]:
    for row in _preference(records, reasoning):
        yield {
            "input": {"messages": row["prompt"]},
            "preferred_output": row["chosen"],
            "non_preferred_output": row["rejected"],
        }


def _tasks() -> Iterator[Row]:
    for routine in select(()):
        for signature in routine.signatures:
            yield {
                "schema": SCHEMA,
                "prompt": _turns(prompts.shipped().first(routine, signature.dtype).messages),
                "routine": routine.name,
                "dtype": signature.dtype,
                "split": split(routine.name),
            }


_MAKERS: Mapping[str, Callable[[list[Record], bool], Iterator[Row]]] = {
    "chat": _chat,
    "repair": _repair,
    "preference": _preference,
    "unpaired": _unpaired,
    "openai": _openai,
    "openai-preference": _openai_preference,
}


def _passed(records: Iterable[Record]) -> Iterator[tuple[Record, Attempt]]:
    for record in records:
        for attempt in record.attempts:
            if attempt.verdict and attempt.verdict.passed:
                yield record, attempt


def _about(record: Record, attempt: Attempt) -> Row:
    return {
        "schema": SCHEMA,
        "routine": record.routine,
        "dtype": record.dtype,
        "split": part_of(record.routine),
        "candidate": attempt.candidate.hash if attempt.candidate else "",
        "model": record.model,
        "license": record.license,
        "terms_class": record.terms_class,
    }


def _turns(messages: Iterable[Message]) -> list[Row]:
    return [{"role": m.role, "content": m.content} for m in messages]


def _reply(attempt: Attempt, reasoning: bool) -> Row:
    said, thought = attempt.completion.content, attempt.completion.reasoning
    if reasoning and thought and attempt.completion.reasoning_kind == "full":
        said = f"<think>\n{thought.strip()}\n</think>\n\n{said}"
    return {"role": "assistant", "content": said}
