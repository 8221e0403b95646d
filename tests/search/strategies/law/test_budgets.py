"""A budget that changes while laws plan the schedule: the rest is planned anew, at once."""

from dataclasses import replace
from typing import Any

import pytest
from pacesetter.limits import Limits
from pacesetter.protocol import Budget
from pacesetter.schedules import WSD, Schedule, Warmup
from pacesetter_search.contract import BudgetChanged, Overridden, Registered
from pacesetter_search.memory.laws import LAWS
from pacesetter_search.strategies import get_strategy

from tests.search.strategies.law.test_jobs import BASE, STEPS, codes, facts, of_the_family
from tests.search.support.budgets import ProlongedJob
from tests.search.support.lawful import Lawful
from tests.search.support.simulator import Controller

LONGER, SHORTER = 3 * STEPS // 2, STEPS // 2


def prolonged(at: int, total: int, base: Schedule = BASE) -> ProlongedJob:
    priors = {LAWS: [of_the_family().model_dump(mode="json")]}
    fields: dict[str, Any] = {"landscape": Lawful(), "priors": priors, "changes": [(at, total)]}
    job = replace(facts(base), limits=Limits(max_budget=2 * STEPS, allow_shorter_main=True))
    return ProlongedJob(get_strategy("law").from_document({}), job, **fields).run()


@pytest.mark.parametrize(("at", "total"), [(900, LONGER), (1500, LONGER), (400, SHORTER)])
def test_the_rest_is_planned_at_once(at: int, total: int) -> None:
    job = prolonged(at, total)
    first, _ = job.carried[0]
    answer = job.controller.segments[first - 1]
    assert (answer.kind, answer.when, answer.start) == ("main", "now", at)
    assert "another_budget" in codes(job)
    assert len(job.main_losses) == total
    assert job.main_multipliers[-1] == pytest.approx(0.0, abs=0.01)
    assert max(job.main_multipliers) <= 1.0


def test_it_decides_at_the_positions_of_the_new_budget() -> None:
    job = prolonged(900, LONGER)
    first, _ = job.carried[0]
    starts = [one.start for one in job.controller.segments[first - 1 :]]
    assert starts == [900, LONGER // 2, 7 * LONGER // 10]


@pytest.mark.parametrize("at", [500, 900, 1300])
def test_an_extended_run_ends_near_one_that_was_planned_for_the_new_budget(at: int) -> None:
    """On a problem that follows a law, whose best schedule holds and falls late; the bar is that of real trainings."""
    base = Schedule(length=LONGER, warmup=Warmup(length=STEPS // 50), body=WSD(cooldown=0.2))
    planned = Lawful(steps=STEPS).after(base)
    held = Schedule(length=STEPS, warmup=Warmup(length=STEPS // 50), body=WSD(cooldown=0.2))
    assert prolonged(at, LONGER, held).landscape.validate() < 1.005 * planned


def test_nothing_is_sent_while_a_person_steers() -> None:
    controller = Controller(get_strategy("law").from_document({}), facts())
    controller.tell(Registered())
    controller.tell(Overridden(active=True, seq=2, position=30))
    base = Schedule(length=LONGER)
    controller.facts = replace(controller.facts, budget=Budget(total=LONGER), base=base)
    assert controller.tell(BudgetChanged(total=LONGER, before=STEPS, position=40)) == []
    (segment,) = controller.tell(Overridden(active=False, seq=3, position=50))
    assert (segment.start, segment.end, segment.policy) == (50, LONGER, base)
