"""Proxies: what a trial runs. Built-in ones by name, the operator's own by entry point."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TypeAlias

from pacesetter_workers.errors import ProxyRefused
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.running import RunningTrial

Proxy: TypeAlias = Callable[[RunningTrial], Outcome | float]

# Imported when they are asked for: a worker of no-op trials loads no torch.
BUILT_IN = {
    "byte_lm": "pacesetter_workers.proxies.byte_lm:byte_lm",
    "cnn": "pacesetter_workers.proxies.digits:cnn",
    "mlp": "pacesetter_workers.proxies.digits:mlp",
    "noop": "pacesetter_workers.proxies.noop:noop",
}


POPULATION = "population:"
POPULATIONS = tuple(f"{POPULATION}{name}" for name in ("byte_lm", "cnn", "mlp"))
"""Proxies of which several train at once, for workers whose trials run on Ray."""


def resolve(name: str, allow: Sequence[str]) -> Proxy:
    """Return the proxy called ``name``: a built-in one, or an entry point ``module:function`` that is allowed.

    Raises:
        ProxyRefused: It is unknown, not allowed, or not a function. What its module raises comes out as it is.
    """
    if name in POPULATIONS:
        try:
            from pacesetter_workers.population.evolving import evolve
        except ImportError as error:
            raise ProxyRefused(
                f'{name!r} is trained by Ray Tune, which this worker does not have ({error}): pip install "ray[tune]"'
            ) from None
        return partial(evolve, name.removeprefix(POPULATION))
    if name not in BUILT_IN and ":" not in name:
        raise ProxyRefused(
            f"no proxy is called {name!r}; expected one of {', '.join(sorted(BUILT_IN))}, or an entry point "
            "module:function that the worker allows"
        )
    if name not in BUILT_IN and name not in allow:
        raise ProxyRefused(
            f"this worker may not run {name!r}; its operator allows code of one's own by starting it with "
            f"--allow {name}"
        )
    module_name, _, attribute = BUILT_IN.get(name, name).partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        # Only where the module itself is missing: what it imports in vain is told with its traceback.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ProxyRefused(
            f"there is no module {error.name!r} for {name!r} on this worker; install it into the worker's environment, "
            "or put its folder on PYTHONPATH"
        ) from None
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ProxyRefused(
            f"{module_name!r} has no function {attribute!r}; expected a function that takes a RunningTrial and returns "
            "an Outcome"
        )
    return found
