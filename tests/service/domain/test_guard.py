"""The guard as a part of every strategy that the controller builds."""

import pytest
from pacesetter_search.guard import Guarded, GuardParameters
from pacesetter_service.errors import StrategyRefused
from pacesetter_service.planning.registry import Registry


@pytest.fixture
def registry() -> Registry:
    return Registry("pacesetter_search.strategies")


def test_every_strategy_is_guarded_under_its_own_name_and_version(registry: Registry) -> None:
    for name in registry.names():
        kind = registry.type_of(name)
        built = registry.build(name, {})
        assert isinstance(built, Guarded)
        assert (built.name, built.version, built.slow) == (name, kind.version, kind.slow)
        assert built.default_cap == kind.default_cap


def test_the_guard_is_switched_off_by_a_parameter(registry: Registry) -> None:
    assert not isinstance(registry.build("fixed", {"guard": False}), Guarded)


def test_the_parameters_of_the_guard_are_its_own(registry: Registry) -> None:
    built = registry.build("autolrs", {"candidates": 3, "guard": {"interventions": 2}})
    assert isinstance(built, Guarded)
    assert built.guard == GuardParameters(interventions=2)
    assert built.strategy.parameters.model_dump()["candidates"] == 3


@pytest.mark.parametrize("wish", [{"dip": 2.0}, {"unknown": 1}, "off", None])
def test_a_wrong_wish_for_the_guard_is_refused(registry: Registry, wish: object) -> None:
    with pytest.raises(StrategyRefused) as refused:
        registry.build("fixed", {"guard": wish})
    assert refused.value.code == "BAD_STRATEGY_PARAMETERS"
