"""Tune's search spaces in the words of experiments."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Uniform
from ray.tune.utils import flatten_dict

from pacesetter.errors import ConfigurationError
from pacesetter.protocol import Choice, Parameter, Range, Value
from pacesetter.protocol.experiments import MAX_TEXT

_GRID = "/grid_search"


def has_domains(config: Mapping[str, Any]) -> bool:
    """Return whether something of a configuration is still to be chosen."""
    named = flat(config)
    return any(isinstance(value, Domain) or name.endswith(_GRID) for name, value in named.items())


def split_space(config: Mapping[str, Any]) -> tuple[dict[str, Parameter], dict[str, Value]]:
    """Return what Tune is to search, and what every trial is given as it is, nested names joined by slashes.

    Lists and objects are Tune's alone: the service need not know them.

    Raises:
        ConfigurationError: Something is searched in a way that experiments do not have.
    """
    named = flat(config)
    space = {name: _searched(name, value) for name, value in named.items() if _is_open(name, value)}
    return space, plain(config)


def plain(config: Mapping[str, Any]) -> dict[str, Value]:
    """Return the numbers and texts of a configuration."""
    return {name: value for name, value in flat(config).items() if _is_plain(value)}


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without nesting, its names joined by slashes.

    Raises:
        ConfigurationError: A name has a slash already.
    """
    try:
        named: dict[str, Any] = flatten_dict(dict(config), prevent_delimiter=True)
    except ValueError as error:
        raise ConfigurationError(
            f"a name of the space holds a slash, which joins nested names here; call it otherwise ({error})"
        ) from None
    return named


def nested(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as Tune's configuration has them: the inverse of :func:`flat`."""
    config: dict[str, Any] = {}
    for name, value in named.items():
        *outer, last = name.split("/")
        inner = config
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return config


def _is_open(name: str, value: Any) -> bool:
    return isinstance(value, Domain) or name.endswith(_GRID)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and "\0" not in value
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def _searched(name: str, value: Any) -> Parameter:
    if name.endswith(_GRID):
        raise ConfigurationError(
            f"{name.removesuffix(_GRID)} is a grid_search, which Tune unrolls by itself; give tune.choice(values), and "
            'PacesetterSearcher(strategy="grid") tries every combination'
        )
    try:
        return _parameter(name, value)
    except ValidationError as error:
        raise ConfigurationError(f"{name} cannot be searched: {error.errors()[0]['msg']}") from None


def _parameter(name: str, domain: Domain) -> Parameter:
    sampler = domain.get_sampler()  # type: ignore[no-untyped-call]
    if isinstance(domain, Categorical) and isinstance(sampler, Uniform):
        return Choice(values=tuple(domain.categories))
    if isinstance(domain, Float | Integer) and isinstance(sampler, Uniform | LogUniform):
        whole = isinstance(domain, Integer)
        return Range(
            low=domain.lower,
            # Tune leaves the upper end of whole numbers out.
            high=domain.upper - 1 if whole else domain.upper,
            scale="log2" if isinstance(sampler, LogUniform) else "linear",
            integer=whole,
        )
    raise ConfigurationError(
        f"{name} is searched in a way that experiments do not have ({type(domain).__name__}, {sampler}); expected "
        "tune.uniform, loguniform, randint, lograndint or choice. Steps (quniform) are a tune.choice of their values; "
        "what follows from other parameters (sample_from) is the training's own to work out"
    )
