"""Profiles: what is known of an endpoint and its models, read from profiles.toml.

Says where a model is reached, where its key comes from, what it costs, under which terms. Connects nowhere.
"""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources

ANY_KEY = "LLMPTX_API_KEY"


class UnknownModelError(LookupError):
    """A model nobody told us how to reach; the text says what is known and what to give."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of endpoint.

    models           shell patterns of model names
    key              environment variable with its API key
    license, terms   what a record says of its replies; terms is open, restricted or unknown
    price            US dollars a million tokens, (input, output); None where not known
    max_tokens_name  what it calls the limit on the reply's tokens
    seed             whether it takes a `seed`, which tells samples apart
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

    def api_key(self, environment: Mapping[str, str] = os.environ) -> str:
        """The key, or "" where none is set: servers on one's own machine ask for none."""
        return environment.get(self.key, "") or environment.get(ANY_KEY, "")


@functools.cache
def known() -> tuple[Profile, ...]:
    """The shipped profiles."""
    text = (resources.files("llmptx.llm") / "profiles.toml").read_text(encoding="utf-8")
    profiles = []
    for row in tomllib.loads(text)["profile"]:
        price = tuple(row.pop("price", ())) or None
        profiles.append(Profile(**{**row, "models": tuple(row["models"]), "price": price}))
    return tuple(profiles)


def profile_for(model: str, base_url: str = "") -> Profile:
    """How to reach `model`: at `base_url` where given, else where its profile says. Raises UnknownModelError.

    Another address than the profile's own is somebody else's server: it gets neither that key nor the terms.
    """
    for profile in known():
        if base_url:
            if profile.base_url and base_url.rstrip("/") == profile.base_url:
                return profile
        elif any(fnmatchcase(model, pattern) for pattern in profile.models):
            return profile
    if base_url:
        return Profile("custom", (model,), base_url.rstrip("/"))
    names = ", ".join(pattern for profile in known() for pattern in profile.models)
    raise UnknownModelError(
        f"unknown model {model!r}: known are {names}; for any other, give the endpoint's base URL"
    )
