"""Which strategy plans an experiment, and whether it can."""

from dataclasses import dataclass

from pacesetter.protocol import ExperimentSpec
from pacesetter_search.studies import (
    DEFAULT_STUDY_STRATEGY,
    STUDY_STRATEGIES,
    StudyStrategy,
    UnknownStudyStrategy,
    get_study_strategy,
)
from pydantic import JsonValue, ValidationError

from pacesetter_service.errors import StrategyRefused


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy by name, with its parameters as they were given."""

    name: str
    parameters: dict[str, JsonValue]


def choose(spec: ExperimentSpec) -> Choice:
    """Return the strategy that will plan an experiment.

    Raises:
        StrategyRefused: Unknown, bad parameters, or it cannot plan this experiment (``STRATEGY_CANNOT_PLAN``).
    """
    choice = Choice(spec.strategy.name or DEFAULT_STUDY_STRATEGY, dict(spec.strategy.parameters))
    obstacles = tuple(build(choice.name, choice.parameters).obstacles(spec))
    if obstacles:
        fitting = _fitting(spec)
        raise StrategyRefused(
            f"strategy {choice.name!r} cannot plan this experiment: {'; '.join(obstacles)}",
            code="STRATEGY_CANNOT_PLAN",
            hint=f"strategies that can: {', '.join(fitting) or 'none'}",
            obstacles=obstacles,
            fitting=fitting,
        )
    return choice


def build(name: str, parameters: dict[str, JsonValue]) -> StudyStrategy:
    """Return a strategy with its parameters.

    Raises:
        StrategyRefused: Unknown (``UNKNOWN_STRATEGY``), or parameters that it does not take
            (``BAD_STRATEGY_PARAMETERS``).
    """
    try:
        return get_study_strategy(name).from_document(dict(parameters))
    except UnknownStudyStrategy as error:
        raise StrategyRefused(
            f"there is no strategy of experiments called {name!r}",
            code="UNKNOWN_STRATEGY",
            hint=f"choose one of: {', '.join(STUDY_STRATEGIES)}",
        ) from error
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


def _fitting(spec: ExperimentSpec) -> tuple[str, ...]:
    """Return the strategies that can plan an experiment with their default parameters."""
    fits = []
    for name in STUDY_STRATEGIES:
        try:
            if not tuple(build(name, {}).obstacles(spec)):
                fits.append(name)
        except StrategyRefused:
            continue  # it needs parameters, so it cannot be proposed as it is
    return tuple(fits)
