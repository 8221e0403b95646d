import pytest
from pacesetter.schedules import Cosine, Schedule
from pacesetter_search.strategies.horizon.candidates import candidates, shapes_are_free
from pacesetter_search.strategies.horizon.memory import Memory, Stretch
from pacesetter_search.strategies.horizon.parameters import HorizonParameters

from tests.search.support.simulator import job_facts

TOTAL = 1000
DEFAULT = Schedule.default_base(TOTAL)
OWN = Schedule(length=TOTAL, body=Cosine())


def ratios(**facts: object) -> list[float]:
    job = job_facts(TOTAL, **facts)
    ways = candidates(job, Memory(), HorizonParameters(), 300)
    return sorted({way.multiplier for way in ways})


def test_the_first_way_is_the_schedule_as_it_is() -> None:
    ways = candidates(job_facts(TOTAL, base=OWN), Memory(), HorizonParameters(), 300)
    assert ways[0].stays
    assert ways[0].policy == OWN
    assert [way.stays for way in ways].count(True) == 1


def test_rates_go_from_half_to_twice_in_quarters_of_an_octave() -> None:
    assert ratios(base=OWN) == pytest.approx([2 ** (k / 4) for k in range(-4, 5)])


def test_the_limits_of_the_job_narrow_them() -> None:
    # The cosine stands at .79 of its peak, which is all that it may reach.
    assert ratios(base=OWN, limits={"max_multiplier": 1.0})[-1] == pytest.approx(2**0.25)
    assert ratios(base=OWN, limits={"max_change_per_step": 1.5})[0] == pytest.approx(2**-0.5)


def test_changes_add_up_within_the_span_around_the_base() -> None:
    raised = OWN.model_copy(update={"peak": 2.0})
    memory = Memory(line=[Stretch(start=100, policy=raised)])
    ways = candidates(job_facts(TOTAL, base=OWN), memory, HorizonParameters(), 300)
    assert max(way.multiplier for way in ways) == 1.0
    assert min(way.multiplier for way in ways) == 0.5


def test_a_schedule_of_ones_own_keeps_its_shape() -> None:
    job = job_facts(TOTAL, base=OWN)
    assert not shapes_are_free(job, HorizonParameters().choose_shape)
    assert {way.shape for way in candidates(job, Memory(), HorizonParameters(), 300)} == {"kept"}


@pytest.mark.parametrize(("choice", "free"), [("auto", True), ("always", True), ("never", False)])
def test_the_default_base_leaves_the_shape_to_the_strategy(choice: str, free: bool) -> None:
    parameters = HorizonParameters.model_validate({"choose_shape": choice})
    assert shapes_are_free(job_facts(TOTAL, base=DEFAULT), parameters.choose_shape) is free


def test_other_shapes_begin_where_the_line_stands_and_end_at_zero() -> None:
    job = job_facts(TOTAL, base=DEFAULT)
    ways = candidates(job, Memory(), HorizonParameters(), 300)
    shaped = [way for way in ways if way.shape != "kept"]
    assert {way.shape for way in shaped} == {"cosine", "linear", "wsd"}
    for way in shaped:
        assert way.policy.at(300) == pytest.approx(way.multiplier * DEFAULT.at(300))
        assert way.policy.at(TOTAL) == pytest.approx(0.0, abs=1e-12)
