"""What holds for every schedule, whatever its parameters."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.schedules import KNOWN_FAMILIES, WSD, AnyFamily, Schedule, parse_schedule
from pydantic import TypeAdapter

from tests.client.schedules.drawn import SHAPES, TRILLIONS, documents, schedules

FAMILIES: TypeAdapter[AnyFamily] = TypeAdapter(AnyFamily)


def test_every_family_is_drawn() -> None:
    assert set(documents(1000, 0)) | set(documents(1000, 100)) == set(KNOWN_FAMILIES)


def positions_of(schedule: Schedule, shares_of_length: list[float]) -> list[float]:
    inside = [float(schedule.zero + round(s * schedule.length)) for s in shares_of_length]
    return [*inside, *schedule.breakpoints(), schedule.zero - 5.0, schedule.end + 5.0]


several = st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=8)


@given(schedules(), several)
@settings(deadline=None, max_examples=300, derandomize=True)
def test_evaluator_equals_at_bit_for_bit_and_over_to_twelve_digits(
    schedule: Schedule, where: list[float]
) -> None:
    positions = positions_of(schedule, where)
    evaluate = schedule.evaluator()
    one_by_one = [schedule.at(p) for p in positions]

    assert [evaluate(p) for p in positions] == one_by_one
    np.testing.assert_allclose(
        schedule.over(np.array(positions)), one_by_one, rtol=1e-12, atol=1e-12 * schedule.peak
    )


@given(schedules(), several)
@settings(deadline=None, max_examples=300, derandomize=True)
def test_values_are_finite_and_in_the_declared_range(
    schedule: Schedule, where: list[float]
) -> None:
    values = schedule.over(np.array(positions_of(schedule, where)))

    assert np.isfinite(values).all()
    assert values.min() >= -1e-12 * schedule.peak
    assert values.max() <= schedule.highest * (1.0 + 1e-12)


@given(schedules())
@settings(deadline=None, max_examples=200, derandomize=True)
def test_json_round_trip_gives_the_same_schedule(schedule: Schedule) -> None:
    again = parse_schedule(schedule.model_dump_json())

    assert again == schedule
    assert again.at(schedule.zero + 0.37 * schedule.length) == schedule.at(
        schedule.zero + 0.37 * schedule.length
    )


@given(schedules(), st.integers(-TRILLIONS, TRILLIONS))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_moving_the_zero_moves_the_schedule_and_nothing_else(
    schedule: Schedule, shift: int
) -> None:
    moved = schedule.model_copy(update={"zero": schedule.zero + shift})
    since = schedule.length // 3

    assert moved.at(moved.zero + since) == schedule.at(schedule.zero + since)


@given(schedules())
@settings(deadline=None, max_examples=100, derandomize=True)
def test_description_is_one_short_line(schedule: Schedule) -> None:
    text = schedule.describe()

    assert "\n" not in text
    assert f"{schedule.length:,}" in text
    assert len(text) < 400


@given(st.sampled_from(SHAPES), st.floats(0.01, 1.0))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_every_cooldown_falls_without_a_jump(shape: str, cooldown: float) -> None:
    body = WSD.model_validate({"cooldown": cooldown, "shape": shape})
    values = Schedule(length=2000, body=body).over(np.arange(2001.0))

    assert (np.diff(values) <= 1e-12).all()
    assert values[0] == 1.0
    # 1 - sqrt(y) starts with infinite slope, so its first step is the steepest of all shapes.
    assert -np.diff(values).min() <= math.sqrt(1.0 / (2000 * cooldown)) + 1e-9
