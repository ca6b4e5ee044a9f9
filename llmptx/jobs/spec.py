"""What a job is asked to do: from TOML, JSONL or the command line to a checked JobSpec, and from it to items.

Knows the catalogue's names and the models' profiles; starts nothing.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llmptx.jobs.errors import JobError
from llmptx.llm.client import Client, Limits, Mode
from llmptx.llm.exemplars import Exemplar
from llmptx.llm.profiles import UnknownModelError, profile_for
from llmptx.llm.prompt import TemplateError, Writer
from llmptx.record import Routine

Resolve = Callable[[str], Sequence[Routine]]


class ItemSpec(BaseModel):
    """A routine, or a shell pattern of routines (`numpy.*`), in one dtype or (left out) in all each has."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    routine: Annotated[str, Field(min_length=1)]
    dtype: str | None = None


Price = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]
StrategyName = Literal["repair", "best-of-n", "best-first", "auto"]


class ModelSpec(BaseModel):
    """One of a job's models: its name, its endpoint where it is not the profile's, its price likewise."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(min_length=1)]
    base_url: str = ""
    price: Price | None = None


class JobSpec(BaseModel):
    """A job.

    items      or, shorter, routines: names and patterns, each in those of `dtypes` that it has, or in all
    model      with base_url and price, the one model; or `models`, several, each of which does every item
    strategy   repair: `samples` conversations of `rounds` drafts, a record each. best-of-n and best-first:
               one search of at most samples x rounds drafts, which ends with the first that passes. auto: one
               of the three for each item, as the bandit finds them to pay
    mode       online; flex: cheaper and slower, where an endpoint has it; batch: requests go to files
    optimize   drafts more that are spent on a verified kernel, to find better ones
    prompts    texts that replace shipped prompt templates, by name (system, task, repair, improve)
    primer     whether prompts teach PTX: for models that know little of it
    shots      verified kernels shown with each task, the nearest of `exemplars`, which the job keeps
    seed       of the bandit, which decides whose turn it is wherever there is a budget
    samples    conversations for each routine and dtype
    rounds     drafts in each, the first included
    budget     US dollars it may spend; left out: no limit
    price      US dollars a million tokens, [input, output], where the model's profile has none
    tokens     limit on each reply
    workers    items worked on at once; 0: one for each CPU
    priority   of jobs that wait, `llmptx jobs work` takes the highest first
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    items: tuple[ItemSpec, ...] = ()
    routines: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    model: str = "offline"
    base_url: str = ""
    models: tuple[ModelSpec, ...] = ()
    strategy: StrategyName = "repair"
    mode: Mode = "online"
    optimize: Annotated[int, Field(ge=0, le=100)] = 0
    prompts: dict[str, str] = {}
    primer: bool = False
    shots: Annotated[int, Field(ge=0, le=8)] = 0
    exemplars: tuple[Exemplar, ...] = ()
    seed: int = 0
    samples: Annotated[int, Field(ge=1, le=1000)] = 1
    rounds: Annotated[int, Field(ge=1, le=100)] = 4
    budget: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    price: Price | None = None
    tokens: Annotated[int, Field(ge=256, le=1_000_000)] = 16_384
    level: Literal["quick", "full", "exhaustive"] = "full"
    device: Literal["cpu", "cuda"] = "cpu"
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    schema_: Annotated[Literal["llmptx/job/1"], Field(alias="schema")] = "llmptx/job/1"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.items and not self.routines:
            raise ValueError("it names no work: give items, or routines")
        if self.dtypes and not self.routines:
            raise ValueError("dtypes go with routines; each of items has its own dtype")
        if self.models and (self.model, self.base_url, self.price) != ("offline", "", None):
            raise ValueError("give either models, or model with base_url and price")
        names = [model.name for model in self.models]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"models has {', '.join(sorted(twice))} twice")
        return self

    @property
    def all_items(self) -> tuple[ItemSpec, ...]:
        """The items, and those that routines and dtypes stand for."""
        dtypes = self.dtypes or (None,)
        short = [ItemSpec(routine=name, dtype=dtype) for name in self.routines for dtype in dtypes]
        return (*self.items, *short)

    @property
    def all_models(self) -> tuple[ModelSpec, ...]:
        """The models, one or several."""
        return self.models or (ModelSpec(name=self.model, base_url=self.base_url, price=self.price),)


@dataclass(frozen=True, slots=True)
class Item:
    """The unit of work: one search, with one model, filed as one record."""

    routine: str
    dtype: str
    sample: int
    model: str


def make(values: Mapping[str, Any], source: str = "job") -> JobSpec:
    """A spec from plain values. Raises JobError naming every key that is unknown, missing or wrong."""
    try:
        return JobSpec.model_validate(dict(values))
    except ValidationError as error:
        raise JobError("\n".join(_complaints(error, source))) from error


def load(path: Path, **settings: Any) -> JobSpec:
    """A spec from a file: TOML with all of it, or JSONL with an item a line. `settings` go over the file's.

    Raises JobError with the file's name and, where there is one, the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{path}: cannot be read: {error}") from error
    if path.suffix == ".jsonl":
        values: dict[str, Any] = {"items": _items_of(text, path)}
    elif path.suffix == ".toml":
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise JobError(f"{path}: not TOML: {error}") from error
    else:
        raise JobError(f"{path}: a job file ends in .toml or .jsonl")
    return make({**values, **settings}, str(path))


def from_catalogue(name: str) -> Sequence[Routine]:
    """The routine of a name, or those of a shell pattern. Raises UnknownRoutine where there is none."""
    from llmptx.routines import find, select

    return select([name]) if any(sign in name for sign in "*?[") else (find(name),)


def items_of(spec: JobSpec, resolve: Resolve = from_catalogue) -> tuple[Item, ...]:
    """Every item of a job, each once, in order. Raises JobError for unknown routines, dtypes and models."""
    check_model(spec)
    try:
        writer_of(spec)
    except TemplateError as error:
        raise JobError(str(error)) from error
    items: dict[Item, None] = {}
    wrong = []
    samples = range(spec.samples if spec.strategy == "repair" else 1)
    for entry in spec.all_items:
        strict = entry in spec.items and not any(sign in entry.routine for sign in "*?[")
        try:
            pairs = [(r.name, dtype) for r in resolve(entry.routine) for dtype in _dtypes(r, entry, strict)]
        except KeyError as error:
            wrong.append(str(error.args[0]) if type(error) is KeyError else str(error))
            continue
        for name, dtype in pairs:
            for model, sample in product(spec.all_models, samples):
                items[Item(name, dtype, sample, model.name)] = None
    if wrong:
        raise JobError("\n".join(wrong))
    if not items:
        raise JobError("no routine the job names has a dtype it names")
    _affordable(spec, next(iter(items)), resolve)
    return tuple(items)


def client_of(spec: JobSpec, model: ModelSpec) -> Client:
    """The client of one of a job's models."""
    limits = Limits(tokens=spec.tokens)
    return Client(model.name, model.base_url, limits=limits, price=model.price, mode=spec.mode)


def writer_of(spec: JobSpec) -> Writer:
    """The writer of a job's prompts. Raises TemplateError."""
    return Writer(spec.prompts, primer=spec.primer, exemplars=spec.exemplars, shots=spec.shots)


def _affordable(spec: JobSpec, item: Item, resolve: Resolve) -> None:
    """Raises JobError for a budget that the very first call of any model could pass."""
    prompt = writer_of(spec).first(resolve(item.routine)[0], item.dtype)
    bounds = [client_of(spec, model).upper_bound(prompt.messages) or 0.0 for model in spec.all_models]
    if spec.budget is not None and spec.budget < min(bounds):
        raise JobError(
            f"a budget of ${spec.budget:g} does not pay for one call, which can cost ${min(bounds):.4f}: "
            f"raise it, or lower tokens ({spec.tokens:,}), the limit on a reply"
        )


def _dtypes(routine: Routine, entry: ItemSpec, strict: bool) -> Sequence[str]:
    """strict: the routine must have the dtype, else it may."""
    has = [signature.dtype for signature in routine.signatures]
    if entry.dtype is None:
        return has
    if not strict:
        return [dtype for dtype in has if dtype == entry.dtype]
    return [routine.signature(entry.dtype).dtype]


def check_model(spec: JobSpec) -> None:
    """Raises JobError for a model nobody can reach, or a budget nobody can keep."""
    for model in spec.all_models:
        try:
            profile = profile_for(model.name, model.base_url)
        except UnknownModelError as error:
            raise JobError(str(error)) from error
        if spec.budget is not None and model.price is None and profile.price is None:
            raise JobError(
                f"a budget of ${spec.budget:g} cannot be kept: the price of {model.name!r} is not known. "
                "Give it in US dollars a million tokens, [input, output], or leave the budget out"
            )


def _items_of(text: str, path: Path) -> list[Any]:
    items = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            items.append(json.loads(line))
        except ValueError as error:
            raise JobError(f"{path}:{number}: not JSON: {error}") from error
    return items


def _complaints(error: ValidationError, source: str) -> list[str]:
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            inside: dict[object, type[BaseModel]] = {"items": ItemSpec, "models": ModelSpec}
            known = inside.get(problem["loc"][0], JobSpec) if len(problem["loc"]) > 1 else JobSpec
            names = ", ".join(field.alias or name for name, field in known.model_fields.items())
            lines.append(f"{source}: unknown key {place!r}; known are {names}")
        else:
            where = f"{place}: " if place else ""
            lines.append(f"{source}: {where}{problem['msg'].removeprefix('Value error, ')}")
    return lines
