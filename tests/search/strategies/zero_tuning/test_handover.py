"""``then="horizon"``: what the horizon objective makes of a main line whose rate was found."""

import math
from functools import lru_cache
from typing import Any

import pytest
from pacesetter.limits import Limits
from pacesetter.protocol import Capabilities, ParameterGroup, Segment
from pacesetter.schedules import Schedule
from pacesetter_search.contract import Overridden
from pacesetter_search.strategies.zero_tuning import ZeroTuning, value

from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import SimulatedJob, job_facts

TOTAL = 3000


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value, "DRAWS", 600)
    monkeypatch.setattr(value, "OUTCOMES", 30)


def run(parameters: dict[str, Any], **changes: Any) -> SimulatedJob:
    epoch = changes.pop("epoch_batches", 10 * TOTAL)
    described: dict[str, Any] = {
        "base": Schedule.default_base(TOTAL),
        "groups": (ParameterGroup(name="all", base_lr=0.02, optimizer="SGD"),),
        "overhead_cap": 0.15,
        "limits": Limits(),
        "capabilities": Capabilities.model_validate(
            {
                "rollback": "memory",
                "rewind_batches": "unlimited",
                "validate": True,
                "epoch_batches": epoch,
            }
        ),
    }
    facts = job_facts(TOTAL, **{**described, **changes})
    strategy = ZeroTuning.from_document(parameters)
    return SimulatedJob(strategy, facts, landscape=NoisyQuadratic()).run()


@lru_cache(maxsize=1)
def handed_over() -> SimulatedJob:
    """A job whose rate is nearly trusted: something of the cap is left when the main line begins."""
    return run({"then": "horizon", "trust": 1.0, "trust_octaves": 0.3})


def codes(job: SimulatedJob) -> list[str]:
    return [entry.code for entry in job.controller.log]


def mains(job: SimulatedJob) -> list[Segment]:
    return [one for one in job.controller.segments if one.kind == "main"]


def test_nothing_follows_unless_it_was_asked_for() -> None:
    job = run({})
    assert "handed_over" not in codes(job)
    assert [one.end for one in mains(job)] == [TOTAL]


def test_it_takes_over_once_the_main_line_has_begun_and_decides_at_its_own_positions() -> None:
    job = handed_over()
    found = codes(job)
    assert found.index("handed_over") == found.index("main") + 1
    whole, first, *others = mains(job)
    assert (whole.start, whole.end) == (0, TOTAL)
    assert (first.policy, first.end) == (
        whole.policy,
        3 * TOTAL // 10,
    )  # its warm-up ends at the first mark
    assert [one.end for one in others][-1] == TOTAL
    assert {"keep_your_schedule", "worth_probing"} & set(found)


def test_what_it_believes_of_the_rate_is_the_posterior_of_the_search() -> None:
    job = handed_over()
    entry = next(each for each in job.controller.log if each.code == "handed_over")
    settled = next(each for each in job.controller.log if each.code == "main")
    sd = settled.numbers["log2_lr_sd"]
    assert isinstance(sd, float)
    assert entry.numbers["octaves"] == pytest.approx(min(max(sd, 0.1), 2.0))


def test_both_together_stay_within_the_cap() -> None:
    job = handed_over()
    entry = next(each for each in job.controller.log if each.code == "handed_over")
    spent = next(e for e in job.controller.log if e.code == "main").numbers["spent"]
    assert isinstance(spent, int)
    assert entry.numbers["cap"] == pytest.approx(0.15 - spent / TOTAL)
    assert job.follower.finished
    assert job.follower.on_main_line
    assert job.probe_units <= 0.15 * TOTAL


def test_it_speaks_with_the_name_that_the_limits_know() -> None:
    assert {one.origin for one in handed_over().controller.segments} == {"zero_tuning"}


@pytest.mark.parametrize("ceiling", [0.5, 1.0, 3.0])
def test_it_keeps_to_the_limits_of_the_training_code(ceiling: float) -> None:
    job = run({"then": "horizon"}, limits=Limits(max_multiplier=ceiling))
    assert "handed_over" in codes(job)
    for segment in job.controller.segments:
        top = max(segment.policy.at(position) for position in range(segment.start, segment.end))
        assert top <= ceiling * (1 + 1e-9)


def test_without_a_ceiling_it_may_go_up_to_its_own_span() -> None:
    job = handed_over()
    peak = mains(job)[0].policy.peak
    assert max(one.policy.peak for one in mains(job)) <= 2.0 * peak * (1 + 1e-9)


def test_a_main_line_that_is_watched_for_overfitting_is_not_handed_over() -> None:
    job = run({"then": "horizon"}, epoch_batches=TOTAL // 10)
    assert "handed_over" not in codes(job)
    assert len(mains(job)) > 2


def test_a_person_is_heard_after_it_took_over() -> None:
    job = handed_over()
    controller = job.controller
    before = len(controller.segments)
    controller.tell(Overridden(active=True, seq=before, position=TOTAL // 2))
    assert len(controller.segments) == before
    assert controller.state["next"] is not None


def test_its_state_is_one_document() -> None:
    state = handed_over().controller.state
    assert isinstance(state["next"], dict)
    assert math.isfinite(float(str(state["next"]["octaves"])))
