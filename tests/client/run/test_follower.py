"""The state machine alone: what it asks for, in which order."""

from collections.abc import Callable
from typing import Any

import pytest
from pacesetter.protocol import Segment
from pacesetter.run import effects as fx
from pacesetter.run.follower import Follower, base_segment
from pacesetter.schedules import Constant, Schedule

from tests.support.service import segment

TOTAL = 100
Answer = Callable[[fx.Effect], str | None]


def follower(position: int = 0) -> Follower:
    return Follower(base_segment(Schedule(length=TOTAL, body=Constant()), TOTAL), position=position)


def agree(effect: fx.Effect) -> None:
    del effect


def perform(effects: fx.Effects, answer: Answer = agree) -> list[fx.Effect]:
    """Carry effects out in name only, and return them."""
    done: list[fx.Effect] = []
    reply: str | None = None
    while True:
        try:
            effect = effects.send(reply)
        except StopIteration:
            return done
        done.append(effect)
        reply = answer(effect)


def words(effects: list[fx.Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def walk(machine: Follower, steps: int, answer: Answer = agree) -> list[fx.Effect]:
    done: list[fx.Effect] = []
    for _ in range(steps):
        machine.advance(1, 8)
        if machine.position >= machine.boundary:
            done += perform(machine.turn(), answer)
    return done


def take(machine: Follower, *segments: Segment) -> list[fx.Effect]:
    done: list[fx.Effect] = []
    for each in segments:
        done += machine.offer(each)
        done += perform(machine.turn())
    return done


def test_without_segments_the_base_schedule_runs_to_the_budget_and_finishes() -> None:
    machine = follower()
    done = walk(machine, TOTAL)
    assert words(done) == ["End", "Finish"]
    end = done[0]
    assert isinstance(end, fx.End)
    assert (end.segment.seq, end.outcome, end.steps, end.tokens) == (0, "completed", 100, 800)
    assert machine.finished


def test_a_main_segment_now_replaces_the_running_one_at_the_next_boundary() -> None:
    machine = follower()
    walk(machine, 5)
    done = take(machine, segment(1, 0, when="now", start=5, length=20))
    assert words(done) == ["End", "Begin"]
    assert isinstance(done[0], fx.End)
    assert (done[0].outcome, done[0].code, done[0].steps) == ("interrupted", "REPLACED", 5)
    assert machine.running.seq == 1
    assert machine.boundary == 25


def test_a_used_up_main_segment_goes_on_without_waiting() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=10))
    done = walk(machine, 30)
    assert words(done) == ["End"]
    assert machine.running.seq == 1
    assert machine.boundary == TOTAL


def test_a_pending_probe_leaves_the_main_line_at_the_end_of_its_segment() -> None:
    machine = follower()
    take(
        machine,
        segment(1, 0, when="now", length=10),
        segment(2, 1, kind="probe", start=10, length=4),
    )
    done = walk(machine, 10)
    assert words(done) == ["End", "Leave", "Begin"]
    assert not machine.on_main_line
    assert (machine.position, machine.main_position, machine.boundary) == (10, 10, 14)


def test_siblings_start_where_the_first_probe_left_and_the_main_line_returns_there() -> None:
    machine = follower()
    take(
        machine,
        segment(1, 0, when="now", length=10),
        segment(2, 1, kind="probe", start=10, length=4),
    )
    walk(machine, 10)
    machine.offer(segment(3, 2, kind="probe", start=10, length=4, data="rewind"))
    done = walk(machine, 4)
    assert words(done) == ["End", "Return", "Begin"]
    assert done[1] == fx.Return(final=False, rewind=True)
    assert machine.position == 10
    machine.offer(segment(4, 3, start=10, length=50))
    done = walk(machine, 4)
    assert words(done) == ["End", "Return", "Begin"]
    assert done[1] == fx.Return(final=True, rewind=True)
    assert machine.on_main_line
    assert (machine.position, machine.main.seq) == (10, 4)


def test_at_the_end_of_a_probe_with_nothing_pending_it_waits_and_then_falls_back() -> None:
    machine = follower()
    take(
        machine,
        segment(1, 0, when="now", length=10),
        segment(2, 1, kind="probe", start=10, length=4),
    )
    walk(machine, 10)
    done = walk(machine, 4)
    assert words(done) == ["End", "Wait", "Return", "FallBack", "Begin"]
    assert done[3] == fx.FallBack(follows=1)
    assert (machine.running.seq, machine.position, machine.on_main_line) == (1, 10, True)


def test_what_arrives_during_the_wait_is_taken_up_at_once() -> None:
    machine = follower()
    take(
        machine,
        segment(1, 0, when="now", length=10),
        segment(2, 1, kind="probe", start=10, length=4),
    )
    walk(machine, 10)

    def answer(effect: fx.Effect) -> None:
        if isinstance(effect, fx.Wait):
            machine.offer(segment(3, 2, start=10, length=90))

    done = walk(machine, 4, answer)
    assert words(done) == ["End", "Wait", "Return", "Begin"]
    assert machine.running.seq == 3


def test_after_a_fallback_the_late_answer_is_stale_and_a_plan_after_the_main_segment_is_not() -> (
    None
):
    machine = follower()
    take(
        machine,
        segment(1, 0, when="now", length=10),
        segment(2, 1, kind="probe", start=10, length=4),
    )
    walk(machine, 14)
    (answer,) = machine.offer(segment(3, 2, start=10, length=90))
    assert (answer.seq, answer.status, answer.code) == (3, "stale", "OUT_OF_ORDER")
    walk(machine, 6)
    assert words(take(machine, segment(4, 1, when="now", start=16, length=84))) == ["Begin"]
    assert (machine.running.seq, machine.position) == (4, 16)


def test_a_segment_is_ignored_the_second_time() -> None:
    machine = follower()
    first = segment(1, 0, when="now", length=10)
    take(machine, first)
    assert take(machine, first) == []
    assert machine.running.seq == 1


@pytest.mark.parametrize(
    ("late", "status", "code"),
    [
        (segment(2, 7, when="now"), "stale", "OUT_OF_ORDER"),
        (segment(2, 1, when="now", start=0, length=15), "stale", "POSITION_PAST"),
        (segment(2, 1, when="now", source="nowhere", length=90), "refused", "NO_CHECKPOINT"),
    ],
)
def test_a_segment_that_cannot_run_is_acknowledged_and_the_running_one_goes_on(
    late: Segment, status: str, code: str
) -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=90))
    walk(machine, 20)
    answers = [each for each in take(machine, late) if isinstance(each, fx.Acknowledge)]
    assert [(each.seq, each.status, each.code) for each in answers] == [(2, status, code)]
    assert machine.running.seq == 1


def test_a_newer_segment_replaces_the_pending_one_only_if_it_is_for_now() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=50), segment(2, 1, start=50, length=50))
    (second,) = machine.offer(segment(3, 1, start=50, length=50))
    assert (second.seq, second.code) == (3, "ALREADY_PENDING")
    (first,) = machine.offer(segment(4, 1, when="now", start=0, length=100))
    assert (first.seq, first.status) == (2, "superseded")
    perform(machine.turn())
    assert machine.running.seq == 4


def test_the_continuation_of_a_pending_segment_is_held_back_until_that_runs() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=50), segment(2, 1, start=50, length=20))
    third = segment(3, 2, kind="probe", start=70, length=5)
    assert not machine.ready_for(third)
    walk(machine, 50)
    assert machine.ready_for(third)
    assert machine.offer(third) == ()


def test_a_limit_that_forbids_a_segment_is_its_acknowledgement() -> None:
    machine = follower()
    (answer,) = machine.offer(segment(1, 0, when="now"), ("ABOVE_LIMIT", "too high"))
    assert (answer.status, answer.code, answer.detail) == ("refused", "ABOVE_LIMIT", "too high")
    assert machine.running.seq == 0


def test_a_snapshot_that_fails_refuses_the_probe_and_leaves_the_main_line_alone() -> None:
    machine = follower()
    take(
        machine,
        segment(1, 0, when="now", length=10),
        segment(2, 1, kind="probe", start=10, length=4),
    )
    done = walk(machine, 10, lambda effect: "no room" if isinstance(effect, fx.Leave) else None)
    assert words(done) == ["End", "Leave", "Acknowledge"]
    assert isinstance(done[2], fx.Acknowledge)
    assert (done[2].status, done[2].code, done[2].detail) == (
        "refused",
        "SNAPSHOT_FAILED",
        "no room",
    )
    assert machine.on_main_line
    assert machine.running.seq == 1


def test_a_probe_stopped_by_a_clause_ends_at_once() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", kind="probe", length=50))
    walk(machine, 3)
    done = perform(machine.turn("NON_FINITE"))
    assert words(done) == ["End", "Wait", "Return", "FallBack", "Begin"]
    assert isinstance(done[0], fx.End)
    assert (done[0].outcome, done[0].code, done[0].steps) == ("stopped", "NON_FINITE", 3)


def test_a_rollback_puts_the_main_line_back_to_the_checkpoint_s_position() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=90))
    walk(machine, 10)
    take(machine, segment(2, 1, when="now", start=10, length=80, save_as="good"))
    walk(machine, 20)
    done = take(machine, segment(3, 2, when="now", source="good", start=10, length=80))
    assert fx.Load("good", main=True, rewind=False) in done
    assert (machine.position, machine.running.seq) == (10, 3)


def test_a_rollback_out_of_a_probe_drops_what_was_left() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=20, save_as="good"))
    walk(machine, 5)
    take(machine, segment(2, 1, when="now", kind="probe", start=5, length=50))
    walk(machine, 5)
    done = take(machine, segment(3, 2, when="now", source="good", start=0, length=90))
    assert words(done) == ["End", "Load", "Begin"]
    assert (machine.position, machine.on_main_line) == (0, True)


def test_a_stop_ends_the_job_on_its_main_line() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", kind="probe", length=50))
    walk(machine, 5)
    done = take(machine, segment(2, 1, when="now", kind="stop", start=0, length=0))
    assert words(done) == ["End", "Return", "Finish"]
    assert done[-1] == fx.Finish(stop=2)
    assert (machine.finished, machine.on_main_line, machine.position) == (True, True, 0)


def test_finishing_inside_a_probe_restores_the_main_line_and_expires_what_was_pending() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", kind="probe", length=50), segment(2, 1, length=90))
    walk(machine, 5)
    done = perform(machine.finish())
    assert words(done) == ["End", "Return", "Acknowledge", "Finish"]
    assert isinstance(done[2], fx.Acknowledge)
    assert (done[2].seq, done[2].status) == (2, "expired")
    assert perform(machine.finish()) == []


def test_a_segment_replaced_before_its_first_step_is_superseded_without_an_end() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=50))
    done = take(machine, segment(2, 1, when="now", length=60))
    assert words(done) == ["Acknowledge", "Begin"]
    assert isinstance(done[0], fx.Acknowledge)
    assert (done[0].seq, done[0].status) == (1, "superseded")


def test_tokens_may_overshoot_and_the_next_segment_starts_where_the_job_stands() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=10), segment(2, 1, start=10, length=20))
    machine.advance(7, 7)
    machine.advance(7, 7)
    assert machine.position >= machine.boundary
    perform(machine.turn())
    assert (machine.running.seq, machine.position, machine.boundary) == (2, 14, 30)


def test_rolling_snapshots_are_kept_two_at_a_time() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=100, save_every=10))
    done = walk(machine, 35)
    names = [effect.name for effect in done if isinstance(effect, fx.Save)]
    assert names == ["rolling-1-10", "rolling-1-20", "rolling-1-30"]
    assert fx.Release(("rolling-1-10",)) in done
    assert machine.checkpoints == {"rolling-1-20": 20, "rolling-1-30": 30}


def test_resuming_runs_the_newest_main_segment_that_has_started() -> None:
    machine = follower(position=50)
    known = (
        segment(1, 0, length=40),
        segment(2, 1, kind="probe", start=40, length=4),
        segment(3, 2, start=40, length=30),
        segment(4, 3, kind="probe", start=70, length=4),
    )
    waiting = machine.adopt(known)
    assert (machine.running.seq, machine.boundary) == (3, 70)
    assert waiting is not None
    machine.put_off(waiting)
    done = walk(machine, 20)
    assert words(done) == ["End", "Leave", "Begin"]
    assert machine.running.seq == 4


def test_resuming_amid_probes_goes_on_with_the_one_that_is_waited_for() -> None:
    machine = follower(position=40)
    known = (
        segment(1, 0, length=40),
        segment(2, 1, kind="probe", start=40, length=4),
        segment(3, 2, kind="probe", start=40, length=4),
    )
    waiting = machine.adopt(known)
    assert waiting is not None
    machine.put_off(waiting)
    done = perform(machine.turn())
    assert words(done) == ["Leave", "Begin"]
    assert machine.running.seq == 3
    assert machine.offer(segment(4, 3, kind="probe", start=40, length=4)) == ()


def test_resuming_a_used_up_main_segment_does_not_end_it_again() -> None:
    machine = follower(position=45)
    machine.adopt((segment(1, 0, length=40),))
    assert perform(machine.turn()) == []
    assert machine.boundary == TOTAL


def test_a_newer_session_makes_a_probe_return_at_once() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", kind="probe", length=50))
    walk(machine, 5)
    done = perform(machine.leave_probe("SILENCED"))
    assert words(done) == ["End", "Return", "FallBack", "Begin"]
    assert machine.on_main_line


def test_a_branch_keeps_its_end_state_under_its_name() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", kind="branch", length=5, save_end_as="short"))
    done: list[Any] = walk(machine, 5)
    assert words(done)[:2] == ["Save", "End"]
    assert (done[0].name, done[0].position, machine.checkpoints["short"]) == ("short", 5, 5)


def test_a_segment_may_continue_an_ancestor_of_the_running_one() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=90))
    walk(machine, 5)
    take(machine, segment(2, 1, when="now", kind="probe", start=5, length=50))
    walk(machine, 5)
    # A person decides while the probe runs, knowing the main segment only.
    done = take(machine, segment(3, 1, when="now", start=5, length=90))
    assert words(done) == ["End", "Return", "Begin"]
    assert (machine.running.seq, machine.position) == (3, 5)


def test_a_main_segment_that_was_used_up_does_not_end_again_after_a_fallback() -> None:
    machine = follower()
    take(
        machine,
        segment(1, 0, when="now", length=10),
        segment(2, 1, kind="probe", start=10, length=4),
    )
    walk(machine, 14)
    assert (machine.running.seq, machine.on_main_line) == (1, True)
    assert walk(machine, 20) == []
    assert machine.boundary == TOTAL


def test_what_was_planned_before_a_stop_does_not_answer_it() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=20), segment(2, 1, start=20))
    walk(machine, 25)
    assert machine.running.seq == 2

    def arrives(effect: fx.Effect) -> None:
        if isinstance(effect, fx.Wait):
            (refused,) = machine.offer(segment(3, 1, start=60))
            assert (refused.status, refused.code) == ("superseded", "STOPPED")
            assert machine.offer(segment(4, 2, start=25)) == ()

    done = perform(machine.turn("LOSS_SPIKE"), arrives)
    assert machine.running.seq == 4
    assert "FallBack" not in words(done)
