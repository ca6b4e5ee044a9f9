"""`llmptx doctor`: what this machine has, and what each thing adds."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from llmptx.commands.output import ENDPOINT, TOOLCHAIN, cell, json_option, print_json, stdout, table

REPLY = "reply"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing the machine has or lacks. needed: without it nothing is judged. adds: what it is good for."""

    name: str
    found: bool
    what: str
    adds: str
    needed: bool = False


@click.command()
@click.option("--model", default="", help="Ask this model for a word, and say what its endpoint does.")
@click.option("--base-url", default="", help="The model's endpoint; default: its own.")
@json_option
@click.pass_context
def doctor(context: click.Context, model: str, base_url: str, as_json: bool) -> None:
    """What this machine has, and what each thing adds; exit 5 where one that is needed is missing.

    With --model one short request is sent, which may cost a fraction of a cent; exit 4 where it fails.
    """
    facts = [*_engine(), _isolation(), *_toolchain(), _proofs(), *_gpu(), *_models()]
    if model:
        facts += _endpoint(model, base_url)
    if as_json:
        print_json(facts)
    else:
        listing = table("", "", "found", "what it adds")
        for fact in facts:
            mark, style = ("yes", "green") if fact.found else ("no", "red" if fact.needed else "yellow")
            listing.add_row(cell(mark, style), cell(fact.name), cell(fact.what), cell(fact.adds, "dim"))
        stdout().print(listing)
    if any(fact.needed and not fact.found for fact in facts):
        context.exit(TOOLCHAIN)
    context.exit(ENDPOINT if any(fact.name == REPLY and not fact.found for fact in facts) else 0)


def _engine() -> Iterator[Fact]:
    where = f"{platform.python_version()} at {sys.executable}"
    yield Fact("python", sys.version_info >= (3, 11), where, "runs llmptx; 3.11 or later", needed=True)
    adds = "compiles PTX for this CPU"
    try:
        import llvmlite
        import llvmlite.binding as llvm

        version = ".".join(map(str, llvm.llvm_version_info))
        yield Fact("llvmlite", True, f"{llvmlite.__version__}, LLVM {version}", adds, needed=True)
        features = llvm.get_host_cpu_features()
        vectors = [name for name in ("sse4.2", "avx2", "fma", "avx512f", "neon", "sve") if features.get(name)]
        what = (
            f"{llvm.get_host_cpu_name()}, {os.cpu_count()} CPUs: {', '.join(vectors) or 'no vectors known'}"
        )
        yield Fact("cpu", True, what, "a warp runs as vectors of these")
    except (ImportError, OSError, RuntimeError) as error:
        yield Fact("llvmlite", False, f"cannot be used: {error}", adds, needed=True)


def _isolation() -> Fact:
    from llmptx.run.confine import measures

    held = measures()
    what = "; ".join(name if holds else f"not here: {name}" for name, holds in held.items())
    return Fact("isolation", all(held.values()), what, "keeps what a candidate does within its process")


def _toolchain() -> Iterator[Fact]:
    from llmptx.toolchain.ptxas import ToolchainMissing, find_ptxas, version

    adds = "assembles every candidate for sm_80, sm_90, sm_100: errors, registers, spills"
    path = find_ptxas()
    try:
        yield Fact("ptxas", path is not None, f"{version()} at {path}", adds, needed=True)
    except (ToolchainMissing, OSError) as error:
        yield Fact("ptxas", False, str(error), adds, needed=True)


def _proofs() -> Fact:
    from importlib.metadata import PackageNotFoundError, version

    adds = "proves elementwise kernels of whole numbers right for every length and input"
    try:
        return Fact("z3", True, version("z3-solver"), adds)
    except PackageNotFoundError:
        return Fact("z3", False, "z3-solver is not installed: pip install 'llmptx[proofs]'", adds)


def _gpu() -> Iterator[Fact]:
    adds = "device=cuda: the same kernels on hardware, compared bit by bit"
    try:
        import cupy
    except ImportError:
        yield Fact("gpu", False, "cupy is not installed: pip install 'llmptx[gpu]'", adds)
        return
    if not cupy.is_available():
        yield Fact("gpu", False, f"cupy {cupy.__version__}, but no NVIDIA GPU or driver", adds)
        return
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    yield Fact("gpu", True, f"cupy {cupy.__version__}, {name}", adds)


def _models() -> Iterator[Fact]:
    from llmptx.llm.profiles import known

    for profile in known():
        if not profile.base_url:
            what = "answers from the kernels shipped here"
            yield Fact(f"model {profile.name}", True, what, "the whole path without key or network")
            continue
        has = bool(profile.api_key())
        key = f"${profile.key} is {'set' if has else 'not set'}"
        what = f"{', '.join(profile.models)} at {profile.base_url}; {key}"
        yield Fact(f"model {profile.name}", has, what, f"replies under {profile.terms} terms")


def _endpoint(model: str, base_url: str) -> Iterator[Fact]:
    """What one request to an endpoint shows. Raises UnknownModelError."""
    from llmptx.llm.client import Client, Limits
    from llmptx.llm.errors import EndpointError
    from llmptx.record import Message

    client = Client(model, base_url, limits=Limits(read=60, total=120, tokens=1024))
    how = f"{client.profile.api}, {'streamed' if client.profile.stream else 'whole'}"
    try:
        reply = client.complete((Message("user", "Answer with one word: ready."),))
    except EndpointError as error:
        yield Fact(REPLY, False, f"{error.kind}: {error}", f"replies of {model}, {how}")
        return
    finally:
        client.close()
    usage = reply.usage
    said = f"after {reply.seconds:.1f} s, from {reply.model}, finish reason {reply.finish!r}"
    yield Fact(REPLY, True, said, f"replies of {model}, {how}")
    stated = usage.input_tokens > 0 and usage.output_tokens > 0
    tokens = f"{usage.input_tokens} tokens in, {usage.output_tokens} out" if stated else "not stated"
    yield Fact("usage", stated, tokens, "a budget is charged what a call costs, not the most it can cost")
    cost = "not known: give --price" if usage.cost is None else f"${usage.cost:.6f}"
    yield Fact("cost", usage.cost is not None, cost, "budgets")
    thought = reply.reasoning_kind
    yield Fact("reasoning", thought != "none", thought, "is kept with the reply, and told by its kind")
