"""Training examples from the corpus, as TRL's SFT trainer takes them: `prompt`, `completion`, lists of turns.

Knows formats, not trainers. Records whose terms do not allow training are left out unless asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal

from llmptx.record import Attempt, Message, Record

Format = Literal["chat", "repair"]
SCHEMA = "llmptx/sft/1"


def examples(
    records: Iterable[Record], form: Format, terms: Collection[str] = ("open",)
) -> Iterator[dict[str, Any]]:
    """Of each record that passed, one example; of the others none.

    form    chat: the task, answered by the reply that passed; repair: the turns up to the last findings,
            answered by the reply that passed, for records that needed a repair
    terms   classes of terms to take: open, restricted, unknown
    """
    for record in records:
        if record.terms_class not in terms:
            continue
        for index, attempt in enumerate(record.attempts):
            if not (attempt.verdict and attempt.verdict.passed):
                continue
            if form == "chat":
                yield _example(record, record.attempts[0].prompt.messages, attempt)
            elif index > 0 and attempt.prompt.template == "repair":
                yield _example(record, attempt.prompt.messages, attempt)


def _example(record: Record, prompt: Iterable[Message], answer: Attempt) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "prompt": [{"role": m.role, "content": m.content} for m in prompt],
        "completion": [{"role": "assistant", "content": answer.completion.content}],
        "routine": record.routine,
        "dtype": record.dtype,
        "candidate": answer.candidate.hash if answer.candidate else "",
        "model": record.model,
        "license": record.license,
        "terms_class": record.terms_class,
    }
