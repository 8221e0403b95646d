"""Whole jobs with trouble put in their way: what the guard sends, and what the strategy sees of it."""

import math
from typing import Any

import numpy as np
import pytest
from pacesetter.protocol import (
    INITIAL,
    Capabilities,
    FellBack,
    Measurements,
    SegmentEnded,
    SegmentPlan,
)
from pacesetter.schedules import Cosine, Schedule
from pacesetter_search.contract import Advance, Context, Event, Registered, State, Strategy
from pacesetter_search.guard import Guarded, GuardParameters
from pacesetter_search.strategies import get_strategy

from tests.search.support.guarded import GuardedJob, guard_log
from tests.search.support.simulator import job_facts

TOTAL = 1000
EVERY = 50
"""A twentieth of the budget."""


class Witness(Strategy):
    """Passes everything on to a strategy, and keeps what it was told."""

    def __init__(self, inner: Strategy) -> None:
        super().__init__(inner.parameters)
        self.inner = inner
        self.seen: list[Any] = []
        self.caps: list[float] = []

    name = "witness"

    def initial(self, job: Any) -> State:
        return self.inner.initial(job)

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        self.seen.append(event.body)
        self.caps.append(context.job.overhead_cap)
        return self.inner.advance(state, event, context)


class StartingOver(Strategy):
    """Trains 40 steps, and then the whole budget from the untrained model."""

    name = "starting_over"

    def initial(self, job: Any) -> State:
        return {}

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        base = context.job.base
        plan = {"kind": "main", "when": "now", "policy": base, "reason": {"text": "test"}}
        if isinstance(event.body, Registered):
            first = SegmentPlan.model_validate({**plan, "start": 0, "length": 40})
            return Advance(state, (first,))
        if isinstance(event.body, SegmentEnded) and event.body.main_position == 40:
            again = {**plan, "from": INITIAL, "start": 0, "length": base.length}
            return Advance(state, (SegmentPlan.model_validate(again),))
        return Advance(state)


def fixed() -> Strategy:
    return get_strategy("fixed").from_document({})


def job(strategy: Strategy | None = None, **changes: Any) -> GuardedJob:
    """Return a job of 1000 steps on a base schedule that goes down to zero."""
    facts = changes.pop("facts", {})
    base = Schedule(length=TOTAL, body=Cosine())
    values = {"overhead_cap": 0.15, "base": base, "limits": {"max_multiplier": None}, **facts}
    guard = GuardParameters(**changes.pop("guard", {}))
    guarded = Guarded(strategy or fixed(), guard)
    return GuardedJob(guarded, facts=job_facts(TOTAL, **values), **changes)


def poison(*batches: int) -> Any:
    """Return what makes the loss of these batches NaN, and the weights with it."""

    def spoil(sick: GuardedJob, loss: float) -> float:
        if sick.landscape.data - 1 in batches:
            sick.landscape.weights = sick.landscape.weights * math.nan
        return math.nan if np.isnan(sick.landscape.weights).any() else loss

    return spoil


def too_high(above: float) -> Any:
    """Return what lets the loss grow whenever the multiplier is above a bound."""
    height = {"factor": 1.0}

    def spoil(sick: GuardedJob, loss: float) -> float:
        multiplier = sick.follower.running.policy.at(sick.follower.position)
        high = sick.follower.position > 300 and multiplier > above
        height["factor"] = min(height["factor"] * 1.5, 1e6) if high else 1.0
        return loss * height["factor"]

    return spoil


def test_a_poisoned_batch_is_skipped_and_the_schedule_goes_on_as_if_nothing_had_happened() -> None:
    done = job(spoil=poison(400)).run()
    assert guard_log(done) == ["guard_rewind"]
    assert np.isfinite(done.landscape.weights).all()
    assert done.follower.position == TOTAL
    # Back to the snapshot at 350 (the one at 400 was a step old), and on with batch 401.
    assert len(done.main_losses) == TOTAL + 51
    assert done.landscape.data == TOTAL + 51
    assert sum(math.isnan(loss) for loss in done.main_losses) == 1
    recovery = done.controller.segments[1]
    assert (recovery.kind, recovery.when, recovery.source) == ("main", "now", "rolling-1-350")
    assert (recovery.start, recovery.length, recovery.data) == (350, 650, "continue")
    assert recovery.policy == done.facts.base
    assert recovery.reason.text == (
        "the loss is not finite at 401, back to 350 and on with the batches that follow"
    )


def test_the_strategy_sees_one_segment_that_took_a_little_longer() -> None:
    witness = Witness(fixed())
    done = job(witness, spoil=poison(400)).run()
    assert guard_log(done) == ["guard_rewind"]
    ended = [each for each in witness.seen if isinstance(each, SegmentEnded)]
    assert [(each.segment, each.outcome, each.main_position) for each in ended] == [
        (1, "completed", TOTAL)
    ]
    rows = [each for each in witness.seen if isinstance(each, Measurements)]
    assert {each.segment for each in rows} <= {0, 1}
    # What was trained twice is no longer there for the strategy's probes.
    assert witness.caps[0] == 0.15
    assert witness.caps[-1] == pytest.approx(0.15 - 51 / TOTAL)


def test_trouble_that_repeats_climbs_from_rewind_to_dip_to_cut() -> None:
    done = job(spoil=too_high(0.4)).run()
    assert guard_log(done)[:3] == ["guard_rewind", "guard_dip", "guard_cut"]
    assert done.follower.position == TOTAL
    dip = done.controller.segments[2]
    rewind = done.controller.segments[1]
    base = done.facts.base
    assert dip.policy.at(dip.start) == pytest.approx(0.5 * base.at(dip.start), rel=1e-6)
    # Eased back two intervals behind the place of the trouble, and then the base schedule to the end.
    for position in (rewind.start + 4 * EVERY, 900, TOTAL - 1):
        assert dip.policy.at(position) == pytest.approx(base.at(position), abs=1e-5)
    cut = done.controller.segments[3]
    assert cut.policy == base.model_copy(update={"peak": 0.5})


def test_trouble_that_comes_much_later_is_new_trouble() -> None:
    done = job(spoil=poison(300, 800)).run()
    assert guard_log(done) == ["guard_rewind", "guard_rewind"]
    assert np.isfinite(done.landscape.weights).all()


def test_units_trained_twice_stay_within_the_overhead_cap_and_lost_weights_are_replaced_in_place() -> (
    None
):
    done = job(facts={"overhead_cap": 0.06}, spoil=poison(300, 700)).run()
    assert guard_log(done) == ["guard_rewind", "guard_rewind"]
    assert len(done.main_losses) <= 1.06 * TOTAL
    # The second time 50 steps more are beyond the cap: the weights of 600 go on at 650.
    in_place = done.controller.segments[2]
    assert (in_place.source, in_place.start) == ("rolling-2-600", 650)
    assert in_place.reason.text == (
        "the loss is not finite at 650, weights from 'rolling-2-600' in place"
    )
    assert np.isfinite(done.landscape.weights).all()
    assert done.follower.position == TOTAL


def test_units_that_the_strategy_gave_up_by_starting_over_count_against_the_same_cap() -> None:
    done = job(
        StartingOver(StartingOver.parameters_type()),
        facts={"overhead_cap": 0.06},
        spoil=poison(280),
    ).run()
    assert guard_log(done) == ["guard_rewind"]
    # 40 were given up and 41 would be trained twice: the weights of the snapshot go on in place.
    assert len(done.main_losses) == TOTAL + 40
    assert np.isfinite(done.landscape.weights).all()
    assert done.follower.position == TOTAL


def test_without_rollback_a_spike_is_answered_by_a_dip_and_then_a_cut() -> None:
    facts = {"capabilities": Capabilities(rollback="none")}
    done = job(facts=facts, spoil=too_high(0.4)).run()
    assert guard_log(done)[:2] == ["guard_dip", "guard_cut"]
    assert {each.source for each in done.controller.segments} == {"current"}
    assert {each.save_every for each in done.controller.segments} == {None}
    assert len(done.main_losses) == TOTAL


def test_where_the_limits_forbid_a_rollback_none_is_sent() -> None:
    done = job(
        facts={"limits": {"max_multiplier": None, "allow_rollback": False}}, spoil=too_high(0.4)
    ).run()
    assert {each.source for each in done.controller.segments} == {"current"}
    assert "guard_rewind" not in guard_log(done)


def test_lost_weights_without_a_state_to_go_back_to_end_the_watch() -> None:
    facts = {"limits": {"max_multiplier": None, "allow_rollback": False}}
    done = job(facts=facts, spoil=poison(400)).run()
    assert guard_log(done) == ["guard_gave_up"]
    assert len(done.main_losses) == TOTAL
    assert done.controller.segments[-1].stop_if == ()


def test_a_limit_on_changes_makes_the_dip_a_ramp() -> None:
    facts = {"limits": {"max_multiplier": None, "max_change_per_step": 1.05}}
    done = job(facts=facts, spoil=too_high(0.4)).run()
    assert "guard_dip" in guard_log(done)
    statuses = set(refusals(done))
    assert statuses == set()
    dip = done.controller.segments[2]
    values = dip.policy.over(np.arange(dip.start, dip.start + 300, dtype=np.float64))
    assert np.max(values[:-1] / values[1:]) <= 1.05
    assert values.min() < 0.6 * values[0]


def refusals(done: GuardedJob) -> list[str]:
    """Return the codes of what the client refused."""
    bodies = [event.body for event in done.controller.events]
    return [
        str(body.code)
        for body in bodies
        if body.type == "acknowledgement" and body.status == "refused"
    ]


def test_interventions_are_counted_and_then_the_job_is_left_alone() -> None:
    done = job(guard={"interventions": 2}, spoil=too_high(0.01)).run()
    assert guard_log(done) == ["guard_rewind", "guard_dip", "guard_gave_up"]
    assert done.follower.position == TOTAL


def test_a_refused_answer_is_followed_by_the_next_rung() -> None:
    def refuse(segment: Any) -> str | None:
        return "NO_CHECKPOINT" if segment.source.startswith("rolling") else None

    done = job(spoil=too_high(0.4), refuse=refuse).run()
    assert done.follower.position == TOTAL
    assert guard_log(done)[0] == "guard_rewind"
    assert len(guard_log(done)) <= 7


def test_an_answer_that_never_arrives_leaves_the_strategy_with_the_segment_that_runs() -> None:
    witness = Witness(fixed())
    done = job(witness, spoil=poison(400), deaf=lambda _: True).run()
    assert len(done.recovered) == 1
    assert np.isfinite(done.landscape.weights).all()
    fell_back = [each for each in witness.seen if isinstance(each, FellBack)]
    assert [(each.follows, each.segment) for each in fell_back] == [(1, 1)]
    ended = [each for each in witness.seen if isinstance(each, SegmentEnded)]
    assert [(each.segment, each.outcome) for each in ended][-1] == (1, "completed")


def test_a_searching_job_keeps_its_plan_through_trouble() -> None:
    search = get_strategy("autolrs").from_document({"candidates": 3})
    facts = {
        "overhead_cap": 1.0,
        "base": Schedule(length=TOTAL),
        "limits": {"max_multiplier": 10.0},
    }
    calm = job(search, facts=facts).run()
    witness = Witness(get_strategy("autolrs").from_document({"candidates": 3}))
    shaken = job(witness, facts=facts, spoil=poison_main(450)).run()
    assert guard_log(calm) == []
    assert guard_log(shaken) == ["guard_rewind"]
    assert shaken.follower.position == calm.follower.position == TOTAL
    stages = [e.code for e in shaken.controller.log if e.code == "stage_chosen"]
    assert len(stages) == len([e for e in calm.controller.log if e.code == "stage_chosen"])
    # The strategy was never told of a stop, nor of a number that it had not given.
    assert not any(isinstance(e, SegmentEnded) and e.code == "NON_FINITE" for e in witness.seen)
    gave_up = [e.code for e in shaken.controller.log if e.code in ("superseded", "gave_up")]
    assert gave_up == []


def poison_main(place: int) -> Any:
    """Return what kills the weights once, on the main line at ``place``."""
    done: list[int] = []

    def spoil(sick: GuardedJob, loss: float) -> float:
        if sick.follower.on_main_line and sick.follower.position == place and not done:
            done.append(place)
            sick.landscape.weights = sick.landscape.weights * math.nan
            return math.nan
        return loss

    return spoil


def test_a_gradient_that_explodes_is_answered_where_norms_are_reported() -> None:
    def norm(sick: GuardedJob) -> float:
        return 50.0 if 400 <= sick.landscape.data < 408 else 1.0

    done = job(norm=norm).run()
    assert guard_log(done) == ["guard_rewind"]
    assert done.controller.segments[1].reason.numbers["clause"] == "GRADIENT_SPIKE"


def test_a_job_without_trouble_is_never_touched() -> None:
    done = job().run()
    assert guard_log(done) == []
    assert [each.origin for each in done.controller.segments] == ["fixed"]
    assert done.waits == 0


def test_under_reinforcement_learning_a_loss_may_rise() -> None:
    def rising(sick: GuardedJob, loss: float) -> float:
        return loss * (10.0 if sick.follower.position > 300 else 1.0)

    assert guard_log(job(spoil=rising).run()) != []
    assert guard_log(job(facts={"regime": "rl"}, spoil=rising).run()) == []


def test_a_state_of_before_the_guard_is_taken_over() -> None:
    facts = job_facts(TOTAL)
    guarded = Guarded(fixed())
    before = fixed().initial(facts)
    body = FellBack(number=1, segment=0, position=10, follows=3, waited_seconds=1.0)
    answer = guarded.advance(before, Event(1, body), Context(facts, 4))
    assert answer.state.keys() == {"guard", "strategy"}
    assert len(answer.segments) == 1
    newer: State = {**answer.state, "guard": {"version": 99}}
    assert guarded.advance(newer, Event(2, body), Context(facts, 5)).state.keys() == {
        "guard",
        "strategy",
    }
