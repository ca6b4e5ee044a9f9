"""The nouns of llmptx: frozen values, addressed by the SHA-256 of their canonical content.

This module knows nothing of PTX, numpy, models or disks. Everything else imports it; it imports nothing of
ours.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

JUDGE_VERSION = "3"
ENGINE_VERSION = "1"

Kind = Literal["elementwise", "reduction", "scan", "dot", "matmul", "sort"]

FindingKind = Literal[
    "parse",
    "abi",
    "forbidden",
    "assemble",
    "mismatch",
    "nan-mismatch",
    "out-of-bounds",
    "misaligned",
    "uninitialized-read",
    "data-race",
    "barrier-divergence",
    "unset-register",
    "invalid-shuffle",
    "division-by-zero",
    "deadlock",
    "timeout",
    "crash",
    "nondeterminism",
    "unwritten-output",
    "input-modified",
    "resource-limit",
]
FINDING_KINDS: tuple[str, ...] = get_args(FindingKind)

Level = Literal["quick", "full", "exhaustive"]

TARGETS = ("sm_80", "sm_90", "sm_100")


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256, in hex, of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Signature:
    """One dtype of a routine: `dtype` names it; `inputs` and `outputs` are numpy dtype names, one a buffer.

    A numpy bool is one byte holding 0 or 1.
    """

    dtype: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a result may lie from the truth: a rule of docs/tolerance.md and the numbers it takes.

    exact       bit for bit, NaN by class, signed zeros too
    ulp         |err| <= ulp x ULP(expected), elementwise
    special     as ulp, times (1 + |x f'(x)/f(x)|), absolute near zeros
    reduction   |err| <= gamma_d sum|x|, d = 4 log2 n + 64
    scan        reduction, at every prefix
    matmul      |err| <= 4 sqrt(k) u (|A||B|) on random data, k u (|A||B|) on structured, exact on integers
    sort        exact keys, NaN last
    """

    rule: Literal["exact", "ulp", "special", "reduction", "scan", "matmul", "sort"]
    ulp: float = 0.0


@dataclass(frozen=True)
class Routine:
    """A routine's whole spec, as the catalogue states it in one entry.

    name        dotted public name, `numpy.add`
    summary     one sentence for the prompt and the page
    reference   numpy/scipy source text or formula shown beside the PTX
    notes       the numerical fine print a kernel must honour (NaN, signed zero, wrap-around, ties), a line
                each
    extents     names of the extents in ABI order, after the buffers (`("n",)`, `("outer", "n", "inner")`)
    sizes       element counts of every input then every output, as expressions over the extents
    tolerance   rule for each signature's dtype, by dtype name
    oracle      (inputs, extents, signature) -> one array an output, see llmptx.verify.truth
    domain      names an input distribution of llmptx.verify.inputs, one an input
    monotone    1 for a function of one array that never falls, -1 for one that never rises, else 0
    meaning     an element as a formula over bits, see llmptx.routines.meaning; None where there is none
    provable    the dtypes whose answers that formula gives
    """

    name: str
    kind: Kind
    summary: str
    reference: str
    signatures: tuple[Signature, ...]
    extents: tuple[str, ...]
    sizes: tuple[str, ...]
    tolerance: Mapping[str, Tolerance]
    oracle: Callable[[Sequence[Any], Mapping[str, int], Signature], Sequence[Any]] = field(compare=False)
    domain: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    inplace: bool = False
    revision: int = 1
    monotone: Literal[1, 0, -1] = 0
    meaning: Callable[..., Any] | None = field(default=None, compare=False)
    provable: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        return self.name.rpartition(".")[0]

    def signature(self, dtype: str) -> Signature:
        """Raises KeyError naming the dtypes there are."""
        for signature in self.signatures:
            if signature.dtype == dtype:
                return signature
        known = ", ".join(s.dtype for s in self.signatures)
        raise KeyError(f"{self.name} has no dtype {dtype!r}; it has {known}")

    def parameters(self, dtype: str) -> tuple[str, ...]:
        """Kernel parameter names in ABI order: inputs, outputs, extents."""
        signature = self.signature(dtype)
        inputs = tuple(f"in{i}" for i in range(len(signature.inputs)))
        outputs = (
            ("out",)
            if len(signature.outputs) == 1
            else tuple(f"out{i}" for i in range(len(signature.outputs)))
        )
        return inputs + outputs + self.extents

    def spec_hash(self, dtype: str) -> str:
        """Binds certificates: changes when the declared spec or its revision does."""
        signature = self.signature(dtype)
        return digest(
            {
                "name": self.name,
                "kind": self.kind,
                "signature": dataclasses.asdict(signature),
                "extents": self.extents,
                "sizes": self.sizes,
                "tolerance": dataclasses.asdict(self.tolerance[dtype]),
                "domain": self.domain,
                "notes": self.notes,
                "inplace": self.inplace,
                "revision": self.revision,
            }
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat: `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: the whole conversation so far, and the template it was made from."""

    routine: str
    dtype: str
    messages: tuple[Message, ...]
    template: str
    template_hash: str

    @property
    def hash(self) -> str:
        return digest(dataclasses.asdict(self))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and US dollars of one call; cost is None where the price is not known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered, raw: `finish` is the endpoint's reason; `reasoning_kind` full, summary,
    encrypted, none.
    """

    model: str
    endpoint: str
    content: str
    finish: str
    usage: Usage
    seconds: float
    reasoning: str = ""
    reasoning_kind: str = "none"


@dataclass(frozen=True, slots=True)
class Candidate:
    """PTX text and what it claims to compute. `hash` is of the normalised text: the certificate binds to
    it.
    """

    routine: str
    dtype: str
    text: str
    hash: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what, where, in one sentence, and the command that reproduces it.

    line, column   of the PTX text, 1-based, 0 where there is none
    block, thread  3-D indices of who did it; lane 0..31
    address        byte address within the buffer named by `buffer`
    element        index of the array element concerned
    counterexample the smallest input found that shows it, in words; found again, it may be another
    """

    kind: FindingKind
    message: str
    line: int = 0
    column: int = 0
    block: tuple[int, int, int] | None = None
    thread: tuple[int, int, int] | None = None
    lane: int | None = None
    buffer: str = ""
    address: int | None = None
    element: int | None = None
    case: str = ""
    reproduce: str = ""
    counterexample: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the judge: how many cases ran, and what it cost in seconds."""

    name: str
    passed: bool
    cases: int
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Resources:
    """What ptxas reports for one entry and target; sizes in bytes."""

    target: str
    entry: str
    registers: int
    spill_stores: int
    spill_loads: int
    stack: int
    shared: int
    barriers: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Error against the truth, in ULP of the output type, over all elements judged.

    curve is for pictures: (x, max |error| in ULP near x) over the input line of a unary float routine.
    rounded (share of all results that are the float nearest to the truth) and monotonicity_breaks (neighbours
    in the wrong order, of a routine that only rises or only falls) are known where every input was tried.
    """

    max_ulp: float
    at: str
    checked: int
    curve: tuple[tuple[float, float], ...] = ()
    rounded: float | None = None
    monotonicity_breaks: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge found. It passed where there is no finding and every stage of the level ran.

    seed   the inputs were drawn from it; None where none were
    tools  versions of what took part, in words
    """

    routine: str
    dtype: str
    level: Level
    candidate: str
    spec: str
    passed: bool
    findings: tuple[Finding, ...]
    stages: tuple[Stage, ...]
    resources: tuple[Resources, ...] = ()
    accuracy: Accuracy | None = None
    device: str = "cpu"
    judge: str = JUDGE_VERSION
    engine: str = ENGINE_VERSION
    schema: str = "llmptx/verdict/1"
    seed: int | None = None
    tools: str = ""

    def to_json(self) -> str:
        return canonical(dataclasses.asdict(self))

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Verdict:
        """Raises ValueError for a schema this version does not read."""
        _expect(data, "llmptx/verdict/1")
        values = dict(data)
        values["findings"] = tuple(Finding(**_tuples(f, "block", "thread")) for f in data["findings"])
        values["stages"] = tuple(Stage(**s) for s in data["stages"])
        values["resources"] = tuple(Resources(**r) for r in data["resources"])
        if data["accuracy"] is not None:
            curve = tuple((float(x), float(y)) for x, y in data["accuracy"]["curve"])
            values["accuracy"] = Accuracy(**{**data["accuracy"], "curve": curve})
        return Verdict(**values)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One round of a trajectory: what was asked, answered, taken from the answer, and judged.

    `candidate` and `verdict` are None where the reply held no PTX.
    """

    prompt: Prompt
    completion: Completion
    candidate: Candidate | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Record:
    """A whole trajectory from prompt to last verdict; the unit of the corpus."""

    routine: str
    dtype: str
    model: str
    attempts: tuple[Attempt, ...]
    passed: bool
    license: str
    terms_class: str
    created: str
    sample: int = 0
    schema: str = "llmptx/record/1"

    @property
    def hash(self) -> str:
        """Of everything but when and with what tools it was made, how long things took, and what a search in
        limited time found, so a resumed run files the same record.
        """
        return digest(_timeless(dataclasses.asdict(self)))

    def to_json(self) -> str:
        return canonical(dataclasses.asdict(self))

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Record:
        """Raises ValueError for a schema this version does not read."""
        _expect(data, "llmptx/record/1")
        attempts = []
        for a in data["attempts"]:
            prompt = Prompt(
                **{**a["prompt"], "messages": tuple(Message(**m) for m in a["prompt"]["messages"])}
            )
            completion = Completion(**{**a["completion"], "usage": Usage(**a["completion"]["usage"])})
            candidate = Candidate(**a["candidate"]) if a["candidate"] else None
            verdict = Verdict.from_dict(a["verdict"]) if a["verdict"] else None
            attempts.append(Attempt(prompt, completion, candidate, verdict))
        return Record(**{**data, "attempts": tuple(attempts)})


@dataclass(frozen=True, slots=True)
class Review:
    """A person's decision on one candidate, bound to its hash, or a recall by `llmptx recheck`.

    Append-only: the last one counts. `undo` takes back the one before it; `return` asks for another draft.
    """

    candidate: str
    routine: str
    dtype: str
    decision: Literal["approve", "reject", "return", "recall", "undo"]
    reviewer: str
    reason: str
    created: str
    schema: str = "llmptx/review/1"


@dataclass(frozen=True, slots=True)
class Comment:
    """A person's remark on a line of a candidate's text, 1-based; line 0: on the whole. Append-only."""

    candidate: str
    routine: str
    dtype: str
    line: int
    text: str
    author: str
    created: str
    schema: str = "llmptx/comment/1"


def _expect(data: Mapping[str, Any], schema: str) -> None:
    if data.get("schema") != schema:
        raise ValueError(f"schema is {data.get('schema')!r}; this version reads {schema!r}")


def _tuples(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {k: tuple(v) if k in names and v is not None else v for k, v in data.items()}


_PASSING = ("created", "seconds", "counterexample", "tools")


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = ((k, v) for k, v in value.items() if k not in _PASSING)
        return {k: _timeless(v) for k, v in kept}
    if isinstance(value, list | tuple):
        return [_timeless(v) for v in value]
    return value
