"""How many trials a worker holds, and what it keeps of them until the controller has it."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.leasing.holding import Held, Holdings
from pacesetter.protocol import Lease, TrialPoint
from pacesetter.protocol.trials import MAX_POINTS

from tests.workers.support import a_trial


def a_lease(number: int = 1) -> Held:
    return Held(Lease(trial=a_trial("noop", number), token=f"token-{number}", seconds=60.0))


def points(first: int, count: int) -> tuple[TrialPoint, ...]:
    return tuple(TrialPoint(step=first + index, loss=1.0) for index in range(count))


def test_ends_that_the_controller_has_not_taken_leave_room_for_one_more_round_of_trials() -> None:
    holdings = Holdings()
    held = [a_lease(number) for number in range(6)]
    assert holdings.room(2, 0) == 2

    for one in held[:2]:
        holdings.add(one)
    assert holdings.room(2, 0) == 0
    for one in held[:2]:
        holdings.end(one)
    assert holdings.room(2, 0) == 2
    for one in held[2:4]:
        holdings.add(one)
        holdings.end(one)
    # Four ends wait: the controller is slow, and every one of them needs its heartbeats.
    assert holdings.room(2, 0) == 0
    holdings.remove(held[0])
    assert holdings.room(2, 0) == 1


@settings(max_examples=15)  # of up to 40,000 points each
@given(st.lists(st.integers(1, MAX_POINTS + 500), min_size=1, max_size=4))
def test_every_point_is_sent_once_and_in_order_however_many_come_between_heartbeats(
    batches: list[int],
) -> None:
    holdings, held = Holdings(), a_lease()
    holdings.add(held)
    sent: list[int] = []
    first = 1
    for count in batches:
        holdings.note(held, points(first, count))
        first += count
        beat, carried = holdings.beat(held)
        assert beat.step == first - 1
        assert carried == len(beat.points) <= MAX_POINTS
        sent += [point.step for point in beat.points]
        holdings.forget_points(held, beat.points[-1].step)
    while held.points:
        beat, _ = holdings.beat(held)
        sent += [point.step for point in beat.points]
        holdings.forget_points(held, beat.points[-1].step)

    assert sent == list(range(1, first))


def test_a_heartbeat_that_did_not_arrive_is_sent_again_with_what_came_since() -> None:
    holdings, held = Holdings(), a_lease()
    holdings.note(held, points(1, 2))
    lost, _ = holdings.beat(held)
    holdings.note(held, points(3, 1))

    again, carried = holdings.beat(held)

    assert [point.step for point in lost.points] == [1, 2]
    assert [point.step for point in again.points] == [1, 2, 3]
    assert (again.step, carried, again.token) == (3, 3, "token-1")
