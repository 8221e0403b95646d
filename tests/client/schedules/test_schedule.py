"""Composition, the default base schedule, and sentences for people."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Cosine, Linear, Polynomial, Schedule, Step, Table, Warmup
from pydantic import ValidationError


def test_warmup_family_floor_and_peak_compose() -> None:
    schedule = Schedule(
        zero=1000,
        length=110,
        peak=2.0,
        floor=0.1,
        warmup=Warmup(length=10, start=0.5),
        body=Linear(),
    )

    # Rise 2 * (.5 + .5 s / 10); then 2 * (.1 + .9 * (1 - x)).
    assert [schedule.at(1000 + s) for s in (0, 5, 10, 60, 110)] == pytest.approx(
        [1.0, 1.5, 2.0, 1.1, 0.2], abs=1e-15
    )


def test_first_value_before_the_zero_and_last_value_after_the_end() -> None:
    schedule = Schedule(zero=50, length=100, floor=0.2, body=Cosine())
    evaluate = schedule.evaluator()

    for value in (schedule.at, evaluate):
        assert value(-(10**13)) == value(50) == 1.0
        assert value(10**13) == value(150) == pytest.approx(0.2, abs=1e-15)
    assert schedule.over(np.array([-1e13, 1e13])) == pytest.approx([1.0, 0.2], abs=1e-15)
    assert schedule.end == 150


def test_over_keeps_the_shape_of_its_positions() -> None:
    schedule = Schedule(length=10, warmup=Warmup(length=2), body=Linear())

    assert schedule.over(np.zeros((2, 3))).shape == (2, 3)
    assert schedule.over(np.zeros(0)).shape == (0,)


def test_evaluator_takes_integers_and_floats_alike() -> None:
    evaluate = Schedule(length=10**13, warmup=Warmup(length=10**9), body=Linear()).evaluator()

    assert evaluate(5 * 10**12) == evaluate(5e12) == pytest.approx(0.500050005, abs=1e-9)


def test_length_beyond_exact_integers_is_refused() -> None:
    with pytest.raises(ValidationError, match="9007199254740992"):
        Schedule(length=2**53 + 1)


def test_warmup_as_long_as_the_schedule_is_refused() -> None:
    with pytest.raises(ValidationError, match="shorten the warm-up"):
        Schedule(length=10, warmup=Warmup(length=10))


@pytest.mark.parametrize(
    ("length", "clock", "warmup"),
    [
        (100_000, "steps", 2000),
        (5000, "steps", 300),
        (1000, "steps", 100),
        (5, "steps", None),
        (1, "steps", None),
        (10**12, "tokens", 2 * 10**10),
    ],
)
def test_default_base_warms_up_briefly_and_decays_to_zero(
    length: int, clock: str, warmup: int | None
) -> None:
    base = Schedule.default_base(length, clock=clock)

    assert (base.warmup.length if base.warmup else None) == warmup
    assert base.body == Linear()
    assert base.at(length) == 0.0
    assert base.at(warmup or 0) == 1.0
    assert base.at(length - 1) > 0.0


def test_default_base_takes_another_share_or_none() -> None:
    assert Schedule.default_base(100, warmup_share=0.0).warmup is None
    assert Schedule.default_base(10_000, warmup_share=0.5).warmup == Warmup(length=5000)
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        Schedule.default_base(100, warmup_share=1.0)


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (
            Schedule.default_base(10_000),
            "warm-up over 300 steps, then linear decay over 9,700; 10,000 steps, peak 1 x base",
        ),
        (Schedule(length=50), "constant; 50 steps, peak 1 x base"),
        (
            Schedule(zero=100, length=50, floor=0.1, body=Cosine()),
            "cosine; 50 steps from 100, peak 1 x base, floor 0.1 of the peak",
        ),
        (
            Schedule(length=50, peak=3e-4, unit="absolute", body=WSD(shape="mirror_cosine")),
            "hold, then mirror cosine cooldown over the last 10; 50 steps, peak 0.0003",
        ),
        (
            Schedule(length=50, body=Step()),
            "steps to 0.316 from 80%, 0.1 from 90%; 50 steps, peak 1 x base",
        ),
        (
            Schedule(length=50, body=Polynomial(power=1.5)),
            "polynomial decay of power 1.5 over 50; 50 steps, peak 1 x base",
        ),
        (
            Schedule(length=50, body=Table(positions=(0.0, 1.0), values=(1.0, 0.5))),
            "table of 2 points joined by lines over 50; 50 steps, peak 1 x base",
        ),
    ],
)
def test_description_says_what_happens(schedule: Schedule, text: str) -> None:
    assert schedule.describe() == text
