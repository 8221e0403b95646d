"""A budget that changes while a job runs: the main line is always defined to its end, whatever the strategy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Budget, Segment
from pacesetter.schedules import WSD, Constant, Cosine, Family, Linear, Schedule, Warmup
from pacesetter_search.contract import (
    BudgetChanged,
    Context,
    Event,
    JobFacts,
    Overridden,
    Registered,
    Strategy,
)
from pacesetter_search.guard import Guarded
from pacesetter_search.guard.memory import GuardMemory
from pacesetter_search.strategies import get_strategy, strategy_names

from tests.search.guard.test_guarded_jobs import poison
from tests.search.strategies.test_properties import KINDS, QUICK, steering
from tests.search.support.budgets import ProlongedJob
from tests.search.support.guarded import guard_log
from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import Controller, job_facts

TOTAL = 400
FOLLOWING, PLANNING = ("fixed", "manual"), ("law",)
"""Strategies that handle budgets: those that follow the base schedule, and those that plan."""
HANDLING = (*FOLLOWING, *PLANNING)
LIMITS = {"max_multiplier": 3.0, "max_budget": 4 * TOTAL, "allow_shorter_main": True}
BODIES: tuple[Family, ...] = (Linear(), Cosine(), Constant(), WSD(cooldown=0.2))


def facts(body: Family | None = None, **changes: Any) -> JobFacts:
    base = Schedule(length=TOTAL, warmup=Warmup(length=20), body=body or Linear())
    return job_facts(TOTAL, **{"base": base, "limits": LIMITS, "overhead_cap": 0.3, **changes})


def prolonged(
    strategy: Strategy, job: JobFacts, changes: list[tuple[int, int]], **fields: Any
) -> ProlongedJob:
    return ProlongedJob(strategy, job, NoisyQuadratic(), changes=list(changes), **fields).run()


def assert_defined_to_the_end(job: ProlongedJob) -> None:
    """Every main segment leads to the budget of its time, and its policy trains until there."""
    for segment in job.controller.segments:
        known = [total for first, total in job.carried if first <= segment.seq]
        if segment.kind != "main" or not known:
            continue
        total, policy = known[-1], segment.policy
        assert segment.budget == total
        assert segment.end <= total
        assert policy.end >= total or policy.at(total) > 0.0
    assert job.follower.finished
    assert job.follower.position == job.facts.budget.total
    assert job.follower.total == job.facts.budget.total
    refusals = [
        each for each in job.controller.events if getattr(each.body, "status", "") == "refused"
    ]
    assert refusals == []


def test_the_strategies_that_handle_budgets_are_the_ones_that_say_so() -> None:
    handling = [name for name in strategy_names() if get_strategy(name).handles_budget]
    assert handling == sorted(HANDLING)
    for name in strategy_names():
        kind = get_strategy(name)
        built = Guarded(kind(kind.parameters_type()))
        assert built.handles_budget == kind.handles_budget


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("name", FOLLOWING)
def test_a_change_is_answered_at_once_with_a_main_segment_to_the_new_end(
    name: str, guarded: bool
) -> None:
    strategy = get_strategy(name).from_document({})
    controller = Controller(Guarded(strategy) if guarded else strategy, facts())
    controller.tell(Registered())
    for number, total in enumerate((600, 500, 300, 1600, 1500, 1400, 1300, 1200), start=1):
        position = 10 * number
        controller.facts = replace(
            controller.facts,
            budget=Budget(total=total),
            base=Schedule(length=total, body=Linear()),
        )
        (segment,) = controller.tell(BudgetChanged(total=total, before=TOTAL, position=position))
        assert (segment.kind, segment.when, segment.start, segment.end) == (
            *("main", "now"),
            *(position, total),
        )
        assert segment.policy == controller.facts.base


@pytest.mark.parametrize("name", HANDLING)
def test_a_change_while_a_person_steers_sends_nothing_until_the_job_is_handed_back(
    name: str,
) -> None:
    controller = Controller(get_strategy(name).from_document({}), facts())
    controller.tell(Registered())
    controller.tell(Overridden(active=True, seq=2, position=30))
    longer = Schedule(length=600, body=Linear())
    controller.facts = replace(controller.facts, budget=Budget(total=600), base=longer)
    assert controller.tell(BudgetChanged(total=600, before=TOTAL, position=40)) == []
    (segment,) = controller.tell(Overridden(active=False, seq=3, position=50))
    assert (segment.start, segment.end, segment.policy) == (50, 600, longer)


def test_manual_proposes_nothing_of_a_change_that_a_person_made() -> None:
    controller = Controller(get_strategy("manual").from_document({}), facts(authority="approve"))
    controller.tell(Registered())
    assert controller.tell(BudgetChanged(total=600, before=TOTAL, position=40)) == []


moments = st.tuples(st.integers(0, 3 * TOTAL), st.integers(30, 4 * TOTAL))


@pytest.mark.parametrize("name", FOLLOWING)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    changes=st.lists(moments, min_size=1, max_size=6).map(sorted),
    body=st.sampled_from(BODIES),
    cut=st.integers(1, 70),
)
@example(changes=[(200, 600)], body=Linear(), cut=50)
@example(changes=[(200, 300)], body=WSD(cooldown=0.2), cut=7)
def test_any_sequence_of_budgets_is_trained_to_its_end(
    name: str, changes: list[tuple[int, int]], body: Family, cut: int
) -> None:
    strategy = Guarded(get_strategy(name).from_document({}))
    job = prolonged(strategy, facts(body), changes, cut=lambda _: cut)
    assert_defined_to_the_end(job)
    assert len(job.main_losses) == job.facts.budget.total
    again = prolonged(strategy, facts(body), changes, cut=lambda _: 13)
    assert again.main_multipliers == job.main_multipliers
    assert again.controller.segments == job.controller.segments


@pytest.mark.parametrize("name", PLANNING)
@pytest.mark.parametrize("body", [Linear(), WSD(cooldown=0.2)])
@pytest.mark.parametrize(
    "changes", [[(100, 600)], [(150, 300)], [(0, 700), (300, 900), (310, 400)]]
)
def test_what_is_planned_anew_is_trained_to_its_end(
    name: str, body: Family, changes: list[tuple[int, int]]
) -> None:
    job = prolonged(Guarded(get_strategy(name).from_document({})), facts(body), changes)
    assert_defined_to_the_end(job)
    assert len(job.main_losses) == job.facts.budget.total
    again = prolonged(
        Guarded(get_strategy(name).from_document({})), facts(body), changes, cut=lambda _: 13
    )
    assert again.controller.segments == job.controller.segments


def assert_taken_back(kind: str, changes: list[tuple[int, int]], body: Family) -> None:
    job = prolonged(Guarded(steering(kind)), facts(body), changes)
    assert_defined_to_the_end(job)
    again = prolonged(Guarded(steering(kind)), facts(body), changes, cut=lambda _: 13)
    assert again.controller.segments == job.controller.segments


OTHERS = [kind for kind in KINDS if kind not in HANDLING]


@pytest.mark.parametrize(("at", "total"), [(100, 600), (150, 300)])
@pytest.mark.parametrize("body", [Linear(), Constant()])
@pytest.mark.parametrize("kind", OTHERS)
def test_every_other_strategy_takes_the_job_back_with_another_budget(
    kind: str, body: Family, at: int, total: int
) -> None:
    job = prolonged(Guarded(steering(kind)), facts(body), [(at, total)])
    assert_defined_to_the_end(job)
    # It had been handed back, and sends again.
    assert job.handed_back_at is None
    assert later(job)[0].origin == "person"
    assert len(later(job)) > 1


@pytest.mark.parametrize("kind", [kind for kind in OTHERS if kind in QUICK])
@settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(changes=st.lists(moments, min_size=1, max_size=4).map(sorted), body=st.sampled_from(BODIES))
def test_every_other_strategy_trains_any_sequence_of_budgets_to_its_end(
    kind: str, changes: list[tuple[int, int]], body: Family
) -> None:
    assert_taken_back(kind, changes, body)


def later(job: ProlongedJob) -> list[Segment]:
    """Return the segments since the budget changed."""
    return job.controller.segments[job.carried[0][0] - 1 :]


def test_what_the_guard_repeats_in_trouble_leads_to_the_new_end() -> None:
    """The loss is lost right after the change, before the strategy's answer can have been taken up."""
    job = facts()
    guarded = Guarded(get_strategy("fixed").from_document({}))
    controller = Controller(guarded, job)
    (first,) = controller.tell(Registered())
    longer = Schedule(length=600, body=Linear())
    controller.facts, controller.budget = (
        replace(job, budget=Budget(total=600), base=longer),
        600,
    )
    controller.tell(BudgetChanged(total=600, before=TOTAL, position=200))
    guard = GuardMemory.model_validate(controller.state["guard"])
    assert [each.plan.end for each in guard.held] == [600, 600]
    assert [each.plan.policy.at(at) for each in guard.held for at in (200, 600)] == pytest.approx(
        [first.policy.at(200), 0.0, longer.at(200), 0.0]
    )
    assert first.end == TOTAL


def test_a_guarded_job_recovers_before_and_after_a_change() -> None:
    guarded = Guarded(get_strategy("fixed").from_document({}))
    job = prolonged(guarded, facts(), [(130, 600)], spoil=poison(100, 300, 500))
    assert guard_log(job) == ["guard_rewind"] * 3
    assert np.isfinite(job.landscape.weights).all()
    assert_defined_to_the_end(job)


def test_a_cut_of_the_guard_survives_a_change() -> None:
    strategy = Guarded(get_strategy("fixed").from_document({}))
    state = strategy.initial(facts())
    guard = state["guard"]
    assert isinstance(guard, dict)
    guard["factor"] = 0.5
    job = replace(facts(), budget=Budget(total=600), base=Schedule(length=600, body=Linear()))
    state = strategy.advance(state, Event(1, Registered()), Context(job, 1)).state
    change = BudgetChanged(total=600, before=TOTAL, position=200)
    (segment,) = strategy.advance(state, Event(2, change), Context(job, 2)).segments
    assert segment.policy.at(300) == 0.5 * 0.5
    assert segment.save_every == 30  # a twentieth of the new budget, where it was one of the old
