"""Where strategies come from: a module with ``get_strategy``, ``strategy_names`` and ``default_strategy``."""

import importlib
from collections.abc import Sequence
from typing import Any, Protocol, cast

from pacesetter.protocol import GUARD
from pacesetter_search.contract import JobFacts, Strategy
from pacesetter_search.guard import Guarded, GuardParameters
from pydantic import ValidationError

from pacesetter_service.canonical import canonical_json
from pacesetter_service.errors import StrategyRefused

FALLBACK = "fixed"
"""The strategy that takes over whatever cannot be steered otherwise: the base schedule, never a probe."""


class StrategyModule(Protocol):
    """What such a module holds."""

    def get_strategy(self, name: str) -> type[Strategy]:
        """Return the class called ``name``; raises if there is none."""

    def strategy_names(self) -> Sequence[str]:
        """Return every name."""

    def default_strategy(self, job: JobFacts) -> str:
        """Return the name for a job that gave none."""


class Registry:
    """Builds strategies by name and keeps what it built: they hold no state of their own."""

    def __init__(self, module: str) -> None:
        self.module_name = module
        self._module = cast(StrategyModule, importlib.import_module(module))
        self._built: dict[tuple[str, str], Strategy] = {}

    def names(self) -> tuple[str, ...]:
        """Return every strategy's name."""
        return tuple(self._module.strategy_names())

    def default(self, job: JobFacts) -> str:
        """Return the name of the strategy for a job that named none."""
        return self._module.default_strategy(job)

    def type_of(self, name: str) -> type[Strategy]:
        """Return the class called ``name``.

        Raises:
            StrategyRefused: There is none (``UNKNOWN_STRATEGY``).
        """
        names = self.names()
        if name not in names:
            raise StrategyRefused(
                f"there is no strategy called {name!r}",
                code="UNKNOWN_STRATEGY",
                hint=f"choose one of: {', '.join(names)}",
            )
        return self._module.get_strategy(name)

    def build(self, name: str, parameters: dict[str, Any]) -> Strategy:
        """Return the strategy with these parameters, and the guard under it unless ``guard`` is false.

        Raises:
            StrategyRefused: Unknown, or parameters that it does not take (``BAD_STRATEGY_PARAMETERS``).
        """
        key = (name, canonical_json(parameters))
        if key not in self._built:
            if len(self._built) >= 1024:
                self._built.clear()
            try:
                self._built[key] = _guarded(self.type_of(name), parameters)
            except ValidationError as error:
                raise _bad_parameters(name, error) from error
        return self._built[key]

    def fitting(self, job: JobFacts) -> tuple[str, ...]:
        """Return the strategies that can steer ``job`` with their default parameters."""
        fits = []
        for name in self.names():
            try:
                strategy = self.build(name, {})
                if not (*unheard(job, strategy), *strategy.obstacles(job)):
                    fits.append(name)
            except StrategyRefused:
                continue  # it needs parameters, so it cannot be proposed as it is
        return tuple(fits)


def unheard(job: JobFacts, strategy: Strategy) -> tuple[str, ...]:
    """Return that a strategy would not hear the job's proxies, if so: they would be run for nothing."""
    if job.proxies is None or strategy.listens:
        return ()
    return ("the job names proxies, and this strategy does not listen to them",)


def _guarded(strategy: type[Strategy], parameters: dict[str, Any]) -> Strategy:
    own = {name: value for name, value in parameters.items() if name != GUARD}
    built = strategy.from_document(own)
    wish = parameters.get(GUARD, True)
    if wish is False:
        return built
    return Guarded(built, GuardParameters.model_validate({} if wish is True else wish))


def _bad_parameters(name: str, error: ValidationError) -> StrategyRefused:
    places = "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'parameters'}: {item['msg']}"
        for item in error.errors(include_url=False, include_context=False)
    )
    return StrategyRefused(
        f"the parameters of strategy {name!r} are wrong: {places}",
        code="BAD_STRATEGY_PARAMETERS",
        hint="see the strategy's reference for the parameters it takes",
    )
