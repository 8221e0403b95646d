"""What ``hypergradient`` sends, what it makes of the reported multipliers, and when it leaves the base as it is."""

import math
from typing import Any

import pytest
from pacesetter.feedback import Hypergradient
from pacesetter.protocol import Acknowledgement, Measurements, Segment, SegmentEnded
from pacesetter.schedules import Linear, Schedule
from pacesetter_search.contract import Body, Overridden, Registered
from pacesetter_search.strategies.hypergradient import MOST_SENT, HypergradientStrategy

from tests.search.support.simulator import Controller, SimulatedJob, job_facts

TOTAL = 100
SEARCH = 20
BASE = Schedule(length=TOTAL, body=Linear())


def begun(parameters: dict[str, Any] | None = None, **facts: Any) -> Controller:
    described = {"base": BASE, **facts}
    strategy = HypergradientStrategy.from_document(parameters or {})
    service = Controller(strategy, job_facts(TOTAL, **described))
    service.tell(Registered())
    return service


def rows(multipliers: list[float | None], losses: list[float | None], first: int = 0) -> Body:
    places: list[float | None] = [float(first + index) for index in range(len(losses))]
    columns = {"position": places, "step": places, "loss": losses, "multiplier": multipliers}
    return Measurements(number=1, segment=1, position=first, columns=columns)


def ended(outcome: str = "completed", position: int = SEARCH, code: str | None = None) -> Body:
    return SegmentEnded.model_validate(
        {
            "number": 1,
            "segment": 1,
            "position": position,
            "kind": "main",
            "outcome": outcome,
            "code": code,
            "steps": position,
            "main_position": position,
        }
    )


def searched(
    rule: float | list[float], losses: list[float | None] | None = None, **facts: Any
) -> tuple[Segment, Controller]:
    """Return what follows a search whose rule stood at ``rule``."""
    service = begun(**facts)
    factors = rule if isinstance(rule, list) else [rule] * SEARCH
    reported: list[float | None] = [m * BASE.at(step) for step, m in enumerate(factors)]
    falling: list[float | None] = [2.0 - 0.05 * step for step in range(SEARCH)]
    service.tell(rows(reported, losses or falling))
    (segment,) = service.tell(ended())
    return segment, service


def test_the_search_is_the_base_schedule_under_the_rule_to_a_fifth_of_the_budget() -> None:
    (segment,) = begun().segments
    assert (segment.kind, segment.start, segment.length, segment.policy) == ("main", 0, 20, BASE)
    assert isinstance(segment.feedback, Hypergradient)
    assert (segment.feedback.lowest, segment.feedback.highest) == (0.05, 20.0)
    assert (segment.feedback.form, segment.feedback.beta) == ("multiplicative", 0.02)
    assert segment.origin == "hypergradient"


def test_where_it_settled_is_frozen_and_the_base_shape_anneals() -> None:
    segment, service = searched(3.0)
    assert segment.feedback is None
    assert (segment.start, segment.end) == (SEARCH, TOTAL)
    assert segment.policy.at(50) == pytest.approx(3.0 * BASE.at(50))
    assert segment.policy.at(TOTAL) == 0.0
    (entry,) = [each for each in service.log if each.code == "base_lr_found"]
    assert entry.numbers["multiplier"] == pytest.approx(3.0)
    assert entry.numbers["lr"] == pytest.approx(0.3)
    assert entry.numbers["spread_octaves"] == pytest.approx(0.0, abs=1e-6)
    assert entry.numbers["rows"] == 5
    assert entry.numbers["loss"] == pytest.approx(1.15)


def test_only_the_last_quarter_counts_by_its_geometric_mean() -> None:
    segment, service = searched([50.0] * 15 + [1.0, 2.0, 4.0, 2.0, 2.0])
    assert segment.policy.peak == pytest.approx(2.0)
    (entry,) = [each for each in service.log if each.code == "base_lr_found"]
    assert entry.numbers["spread_octaves"] == pytest.approx(math.sqrt(7 / 5 - 1))


def test_how_rows_were_cut_into_records_makes_no_difference() -> None:
    reported = [1.0 + 0.03 * step for step in range(SEARCH)]
    whole, cut = begun(), begun()
    losses = [2.0 - 0.05 * step for step in range(SEARCH)]
    whole.tell(rows([*reported], [*losses]))
    for step in range(SEARCH):
        cut.tell(rows([reported[step]], [losses[step]], step))
    assert cut.state == whole.state
    assert cut.tell(ended()) == whole.tell(ended())


@pytest.mark.parametrize(
    ("losses", "why"),
    [
        ([1.0 + 0.1 * step for step in range(SEARCH)], "the loss rose from 1.2 to 2.7"),
        ([2.0] * 10 + [math.nan] + [1.0] * 9, "1 losses were not finite"),
    ],
)
def test_trouble_leads_back_to_the_base_schedule(losses: list[float | None], why: str) -> None:
    segment, service = searched(4.0, losses)
    assert (segment.policy, segment.feedback) == (BASE, None)
    assert why in next(each.text for each in service.log if each.code == "fell_back_to_base")


@pytest.mark.parametrize(
    "body",
    [
        ended("stopped", 7, "NON_FINITE"),
        Acknowledgement(number=1, segment=1, position=7, status="refused", code="UNKNOWN_FEEDBACK"),
    ],
    ids=["stopped", "refused"],
)
def test_a_search_that_ends_early_leads_back_to_the_base_schedule(body: Body) -> None:
    (segment,) = begun().tell(body)
    assert (segment.policy, segment.feedback) == (BASE, None)
    assert (segment.start, segment.end) == (7, TOTAL)


def test_without_a_reported_multiplier_nothing_is_claimed_to_be_found() -> None:
    service = begun()
    (segment,) = service.tell(ended())
    assert segment.policy == BASE
    assert "no multiplier was reported" in service.log[-2].text


def test_by_default_the_rule_stays_below_the_base_peak() -> None:
    (segment,) = begun(limits={"max_multiplier": None}).segments
    assert segment.feedback is not None
    assert segment.feedback.highest == 1.0


def test_bounds_of_the_job_narrow_those_of_the_rule() -> None:
    floored = Schedule(length=TOTAL, body=Linear(), floor=0.5)
    limits = {"max_multiplier": 2.0, "min_multiplier": 0.5, "max_change_per_step": 1.07}
    (segment,) = begun(base=floored, limits=limits).segments
    assert segment.feedback is not None
    assert (segment.feedback.lowest, segment.feedback.highest) == (1.0, 2.0)
    assert segment.feedback.max_change_per_step == pytest.approx(1.05)


def test_where_the_limits_leave_no_room_the_base_schedule_is_sent() -> None:
    floored = Schedule(length=TOTAL, body=Linear(), floor=0.5)
    (segment,) = begun(base=floored, limits={"max_change_per_step": 1.011}).segments
    assert (segment.policy, segment.feedback) == (floored, None)


def test_a_client_that_does_not_know_the_rule_is_an_obstacle() -> None:
    facts = job_facts(TOTAL)
    strategy = HypergradientStrategy.from_document({})
    assert list(strategy.obstacles(facts)) == []
    old = facts.capabilities.model_copy(update={"feedback": ()})
    (sentence,) = strategy.obstacles(job_facts(TOTAL, capabilities=old))
    assert "cannot run the feedback rule 'hypergradient'" in sentence


def test_a_segment_that_came_too_late_is_sent_again_but_not_for_ever() -> None:
    service = begun()
    for _ in range(3 * MOST_SENT):
        stale = Acknowledgement(
            number=1, segment=len(service.segments), position=4, status="stale", code="X"
        )
        service.tell(stale)
    assert len(service.segments) == MOST_SENT
    assert {(each.start, each.end) for each in service.segments[1:]} == {(4, SEARCH)}


def test_a_person_is_left_alone_and_what_was_found_holds_afterwards() -> None:
    _, service = searched(3.0)
    assert service.tell(Overridden(active=True, seq=3, position=50)) == []
    (segment,) = service.tell(Overridden(active=False, seq=4, position=60))
    assert segment.start == 60
    assert segment.policy.peak == pytest.approx(3.0)


def test_a_job_whose_simulation_reports_no_multiplier_trains_its_whole_budget_on_the_base() -> None:
    job = SimulatedJob(HypergradientStrategy.from_document({}), job_facts(TOTAL, base=BASE)).run()
    assert job.main_multipliers == pytest.approx([BASE.at(step) for step in range(TOTAL)])
    assert job.probe_units == 0
