"""A main segment that a stop clause ended: the job waits for the answer, and recovers by itself if none comes."""

from typing import Any

import pytest
from pacesetter.protocol import Segment
from pacesetter.run import effects as fx
from pacesetter.run.follower import MOST_RECOVERIES, Follower

from tests.client.run.test_follower import TOTAL, follower, perform, take, walk, words
from tests.support.service import segment

EVERY = 10


def guarded(steps: int, **changes: Any) -> Follower:
    """Return a job that has made ``steps`` steps of a main segment with rolling snapshots."""
    machine = follower()
    machine.checkpoints["initial"] = 0
    take(machine, segment(1, 0, when="now", length=TOTAL, save_every=EVERY, **changes))
    walk(machine, steps)
    return machine


def stop(machine: Follower, answer: Segment | None = None) -> list[fx.Effect]:
    """Let a clause fire; ``answer`` arrives while the job waits."""

    def reply(effect: fx.Effect) -> None:
        if isinstance(effect, fx.Wait) and answer is not None:
            assert machine.offer(answer) == ()

    return perform(machine.turn("NON_FINITE"), reply)


def recovery(source: str, start: int, seq: int = 2, **changes: Any) -> Segment:
    values = {"when": "now", "source": source, "start": start, "length": TOTAL - start}
    return segment(seq, 1, **{**values, "origin": "guard", **changes})


def test_the_answer_to_a_stop_takes_the_main_line_back_without_its_data() -> None:
    machine = guarded(27)
    done = stop(machine, recovery("rolling-1-10", 10))
    assert words(done) == ["End", "Wait", "Load", "Release", "Begin"]
    assert done[2] == fx.Load("rolling-1-10", main=True, rewind=False)
    assert done[3] == fx.Release(("rolling-1-20",))
    assert (machine.running.seq, machine.position, machine.boundary) == (2, 10, TOTAL)


def test_without_an_answer_the_job_goes_back_to_a_snapshot_from_before_the_trouble() -> None:
    machine = guarded(27)
    done = stop(machine)
    assert words(done) == ["End", "Wait", "Load", "FallBack", "Begin"]
    assert done[3] == fx.FallBack(1, restored="rolling-1-20")
    assert (machine.running.seq, machine.position) == (1, 20)
    assert done[4] == fx.Begin(machine.main, again=True)


def test_a_snapshot_less_than_half_an_interval_old_may_hold_the_trouble_already() -> None:
    machine = guarded(24)
    done = stop(machine)
    assert fx.FallBack(1, restored="rolling-1-10") in done
    assert machine.position == 10


def test_before_the_first_snapshot_the_initial_state_serves() -> None:
    machine = guarded(3)
    assert fx.FallBack(1, restored="initial") in stop(machine)
    assert machine.position == 0


def test_without_a_snapshot_the_job_trains_on() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=TOTAL))
    walk(machine, 30)
    assert words(stop(machine)) == ["End", "Wait"]
    assert (machine.running.seq, machine.position) == (1, 30)
    assert words(walk(machine, TOTAL - 30)) == ["Finish"]


def test_a_stop_at_the_very_last_step_is_recovered_from_before_the_job_ends() -> None:
    machine = guarded(TOTAL - 1)
    machine.advance(1, 8)
    done = stop(machine)
    assert words(done) == ["End", "Wait", "Load", "FallBack", "Begin"]
    assert (machine.position, machine.finished) == (90, False)
    walk(machine, 10)
    assert machine.finished


def test_what_was_to_follow_a_stopped_segment_is_superseded() -> None:
    machine = guarded(27)
    machine.offer(segment(2, 1, kind="probe", start=50, length=5))
    done = stop(machine, recovery("current", 27, seq=3))
    assert words(done) == ["End", "Acknowledge", "Wait", "Begin"]
    assert isinstance(done[1], fx.Acknowledge)
    assert (done[1].seq, done[1].status, done[1].code) == (2, "superseded", "STOPPED")
    assert machine.running.seq == 3


def test_what_a_person_asked_for_is_taken_up_even_so() -> None:
    machine = guarded(27)
    machine.offer(segment(2, 1, when="now", start=20, length=80, origin="person"))
    assert words(stop(machine)) == ["End", "Begin"]
    assert machine.running.seq == 2


def test_a_rewind_that_arrives_after_the_job_recovered_by_itself_is_stale() -> None:
    machine = guarded(27)
    stop(machine)
    walk(machine, 5)
    for source in ("rolling-1-10", "initial"):
        late = recovery(source, 10, seq=machine.highest_seen + 1)
        (answer,) = machine.offer(late)
        assert (answer.status, answer.code) == ("stale", "RECOVERED")
    assert (machine.running.seq, machine.position) == (1, 25)


def test_an_older_state_may_go_on_at_a_later_place() -> None:
    machine = guarded(27)
    stop(machine, recovery("rolling-1-10", 27))
    assert (machine.running.seq, machine.position) == (2, 27)


def test_a_job_that_stops_again_and_again_recovers_so_often_and_then_trains_on() -> None:
    machine = guarded(27)
    recovered = 0
    for _ in range(MOST_RECOVERIES + 2):
        recovered += "Load" in words(stop(machine))
        if machine.position < 27:
            walk(machine, 27 - machine.position)
    assert recovered == MOST_RECOVERIES


def test_a_main_line_that_starts_anew_forgets_the_snapshots_of_the_old_one() -> None:
    machine = guarded(27)
    done = take(machine, segment(2, 1, when="now", source="initial", start=0, length=TOTAL))
    assert fx.Release(("rolling-1-10", "rolling-1-20")) in done
    assert set(machine.checkpoints) == {"initial"}


def test_a_snapshot_that_fails_is_not_tried_again_in_the_segment() -> None:
    machine = follower()
    take(machine, segment(1, 0, when="now", length=TOTAL, save_every=EVERY))
    done = walk(machine, 50, lambda effect: "no room" if isinstance(effect, fx.Save) else None)
    assert words(done) == ["Save"]


@pytest.mark.parametrize("kind", ["probe", "branch"])
def test_rolling_snapshots_make_room_for_a_segment_that_leaves_the_main_line(kind: str) -> None:
    machine = guarded(27)
    failures = iter(["no room", None])
    machine.offer(segment(2, 1, when="now", kind=kind, start=27, length=5))
    done = perform(
        machine.turn(), lambda effect: next(failures) if isinstance(effect, fx.Leave) else None
    )
    assert words(done) == ["End", "Leave", "Release", "Leave", "Begin"]
    assert machine.running.seq == 2


def test_the_end_of_a_stopped_segment_is_not_kept_under_its_name() -> None:
    machine = guarded(27, save_end_as="best")
    assert "Save" not in words(stop(machine))
