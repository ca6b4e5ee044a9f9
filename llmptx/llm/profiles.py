"""Profiles: what is known of an endpoint and its models, read from profiles.toml.

Says where a model is reached, where its key comes from, what it costs, under which terms. Connects nowhere.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Literal

ANY_KEY = "LLMPTX_API_KEY"
OWN = "LLMPTX_PROFILES"


class UnknownModelError(LookupError):
    """A model nobody told us how to reach; the text says what is known and what to give."""


class ProfileError(ValueError):
    """A file of profiles that cannot be read; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of endpoint.

    models           shell patterns of model names
    key              environment variable with its API key
    license, terms   what a record says of its replies; terms is open, restricted or unknown
    price            US dollars a million tokens, (input, output); None where not known
    max_tokens_name  what it calls the limit on the reply's tokens
    seed             whether it takes a `seed`, which tells samples apart
    api              the protocol it is spoken to by
    stream           whether replies are streamed
    reasoning        what its reasoning field holds, where it does not say so itself; none: do not ask for it
    discount         share of the price that flex and batch calls cost
    """

    name: str
    models: tuple[str, ...] = ()
    base_url: str = ""
    key: str = ANY_KEY
    license: str = "unknown"
    terms: str = "unknown"
    price: tuple[float, float] | None = None
    max_tokens_name: str = "max_completion_tokens"
    seed: bool = True
    api: Literal["chat", "responses"] = "chat"
    stream: bool = True
    reasoning: Literal["full", "summary", "none"] = "full"
    discount: float = 1.0

    def api_key(self, environment: Mapping[str, str] = os.environ) -> str:
        """The key, or "" where none is set: servers on one's own machine ask for none."""
        return environment.get(self.key, "") or environment.get(ANY_KEY, "")


def known() -> tuple[Profile, ...]:
    """Profiles of the file that $LLMPTX_PROFILES names, then the shipped ones. Raises ProfileError."""
    shipped = (resources.files("llmptx.llm") / "profiles.toml").read_text(encoding="utf-8")
    own = os.environ.get(OWN, "")
    if not own:
        return _read(shipped, "profiles.toml")
    try:
        text = Path(own).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{own}: cannot be read: {error}") from error
    return _read(text, own) + _read(shipped, "profiles.toml")


@functools.cache
def _read(text: str, source: str) -> tuple[Profile, ...]:
    names = {field.name for field in dataclasses.fields(Profile)}
    profiles = []
    try:
        for row in tomllib.loads(text)["profile"]:
            if unknown := row.keys() - names:
                raise ProfileError(
                    f"{source}: unknown key {sorted(unknown)[0]!r}; known are {', '.join(sorted(names))}"
                )
            price = tuple(row.pop("price", ())) or None
            profiles.append(Profile(**{**row, "models": tuple(row["models"]), "price": price}))
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ProfileError):
            raise
        raise ProfileError(f"{source}: not a file of profiles: {type(error).__name__}: {error}") from error
    return tuple(profiles)


def profile_for(model: str, base_url: str = "") -> Profile:
    """How to reach `model`: at `base_url` where given, else where its profile says. Raises UnknownModelError.

    Another address than the profile's own is somebody else's server: it gets neither that key nor the terms.
    Where several profiles have the address, the one that names the model counts.
    """
    profiles = known()
    mine = [p for p in profiles if any(fnmatchcase(model, pattern) for pattern in p.models)]
    if base_url:
        there = [p for p in profiles if p.base_url and p.base_url.rstrip("/") == base_url.rstrip("/")]
        mine = [p for p in mine if p in there] or there
    if mine:
        return mine[0]
    if base_url:
        return Profile("custom", (model,), base_url.rstrip("/"))
    names = ", ".join(pattern for profile in profiles for pattern in profile.models)
    raise UnknownModelError(
        f"unknown model {model!r}: known are {names}; for any other, give the endpoint's base URL, "
        f"or a profile in the file ${OWN} names"
    )
