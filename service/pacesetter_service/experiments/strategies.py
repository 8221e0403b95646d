"""Where strategies of experiments come from, which one plans an experiment, and whether it can."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from pacesetter.errors import PacesetterError
from pacesetter.protocol import ExperimentSpec
from pacesetter_search.studies import StudyStrategy
from pydantic import JsonValue, ValidationError

from pacesetter_service.errors import StrategyRefused


class StudyModule(Protocol):
    """What a module of strategies holds."""

    STUDY_STRATEGIES: Sequence[str]
    DEFAULT_STUDY_STRATEGY: str

    def get_study_strategy(self, name: str) -> type[StudyStrategy]:
        """Return the class called ``name``; raises LookupError if there is none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy by name, with its parameters as they were given."""

    name: str
    parameters: dict[str, JsonValue]


class Studies:
    """The strategies of a module, by name.

    Args:
        module: Such as ``pacesetter_search.studies``.
    """

    def __init__(self, module: str) -> None:
        self.module_name = module
        self._module = cast(StudyModule, importlib.import_module(module))

    def choose(self, spec: ExperimentSpec) -> Choice:
        """Return the strategy that will plan an experiment.

        Raises:
            StrategyRefused: Unknown, bad parameters, or it cannot plan this experiment (``STRATEGY_CANNOT_PLAN``).
        """
        name = spec.strategy.name or self._module.DEFAULT_STUDY_STRATEGY
        choice = Choice(name, dict(spec.strategy.parameters))
        obstacles = tuple(self.build(choice.name, choice.parameters).obstacles(spec))
        if obstacles:
            fitting = self._fitting(spec)
            raise StrategyRefused(
                f"strategy {choice.name!r} cannot plan this experiment: {'; '.join(obstacles)}",
                code="STRATEGY_CANNOT_PLAN",
                hint=f"strategies that can: {', '.join(fitting) or 'none'}",
                obstacles=obstacles,
                fitting=fitting,
            )
        return choice

    def types(self) -> tuple[type[StudyStrategy], ...]:
        """Return every strategy, by name."""
        return tuple(self.type_of(name) for name in self._module.STUDY_STRATEGIES)

    def type_of(self, name: str) -> type[StudyStrategy]:
        """Return the class called ``name``. Raises StrategyRefused (``UNKNOWN_STRATEGY``)."""
        try:
            return self._module.get_study_strategy(name)
        except (PacesetterError, LookupError) as error:
            raise StrategyRefused(
                f"there is no strategy of experiments called {name!r}",
                code="UNKNOWN_STRATEGY",
                hint=f"choose one of: {', '.join(self._module.STUDY_STRATEGIES)}",
            ) from error

    def build(self, name: str, parameters: dict[str, JsonValue]) -> StudyStrategy:
        """Return a strategy with its parameters.

        Raises:
            StrategyRefused: Unknown, or parameters that it does not take (``BAD_STRATEGY_PARAMETERS``).
        """
        strategy = self.type_of(name)
        try:
            return strategy.from_document(dict(parameters))
        except ValidationError as error:
            places = "; ".join(
                f"{'.'.join(map(str, item['loc'])) or 'parameters'}: {item['msg']}"
                for item in error.errors(include_url=False, include_context=False)
            )
            raise StrategyRefused(
                f"the parameters of strategy {name!r} are wrong: {places}",
                code="BAD_STRATEGY_PARAMETERS",
                hint="see the strategy's reference for the parameters it takes",
            ) from error

    def _fitting(self, spec: ExperimentSpec) -> tuple[str, ...]:
        """Return the strategies that can plan an experiment with their default parameters."""
        fits = []
        for name in self._module.STUDY_STRATEGIES:
            try:
                if not tuple(self.build(name, {}).obstacles(spec)):
                    fits.append(name)
            except StrategyRefused:
                continue  # it needs parameters, so it cannot be proposed as it is
        return tuple(fits)
