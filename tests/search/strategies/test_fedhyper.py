"""``fedhyper``: what it asks of a job, and that its rule is FedHyper-G."""

from typing import Any

import pytest
from pacesetter.feedback import Hypergradient
from pacesetter.protocol import Capabilities
from pacesetter_search.contract import Context, Event, JobFacts, Registered
from pacesetter_search.strategies.fedhyper import FedHyper

from tests.search.support.simulator import job_facts


def strategy(**parameters: Any) -> FedHyper:
    made = FedHyper.from_document(parameters)
    assert isinstance(made, FedHyper)
    return made


def facts(**changes: Any) -> JobFacts:
    able = Capabilities(feedback=("hypergradient",))
    return job_facts(100, **{"capabilities": able, "limits": {"max_multiplier": 3.0}, **changes})


def test_one_segment_carries_the_published_rule_to_the_end_of_the_budget() -> None:
    made, job = strategy(), facts()
    answer = made.advance(made.initial(job), Event(1, Registered()), Context(job, 1))
    (plan,) = answer.segments
    assert (plan.start, plan.length, plan.kind) == (0, 100, "main")
    rule = plan.feedback
    assert isinstance(rule, Hypergradient)
    assert (rule.form, rule.beta) == ("additive", 1.0)
    assert rule.lowest == pytest.approx(1 / 3)
    assert rule.highest == 3.0
    # The published rate may jump from one bound to the other.
    assert rule.within(1 / 3, 3.0) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capabilities": Capabilities()}, "cannot run the feedback rule"),
        ({"limits": {"max_multiplier": None}}, "set max_multiplier=3"),
        ({"limits": {"max_multiplier": 2.0}}, "the limits allow 2"),
        ({"limits": {"max_multiplier": 3.0, "max_change_per_step": 2.0}}, "set 9 or more"),
    ],
)
def test_what_it_needs_is_said_at_registration(changes: dict[str, Any], message: str) -> None:
    (obstacle,) = strategy().obstacles(facts(**changes))
    assert message in obstacle


def test_a_smaller_bound_needs_less() -> None:
    assert list(strategy(bound=2.0).obstacles(facts(limits={"max_multiplier": 2.0}))) == []
