"""Budgets that change while a job runs: the main line ends where the newest segment of it says."""

from typing import Any

import pacesetter
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Acknowledgement, Finished, Segment
from pacesetter.run import effects as fx
from pacesetter.run.follower import Follower, base_segment
from pacesetter.schedules import Constant, Linear, Schedule

from tests.client.run.test_follower import follower, perform, take, walk, words
from tests.support.service import ScriptedTransport, constant, segment
from tests.support.training import Noisy, Regression, attach, start, train

BASE = Schedule(length=20, body=Linear())
ALLOWED = pacesetter.Limits(max_budget=40, allow_shorter_main=True)


def to_budget(total: int, seq: int = 1, after: int = 0, **changes: Any) -> Segment:
    """Return a main segment that leads to another budget on a line of its own."""
    begin = changes.pop("start", 0)
    policy = changes.pop("policy", Schedule(length=total, body=Linear()))
    fields = {"when": "now", "start": begin, "length": total - begin, "budget": total}
    return segment(seq, after, **{**fields, "policy": policy, **changes})


# The state machine


@pytest.mark.parametrize("total", [60, 160])
def test_the_main_line_ends_where_the_segment_that_was_taken_up_says(total: int) -> None:
    machine = follower()
    walk(machine, 30)
    assert words(take(machine, to_budget(total, start=30))) == ["End", "Begin"]
    assert (machine.total, machine.boundary) == (total, total)
    assert words(walk(machine, total - 31)) == []
    assert words(walk(machine, 1)) == ["End", "Finish"]
    assert machine.position == total


def test_the_budget_holds_from_the_segment_on_and_not_from_its_arrival() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=40), to_budget(160, 2, 1, start=40, when="end"))
    assert machine.total == 100
    walk(machine, 40)
    assert (machine.running.seq, machine.total) == (2, 160)


def test_a_segment_without_a_budget_leaves_it_as_it_is() -> None:
    machine = follower()
    take(machine, to_budget(160), segment(2, 1, when="now", length=160))
    assert machine.total == 160


def test_a_budget_that_comes_during_a_probe_brings_the_main_line_back() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", kind="probe", start=0, length=50))
    walk(machine, 5)
    assert words(take(machine, to_budget(60, 2, 0))) == ["End", "Return", "Begin"]
    assert (machine.total, machine.on_main_line, machine.position) == (60, True, 0)


def test_an_extension_that_arrived_with_the_last_step_is_taken_up() -> None:
    machine = follower()
    machine.advance(100, 800)
    machine.offer(to_budget(150, start=99))
    assert words(perform(machine.turn())) == ["End", "Begin"]
    assert not machine.finished
    assert words(walk(machine, 50)) == ["End", "Finish"]


def test_what_does_not_extend_the_main_line_cannot_keep_it_from_its_end() -> None:
    machine = follower()
    machine.advance(100, 800)
    machine.offer(to_budget(100, start=99))
    assert words(perform(machine.turn())) == ["End", "Acknowledge", "Finish"]


def test_an_extension_that_cannot_be_taken_up_at_the_end_lets_it_end_there() -> None:
    machine = follower()
    machine.advance(100, 800)
    machine.offer(to_budget(150, start=99, source="nowhere"))
    done = perform(machine.turn())
    assert words(done) == ["End", "Acknowledge", "Finish"]
    assert isinstance(done[1], fx.Acknowledge)
    assert (done[1].status, done[1].code) == ("refused", "NO_CHECKPOINT")


def test_a_cut_that_the_job_has_passed_meanwhile_is_stale() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=70), to_budget(60, 2, 1, start=40, when="end"))
    done = walk(machine, 70)
    assert isinstance(done[-1], fx.Acknowledge)
    assert (done[-1].status, done[-1].code, machine.total) == ("stale", "POSITION_PAST", 100)


def test_a_session_that_resumes_takes_the_budget_of_what_it_runs() -> None:
    machine = follower(position=50)
    machine.adopt((segment(1, 0, length=40), to_budget(160, 2, 1, start=40)))
    assert (machine.running.seq, machine.total, machine.boundary) == (2, 160, 160)


def test_a_session_with_a_budget_of_its_own_fits_what_it_was_sent_to_that() -> None:
    base = Schedule(length=200, body=Linear())
    machine = Follower(base_segment(base, 200), position=50)
    machine.planned_for = 100
    sent = segment(1, 0, length=100, policy=Schedule(length=100, peak=0.6, body=Linear()))
    waiting = segment(2, 1, kind="probe", start=60, length=5)
    assert machine.adopt((sent, waiting)) is None
    running = machine.running
    assert (running.seq, running.end, machine.total) == (1, 200, 200)
    # The rate that it stands at, and then the line over the whole new length.
    assert [running.policy.at(at) for at in (50, 125, 200)] == pytest.approx([0.3, 0.225, 0.0])


def test_a_part_of_the_main_line_stays_one_whatever_budget_it_was_planned_for() -> None:
    machine = Follower(base_segment(Schedule(length=200, body=Linear()), 200), position=50)
    machine.planned_for = 100
    machine.adopt((to_budget(160, length=120),))
    assert (machine.running.end, machine.running.policy.end, machine.total) == (120, 200, 200)


def test_what_has_run_out_is_replaced_by_the_base_schedule_of_the_new_budget() -> None:
    base = Schedule(length=200, body=Linear())
    machine = Follower(base_segment(base, 200), position=90)
    machine.planned_for = 100
    machine.adopt((segment(1, 0, length=100, policy=Schedule(length=80, body=Linear())),))
    assert (machine.running.seq, machine.running.policy, machine.running.end) == (1, base, 200)


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(1, 30), st.integers(1, 60), st.booleans()), min_size=1, max_size=8
    )
)
def test_after_any_sequence_of_budgets_the_main_policy_is_defined_to_the_end(
    changes: list[tuple[int, int, bool]],
) -> None:
    """Sent as the service does: what runs, fitted to the new budget where the job stands."""
    base = base_segment(Schedule(length=100, body=Linear()), 100)
    machine = Follower(base)
    for seq, (steps, more, probing) in enumerate(changes, start=1):
        walk(machine, min(steps, machine.total - machine.position - 1))
        at, total = machine.position, machine.position + more
        plan = machine.main.for_budget(total, at, before=machine.total)
        start = {"seq": 2 * seq, "after": 0, "start": at, "length": total - at, "when": "now"}
        if probing:
            take(machine, segment(2 * seq - 1, 0, when="now", kind="probe", start=at, length=9))
        take(machine, plan.model_copy(update={**start, "kind": "main"}))
        assert (machine.total, machine.main.end, machine.main.policy.end) == (total, total, total)
        if machine.position >= total - 1:
            break
    walk(machine, machine.total - machine.position)
    assert machine.finished
    assert machine.position == machine.total


# A run


def test_a_run_trains_to_an_extended_budget_and_says_so() -> None:
    transport = ScriptedTransport(segments=(to_budget(30, start=0),))
    run, model, _ = start(transport, base=BASE, limits=ALLOWED)
    rows = train(run, model)
    assert [row["position"] for row in rows] == list(range(30))
    assert rows[-1]["lr"] == pytest.approx(0.1 / 30)
    result = run.finish()
    assert (run.budget, run.done, result.completed, result.position) == (30, True, True, 30)
    (finished,) = transport.of(Finished)
    assert (finished.position, finished.completed) == (30, True)
    assert transport.ledger is not None
    assert transport.ledger.main_steps == 30


def test_a_run_ends_at_a_budget_that_was_cut_short() -> None:
    transport = ScriptedTransport(segments=(to_budget(12, start=0),))
    run, model, _ = start(transport, base=BASE, limits=ALLOWED)
    assert [row["position"] for row in train(run, model)] == list(range(12))
    result = run.finish()
    assert (result.completed, result.position, run.budget) == (True, 12, 12)


@pytest.mark.parametrize(
    ("total", "limits", "expected"),
    [
        (30, pacesetter.Limits(), "ABOVE_MAX_BUDGET"),
        (30, pacesetter.Limits(max_budget=29), "ABOVE_MAX_BUDGET"),
        (12, pacesetter.Limits(), "SHORTER_MAIN"),
    ],
)
def test_a_budget_outside_the_limits_is_refused_and_changes_nothing(
    total: int, limits: pacesetter.Limits, expected: str
) -> None:
    transport = ScriptedTransport(segments=(to_budget(total, start=0),))
    run, model, _ = start(transport, base=BASE, limits=limits)
    rows = train(run, model)
    (refused,) = transport.of(Acknowledgement)
    assert (refused.status, refused.code) == ("refused", expected)
    assert [row["lr"] for row in rows] == [0.1 * BASE.at(at) for at in range(20)]
    assert run.finish().completed


def test_a_budget_behind_the_place_where_the_segment_arrives_is_refused() -> None:
    transport = ScriptedTransport()
    run, model, _ = start(transport, base=BASE, limits=ALLOWED)
    for position, (inputs, targets) in enumerate(run.batches(Regression())):
        if position == 10:
            transport.inbox.append(to_budget(10, start=5))
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0)
    (refused,) = transport.of(Acknowledgement)
    assert (refused.code, run.position) == ("BUDGET_PAST", 20)
    assert refused.detail is not None
    assert refused.detail.startswith("the job stands at 11, and a budget of 10 steps")
    run.finish()


def test_later_segments_are_judged_to_the_new_end() -> None:
    partway = to_budget(30, start=0)
    late = segment(2, 1, when="now", length=30, policy=Schedule(length=20, body=Linear()))
    transport = ScriptedTransport(segments=(partway, late))
    run, model, _ = start(transport, base=BASE, limits=pacesetter.Limits(max_budget=30))
    train(run, model)
    answers = {each.segment: each.code for each in transport.of(Acknowledgement)}
    # Its policy is zero from 20 on: that was the whole of the old budget, and is not of the new.
    assert answers == {1: None, 2: "SHORTER_MAIN"}
    run.finish()


def test_an_extension_may_be_taken_back_as_far_as_the_budget_that_was_given() -> None:
    told = (to_budget(30, start=0), to_budget(24, 2, 1), to_budget(19, 3, 2))
    transport = ScriptedTransport(segments=told)
    run, model, _ = start(transport, base=BASE, limits=pacesetter.Limits(max_budget=30))
    train(run, model)
    assert run.position == 24
    refused = [each for each in transport.of(Acknowledgement) if each.status == "refused"]
    assert [(each.segment, each.code) for each in refused] == [(3, "SHORTER_MAIN")]
    run.finish()


def test_an_extension_that_arrives_during_the_last_step_still_counts() -> None:
    transport = ScriptedTransport()
    run, model, _ = start(transport, base=BASE, limits=ALLOWED)
    for inputs, targets in run.batches(Regression()):
        if run.position == 19:
            level = BASE.at(19)
            policy = Schedule(length=40, peak=level, body=Constant())
            transport.inbox.append(to_budget(25, start=18, policy=policy))
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0)
    assert run.position == 25
    assert run.finish().completed


def test_without_the_service_a_changed_budget_is_trained_to_its_end() -> None:
    transport = ScriptedTransport(segments=(to_budget(30, start=0),))
    run, model, _ = start(transport, base=BASE, limits=ALLOWED)
    for inputs, targets in run.batches(Regression()):
        transport.away = run.position > 5
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0)
    result = run.finish()
    assert (result.position, result.completed, result.fallbacks) == (30, True, 0)


def test_after_a_probe_that_nobody_answers_the_main_line_runs_to_the_changed_budget() -> None:
    probe = segment(2, 1, kind="probe", start=8, length=3, policy=constant(0.5))
    first = to_budget(30, start=0, length=8)
    transport = ScriptedTransport(segments=(first, probe))
    run, model, _ = start(transport, base=BASE, limits=ALLOWED)
    rows = [row for row in train(run, model) if row["main"]]
    assert [row["position"] for row in rows] == list(range(30))
    assert rows[-1]["lr"] == pytest.approx(0.1 * first.policy.at(29))
    assert run.finish().fallbacks == 1


def test_in_tokens_the_main_line_ends_at_the_first_step_beyond() -> None:
    policy = Schedule(length=150, body=Linear())
    transport = ScriptedTransport(segments=(to_budget(150, start=0, policy=policy),))
    base = Schedule(length=100, body=Linear())
    limits = pacesetter.Limits(max_budget=150)
    run, model, _ = start(transport, budget=pacesetter.Tokens(100), base=base, limits=limits)
    train(run, model)  # eight tokens a step
    assert run.position == 152
    assert run.finish().completed


def test_attach_alone_does_not_let_others_extend() -> None:
    transport = ScriptedTransport(segments=(to_budget(30, start=0),))
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = attach(model, optimizer, transport, base=BASE, limits=None)
    train(run, model)
    assert transport.spec is not None
    assert transport.spec.capabilities.budget_changes
    assert (transport.of(Acknowledgement)[0].code, run.position) == ("ABOVE_MAX_BUDGET", 20)
