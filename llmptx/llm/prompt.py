"""Prompts: a routine's spec, or a verdict, said in words.

The words are the Markdown templates of prompts/ (Jinja, StrictUndefined), shipped in the wheel as
llmptx/prompts. A model's text enters only as a value, never as a template. Knows nothing of endpoints, search
or how a verdict was reached.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from llmptx.llm.exemplars import Exemplar, nearest
from llmptx.record import (
    TARGETS,
    Candidate,
    Completion,
    Finding,
    Message,
    Prompt,
    Routine,
    Tolerance,
    Verdict,
)


class TemplateError(ValueError):
    """A prompt template that cannot be used; the text says which and why."""


# What a routine's kind is told about building its kernels.
GUIDES: Mapping[str, str] = {
    "elementwise": "elementwise",
    "reduction": "reduction",
    "dot": "reduction",
    "scan": "scan",
    "matmul": "matmul",
    "sort": "sort",
}
TEMPLATES = ("system", "task", "repair", "improve", "primer", *dict.fromkeys(GUIDES.values()))
SHOWN_FINDINGS = 8

# numpy's name of an element type: PTX's name, and its size in bytes.
STORAGE: Mapping[str, tuple[str, int]] = {
    "bool": ("u8", 1),
    "int8": ("s8", 1),
    "int16": ("s16", 2),
    "int32": ("s32", 4),
    "int64": ("s64", 8),
    "uint8": ("u8", 1),
    "uint16": ("u16", 2),
    "uint32": ("u32", 4),
    "uint64": ("u64", 8),
    "float16": ("f16", 2),
    "float32": ("f32", 4),
    "float64": ("f64", 8),
}

LAYOUT: Mapping[str, str] = {
    "elementwise": "Element i of the output depends on element i of each input, for i from 0 to n - 1.",
    "reduction": (
        "Element (o, j, i) of the input is at index (o*n + j)*inner + i. The reduction runs over j; where "
        "the output has one element for each (o, i) it is at index o*inner + i, and where it has the input's "
        "size it has the input's layout."
    ),
    "scan": (
        "Element (o, j, i) is at index (o*n + j)*inner + i, in the input and in the output. "
        "The scan runs over j, from 0 up."
    ),
    "dot": "Both inputs have n elements; the output has one.",
    "matmul": (
        "For every b below batch: `in0` is an m by k matrix at element b*m*k, `in1` k by n at b*k*n, the "
        "output m by n at b*m*n. Where k is 0, the output is all zeros, and must be written."
    ),
    "sort": "Row o, for o from 0 to outer - 1, is the n elements from index o*n; each is sorted by itself.",
}


class Writer:
    """Prompts from one set of templates: the shipped ones, with other texts for those of `changed`.

    primer     whether the system prompt teaches PTX: for models that know little of it
    exemplars  verified kernels, of which the `shots` nearest to a task are shown with it

    Raises TemplateError for a name that is no template's, and for a text that is not Jinja.
    """

    def __init__(
        self,
        changed: Mapping[str, str] | None = None,
        *,
        primer: bool = False,
        exemplars: Sequence[Exemplar] = (),
        shots: int = 0,
    ) -> None:
        import jinja2

        self.changed = dict(changed or {})
        if unknown := set(self.changed) - set(TEMPLATES):
            known = ", ".join(TEMPLATES)
            raise TemplateError(f"no prompt template is named {sorted(unknown)[0]!r}; there are {known}")
        self._texts = {**sources(), **self.changed}
        self._exemplars, self._shots = tuple(exemplars), shots
        words = [*(self._texts[name] for name in TEMPLATES), *(["primer"] if primer else [])]
        self.hash = hashlib.sha256("\0".join(words).encode()).hexdigest()
        self._environment = jinja2.Environment(
            loader=jinja2.DictLoader(self._texts),
            undefined=jinja2.StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for name in self.changed:
            try:
                self._environment.get_template(name)
            except jinja2.TemplateSyntaxError as error:
                raise TemplateError(f"prompt template {name}, line {error.lineno}: {error}") from error
        self._system = self._render("system", primer=self._render("primer").strip() if primer else "")

    def first(self, routine: Routine, dtype: str) -> Prompt:
        """The opening prompt for one dtype of a routine. Raises KeyError naming the dtypes there are."""
        task = self._render(
            "task",
            routine=routine,
            dtype=dtype,
            buffers=_buffers(routine, dtype),
            layout=LAYOUT[routine.kind],
            tolerance=tolerance_in_words(routine.tolerance[dtype]),
            targets=TARGETS,
            guide=self._render(GUIDES[routine.kind]).strip() if routine.kind in GUIDES else "",
            exemplars=nearest(self._exemplars, routine, dtype, self._shots),
        )
        messages = (Message("system", self._system), Message("user", task))
        return Prompt(routine.name, dtype, messages, "task", self.hash)

    def repair(
        self, prompt: Prompt, completion: Completion, candidate: Candidate, verdict: Verdict
    ) -> Prompt:
        """The next prompt after a rejected candidate: the conversation, the reply, the findings verbatim."""
        lines = candidate.text.split("\n")
        shown = [_shown(finding, lines) for finding in verdict.findings[:SHOWN_FINDINGS]]
        smallest, at = _smallest(verdict.findings)
        text = self._render(
            "repair",
            problem="",
            routine=prompt.routine,
            dtype=prompt.dtype,
            stage=verdict.stages[-1].name if verdict.stages else "read",
            passed=[stage.name for stage in verdict.stages if stage.passed],
            findings=shown,
            more=len(verdict.findings) - len(shown),
            smallest=smallest,
            line=at.line if at else 0,
            source=_source(at, lines) if at else "",
        )
        return self._next(prompt, completion, text)

    def ask_again(self, prompt: Prompt, completion: Completion, problem: str) -> Prompt:
        """The next prompt after a reply that held no PTX; `problem` says what was found instead."""
        text = self._render("repair", problem=problem, routine=prompt.routine, dtype=prompt.dtype)
        return self._next(prompt, completion, text)

    def improve(self, prompt: Prompt, candidate: Candidate, weight: str) -> Prompt:
        """The task, a verified kernel as its answer, and the wish for a better one; `weight` in words."""
        text = self._render("improve", weight=weight)
        turns = (Message("assistant", f"```ptx\n{candidate.text}```\n"), Message("user", text))
        return Prompt(prompt.routine, prompt.dtype, prompt.messages[:2] + turns, "improve", self.hash)

    def _next(self, prompt: Prompt, completion: Completion, text: str) -> Prompt:
        turns = (Message("assistant", completion.content), Message("user", text))
        return Prompt(prompt.routine, prompt.dtype, prompt.messages + turns, "repair", self.hash)

    def _render(self, name: str, **values: Any) -> str:
        """Raises TemplateError where a template asks for a value that there is not."""
        import jinja2

        try:
            return self._environment.get_template(name).render(**values).strip() + "\n"
        except jinja2.UndefinedError as error:
            raise TemplateError(f"prompt template {name}: {error}") from error


@functools.cache
def shipped() -> Writer:
    """The writer of the shipped templates."""
    return Writer()


def read_templates(folder: Path) -> dict[str, str]:
    """The templates in a folder, `system.md` and so on, which replace shipped ones. Raises TemplateError."""
    try:
        found = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.md"))}
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{folder}: cannot be read: {error}") from error
    if not found:
        raise TemplateError(
            f"{folder}: no template in it; a variant has one or more of {', '.join(TEMPLATES)}.md"
        )
    Writer(found)
    return found


def _buffers(routine: Routine, dtype: str) -> list[dict[str, Any]]:
    signature = routine.signature(dtype)
    names = routine.parameters(dtype)
    buffers = []
    for i, (element, size) in enumerate(
        zip(signature.inputs + signature.outputs, routine.sizes, strict=True)
    ):
        kind, width = STORAGE[element]
        role = "an input" if i < len(signature.inputs) else "the output"
        buffers.append(
            {"name": names[i], "role": role, "size": size, "dtype": element, "type": kind, "bytes": width}
        )
    return buffers


def tolerance_in_words(rule: Tolerance) -> str:
    """What a tolerance asks of the kernel, as a sentence or two."""
    u = "u is the unit roundoff of the output's type"
    special = "NaN and infinity exactly where the reference has them."
    words = {
        "exact": "Bit for bit: every element equals the reference, signed zeros too. A NaN matches any NaN.",
        "ulp": f"Every element within {rule.ulp:g} ULP of the exact result. {special}",
        "special": (
            f"Every element within {rule.ulp:g} ULP times (1 + |x f'(x) / f(x)|), the function's own "
            f"conditioning, and near a zero of the function the same in absolute terms. {special}"
        ),
        "reduction": (
            "The error is at most gamma_d times the sum of |x|, with d = 4 log2(n) + 64 and "
            f"gamma_d = d u / (1 - d u); {u}. Any order of adding will do that meets it; one long chain of "
            "additions does not. Integers are exact."
        ),
        "scan": (
            "At every prefix, the error is at most gamma_d times the sum of |x| so far, with "
            f"d = 4 log2(n) + 64 and gamma_d = d u / (1 - d u); {u}. Integers are exact."
        ),
        "matmul": (
            "Element by element, the error is at most 4 sqrt(k) u (|A| |B|) on random data and k u (|A| |B|) "
            f"on structured data; {u}. Integer-valued data come out exactly. TF32 and half precision do not "
            "meet this."
        ),
        "sort": "Exactly the input's elements in order, NaN last.",
    }
    return words[rule.rule]


@functools.cache
def sources() -> Mapping[str, str]:
    """The templates' texts by name."""
    packaged = resources.files("llmptx") / "prompts"
    checkout = Path(__file__).parents[2] / "prompts"
    root = packaged if packaged.is_dir() else checkout
    return {name: (root / f"{name}.md").read_text(encoding="utf-8") for name in TEMPLATES}


def _shown(finding: Finding, lines: Sequence[str]) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "message": finding.message,
        "line": finding.line,
        "source": _source(finding, lines),
        "where": _where(finding),
    }


def _source(finding: Finding, lines: Sequence[str]) -> str:
    """The line of PTX a finding names."""
    return lines[finding.line - 1].strip()[:160] if 0 < finding.line <= len(lines) else ""


def _where(finding: Finding) -> str:
    parts = []
    if finding.block is not None:
        parts.append(f"block {finding.block}")
    if finding.thread is not None:
        parts.append(f"thread {finding.thread}")
    if finding.lane is not None:
        parts.append(f"lane {finding.lane}")
    if finding.buffer:
        parts.append(f"buffer {finding.buffer}")
    if finding.element is not None:
        parts.append(f"element {finding.element}")
    if finding.address is not None:
        parts.append(f"byte {finding.address}")
    if finding.case:
        parts.append(f"case {finding.case}")
    return ", ".join(parts)


def _smallest(findings: Sequence[Finding]) -> tuple[str, Finding | None]:
    """The counterexample easiest to follow, and whose it is: one made small, else the lowest element."""
    for finding in findings:
        if finding.counterexample:
            return finding.counterexample, finding
    cases = [finding for finding in findings if finding.case]
    if not cases:
        return "", None
    least = min(cases, key=lambda finding: (finding.element or 0, len(finding.case)))
    return f"Case {least.case}: {least.message}", least
