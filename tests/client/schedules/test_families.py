"""Every family at five points, computed by hand from the published form."""

import numpy as np
import pytest
from pacesetter.schedules import (
    WSD,
    AnyFamily,
    Constant,
    CooldownShape,
    Cosine,
    Extent,
    InverseSqrt,
    Linear,
    Polynomial,
    Schedule,
    Step,
    Table,
)
from pydantic import ValidationError

FIVE = (0.0, 0.25, 0.5, 0.75, 1.0)

BY_HAND: list[tuple[AnyFamily, tuple[float, ...]]] = [
    (Constant(), (1.0, 1.0, 1.0, 1.0, 1.0)),
    (Cosine(), (1.0, 0.8535533905932737, 0.5, 0.14644660940672627, 0.0)),
    (Linear(), (1.0, 0.75, 0.5, 0.25, 0.0)),
    (Polynomial(power=2.0), (1.0, 0.5625, 0.25, 0.0625, 0.0)),
    (Polynomial(power=0.5), (1.0, 0.8660254037844386, 0.7071067811865476, 0.5, 0.0)),
    (Step(), (1.0, 1.0, 1.0, 1.0, 0.1)),
    (Step(milestones=(0.25, 0.75), factors=(0.5, 0.2)), (1.0, 0.5, 0.5, 0.2, 0.2)),
    (Table(positions=(0.0, 0.5, 1.0), values=(1.0, 3.0, 0.0)), (1.0, 2.0, 3.0, 1.5, 0.0)),
    (
        Table(positions=(0.0, 0.5, 1.0), values=(1.0, 3.0, 0.0), interpolation="hold"),
        (1.0, 1.0, 3.0, 3.0, 0.0),
    ),
    (WSD(cooldown=0.5), (1.0, 1.0, 1.0, 0.5, 0.0)),
    (WSD(cooldown=0.2), (1.0, 1.0, 1.0, 1.0, 0.0)),
]

# Over the whole schedule (a cooldown of 1), so that progress is the cooldown's own.
COOLDOWNS: list[tuple[CooldownShape, tuple[float, ...]]] = [
    ("linear", (1.0, 0.75, 0.5, 0.25, 0.0)),
    ("sqrt", (1.0, 0.5, 0.2928932188134524, 0.1339745962155614, 0.0)),
    ("square", (1.0, 0.9375, 0.75, 0.4375, 0.0)),
    ("cosine", (1.0, 0.8535533905932737, 0.5, 0.14644660940672627, 0.0)),
    ("mirror_cosine", (1.0, 0.6464466094067263, 0.5, 0.35355339059327373, 0.0)),
    ("exponential", (1.0, 0.5623413251903491, 0.31622776601683794, 0.1778279410038923, 0.1)),
]


@pytest.mark.parametrize(("family", "values"), BY_HAND)
def test_family_at_five_points(family: AnyFamily, values: tuple[float, ...]) -> None:
    extent = Extent(length=100, warmup=0)

    assert [family.at(x, extent) for x in FIVE] == pytest.approx(values, abs=1e-15)
    assert family.over(np.array(FIVE), extent) == pytest.approx(values, abs=1e-15)


@pytest.mark.parametrize(("shape", "values"), COOLDOWNS)
def test_cooldown_shape_at_five_points(shape: CooldownShape, values: tuple[float, ...]) -> None:
    family, extent = WSD(cooldown=1.0, shape=shape), Extent(length=100, warmup=0)

    assert [family.at(x, extent) for x in FIVE] == pytest.approx(values, abs=1e-15)
    assert family.over(np.array(FIVE), extent) == pytest.approx(values, abs=1e-15)


def test_inverse_sqrt_continues_the_warmup_as_published() -> None:
    schedule = Schedule.model_validate(
        {"length": 1600, "warmup": {"length": 100, "start": 0}, "body": {"family": "inverse_sqrt"}}
    )

    # min(t / W, sqrt(W / t)) with W = 100.
    assert [schedule.at(t) for t in (50, 100, 400, 900, 1600)] == pytest.approx(
        [0.5, 1.0, 0.5, 1 / 3, 0.25], abs=1e-15
    )


def test_inverse_sqrt_holds_until_its_own_timescale() -> None:
    schedule = Schedule(length=1600, body=InverseSqrt(timescale=400))

    assert [schedule.at(t) for t in (0, 200, 400, 1600)] == [1.0, 1.0, 1.0, 0.5]
    assert schedule.breakpoints() == (0.0, 400.0, 1600.0)


def test_cooldown_share_counts_the_warmup() -> None:
    schedule = Schedule.model_validate(
        {"length": 1000, "warmup": {"length": 100}, "body": {"family": "wsd", "cooldown": 0.4}}
    )

    assert schedule.at(600) == 1.0
    assert schedule.at(700) == pytest.approx(0.75, abs=1e-12)
    assert schedule.at(1000) == 0.0
    assert schedule.breakpoints() == pytest.approx((0.0, 100.0, 600.0, 1000.0))


def test_cooldown_with_half_life_of_minicpm() -> None:
    half_life, length = 5000, 20_000
    body = WSD(cooldown=0.5, shape="exponential", end=0.5 ** (length * 0.5 / half_life))
    schedule = Schedule(length=length, body=body)

    assert schedule.at(10_000 + half_life) == pytest.approx(0.5)
    assert schedule.at(10_000 + 2 * half_life) == pytest.approx(0.25)


def test_step_takes_effect_at_the_milestone_itself_with_any_warmup() -> None:
    for warmup in (0, 7, 20, 333):
        parts = {"warmup": {"length": warmup}} if warmup else {}
        schedule = Schedule.model_validate({"length": 1000, "body": {"family": "step"}} | parts)

        assert schedule.at(799) == 1.0
        assert schedule.at(800) == pytest.approx(0.31622776601683794, abs=1e-15)
        assert schedule.at(899) == pytest.approx(0.31622776601683794, abs=1e-15)
        assert schedule.at(900) == 0.1


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"family": "polynomial", "power": 0}, "greater than 0"),
        ({"family": "wsd", "cooldown": 0}, "greater than 0"),
        ({"family": "wsd", "cooldown": 1.5}, "less than or equal to 1"),
        ({"family": "wsd", "shape": "cubic"}, "mirror_cosine"),
        ({"family": "wsd", "end": 0.1}, "belongs to shape 'exponential'"),
        ({"family": "wsd", "cooldown": 0.95}, "give at most 0.9"),
        ({"family": "step", "milestones": [0.5]}, "give each milestone one factor"),
        ({"family": "step", "milestones": [0.9, 0.8]}, "sort them"),
        ({"family": "step", "milestones": [0.05, 0.8]}, "put it at 0.1 or later"),
        ({"family": "step", "milestones": [0.5, 1.0]}, "less than 1"),
        ({"family": "step", "factors": [0.5, float("nan")]}, "less than or equal to 1"),
        ({"family": "table", "positions": [0, 1], "values": [1]}, "at least 2"),
        ({"family": "table", "positions": [0, 0.5], "values": [1, 0]}, "end at 1"),
        ({"family": "table", "positions": [0.1, 1], "values": [1, 0]}, "start at 0"),
        ({"family": "table", "positions": [0, 1, 1], "values": [1, 0, 0]}, "each one once"),
        ({"family": "table", "positions": [0, 1], "values": [1, -0.1]}, "greater than or equal"),
        ({"family": "table", "positions": [0, 1], "values": [1, "Infinity"]}, "less than or equal"),
        ({"family": "inverse_sqrt", "timescale": 50}, "lies inside the warm-up of 100"),
        ({"family": "linear", "power": 2}, "Extra inputs are not permitted"),
    ],
)
def test_bad_parameters_are_refused_with_what_would_do(
    document: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        Schedule.model_validate({"length": 1000, "warmup": {"length": 100}, "body": document})


def test_inverse_sqrt_without_warmup_asks_for_a_timescale() -> None:
    with pytest.raises(ValidationError, match="set warmup, or timescale"):
        Schedule(length=100, body=InverseSqrt())
