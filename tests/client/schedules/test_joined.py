"""Schedules of several pieces."""

import numpy as np
import pytest
from pacesetter.errors import ScheduleError
from pacesetter.schedules import Joined, JoinedPiece, Linear, Schedule, Warmup, parse_schedule

TRUNK = Schedule(length=1000, warmup=Warmup(length=10), body=Linear())
TAIL = Schedule(zero=505, length=45, peak=0.5, body=Linear())


def joined(**changes: object) -> Schedule:
    pieces = [JoinedPiece(start=0, schedule=TRUNK), JoinedPiece(start=505, schedule=TAIL)]
    return Schedule.model_validate({"length": 550, "body": Joined(pieces=tuple(pieces)), **changes})


def test_a_join_has_the_bits_of_the_piece_in_force() -> None:
    schedule = joined(zero=7)
    trunk = TRUNK.model_copy(update={"zero": 7})
    tail = TAIL.model_copy(update={"zero": 512})
    positions = np.arange(0.0, 570.0)
    expected = [trunk.at(p) if p < 512 else tail.at(p) for p in positions]

    assert [schedule.at(p) for p in positions] == expected
    assert list(map(schedule.evaluator(), positions)) == expected
    assert schedule.over(positions).tolist() == expected


def test_whole_positions_stay_exact_over_trillions_of_tokens() -> None:
    total = 9_999_999_999_973
    trunk = Schedule(length=3 * total, body=Linear())
    at = total - 1000
    cut = Schedule(zero=at, length=1000, peak=trunk.at(at), body=Linear())
    pieces = (JoinedPiece(start=0, schedule=trunk), JoinedPiece(start=at, schedule=cut))
    schedule = Schedule(length=total, body=Joined(pieces=pieces))

    for back in (1001, 1000, 999, 737, 1, 0):
        piece = trunk if back > 1000 else cut
        assert schedule.at(total - back) == piece.at(total - back)
        assert schedule.over(np.array([float(total - back)]))[0] == piece.at(total - back)


def test_breakpoints_are_the_seams_and_the_bends_in_force() -> None:
    assert joined().breakpoints() == (0.0, 10.0, 505.0, 550.0)


def test_a_join_survives_json() -> None:
    schedule = joined(peak=0.3, floor=0.25)

    assert parse_schedule(schedule.model_dump_json()) == schedule
    assert schedule.at(505) == pytest.approx(0.3 * (0.25 + 0.75 * 0.5), rel=1e-15)


def test_a_join_says_what_happens_in_a_line() -> None:
    assert joined().describe() == (
        "warm-up over 10, then linear decay over 990, then at 505 of 550 linear decay over 45; "
        "550 steps, peak 1 x base"
    )


def test_a_jump_must_be_declared() -> None:
    low = TAIL.model_copy(update={"peak": 0.4})
    pieces = [{"start": 0, "schedule": TRUNK}, {"start": 505, "schedule": low}]

    with pytest.raises(ValueError, match=r"jump from 0.5 to 0.4 at 505.*declare the seam a 'jump'"):
        Joined.model_validate({"pieces": pieces})

    pieces[1]["seam"] = "jump"
    declared = Schedule(length=550, body=Joined.model_validate({"pieces": pieces}))
    assert (declared.at(504), declared.at(505)) == (TRUNK.at(504), 0.4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 505}, "last piece starts at 505, and the schedule ends at 505"),
        ({"warmup": {"length": 5}}, "set warmup in the first piece"),
        ({"unit": "absolute"}, "pieces are relative and the schedule absolute"),
    ],
)
def test_a_join_that_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        joined(**changes)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([(3, "relative")], "first piece starts at 3"),
        ([(0, "relative"), (5, "absolute")], "all the same unit"),
        ([(0, "relative"), (5, "relative"), (5, "relative")], "pieces start at 5 and then at 5"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(pieces: list[tuple[int, str]], message: str) -> None:
    document = [{"start": at, "schedule": {"length": 9, "unit": unit}} for at, unit in pieces]

    with pytest.raises(ValueError, match=message):
        Joined.model_validate({"pieces": document})


def test_a_document_cannot_make_reading_go_deep() -> None:
    document: dict[str, object] = {"length": 2}
    for _ in range(3000):
        body = {"family": "joined", "pieces": [{"start": 0, "schedule": document}]}
        document = {"length": 2, "body": body}

    with pytest.raises(ScheduleError, match="list its pieces instead") as caught:
        parse_schedule(document)
    assert len(str(caught.value)) < 300
