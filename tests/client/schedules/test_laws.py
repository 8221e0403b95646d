"""Families that are laws in learning rates."""

import numpy as np
import pytest
from pacesetter.schedules import Linear, Noam, Power, Schedule, Table, Warmup, parse_schedule
from pydantic import ValidationError

BATCH = 1024 * 4096


def power(clock: str = "tokens", length: int = 10**12, **changes: object) -> Schedule:
    body = Power.model_validate({"batch_tokens": BATCH, "clock": clock, **changes})
    return Schedule.absolute(length, body, warmup=Warmup(length=length // 1000, start=0.0))


def test_power_at_five_points_of_the_paper() -> None:
    schedule = power()

    # beta = 1024 sequences: 4096 n^-0.51 from n = 2.6e10 on, capped at .02 before.
    # 10^(3.6123599 - 0.51 * 11) = 0.0100545 and 10^(3.6123599 - 0.51 * 11.8750613) = 0.0035981.
    assert schedule.at(5e8) == pytest.approx(0.01, rel=1e-12)
    assert schedule.at(1e10) == 0.02
    assert schedule.at(1e11) == pytest.approx(0.0100545, rel=1e-5)
    assert schedule.at(7.5e11) == pytest.approx(0.0035981, rel=2e-5)
    assert schedule.at(1e12) == 0.0


def test_power_decays_from_the_law_where_the_decay_begins() -> None:
    schedule = power()
    begin = 4096 * 9e11**-0.51

    # (e^(1 - y) - 1) / (e - 1) at y = 1/2 is 0.3775407.
    assert schedule.at(9e11) == pytest.approx(begin, rel=1e-12)
    assert schedule.at(9.5e11) == pytest.approx(begin * 0.3775407, rel=1e-6)


def test_power_with_the_amplitude_of_the_wsd_law_gives_the_example_of_the_paper() -> None:
    # T = 1e13 tokens at batch 1024: 0.0011. The schedule's own amplitude is 4, not 4.6.
    best = Power(batch_tokens=BATCH, clock="tokens", a=4.6).learning_rate(1e13)
    assert best == pytest.approx(0.0011, abs=5e-6)
    assert Power(batch_tokens=BATCH, clock="tokens").learning_rate(1e13) == pytest.approx(
        best * 4.0 / 4.6, rel=1e-12
    )


def test_power_counts_the_batch_in_sequences_of_4096_whatever_those_of_the_job() -> None:
    # 2048 sequences of 2048 tokens are 1024 of 4096.
    same = Power(batch_tokens=2048 * 2048, clock="tokens")

    assert same.learning_rate(1e11) == Power(batch_tokens=BATCH, clock="tokens").learning_rate(1e11)


def test_power_in_steps_is_power_in_tokens() -> None:
    steps = power("steps", length=200_000)
    tokens = power("tokens", length=200_000 * BATCH)
    at = np.array([0.0, 200.0, 7000.0, 150_000.0, 199_999.0])

    assert steps.over(at) == pytest.approx(tokens.over(at * BATCH), rel=1e-12)


def test_power_warms_up_to_the_law_where_that_is_below_its_cap() -> None:
    body = Power(batch_tokens=4096, clock="tokens")
    schedule = Schedule.absolute(10**9, body, warmup=Warmup(length=10**6, start=0.0))

    # 4 * 1e6^-0.51 = 4 * 10^-3.06 = 0.00348385: n / N_w * eta(N_w) before, no jump at N_w.
    assert schedule.at(10**6) == pytest.approx(0.00348385, rel=1e-5)
    assert schedule.at(5 * 10**5) == pytest.approx(0.00348385 / 2, rel=1e-5)


def test_power_without_warmup_starts_at_its_cap() -> None:
    schedule = Schedule.absolute(1000, Power(batch_tokens=4096, clock="steps", decay=0.0))

    assert schedule.at(0) == 0.02
    assert schedule.over(np.array([0.0, 1000.0]))[0] == 0.02


def test_noam_at_five_points_of_the_paper() -> None:
    schedule = Schedule.absolute(100_000, Noam(width=512), warmup=Warmup(length=4000, start=0.0))

    # 512^-0.5 min(t^-0.5, t * 4000^-1.5), at its top 1 / sqrt(512 * 4000) = 6.98771e-4.
    expected = [512**-0.5 * t * 4000**-1.5 for t in (100, 2000)] + [
        512**-0.5 * t**-0.5 for t in (4000, 16_000, 100_000)
    ]
    assert schedule.peak == pytest.approx(6.98771e-4, rel=1e-5)
    assert [schedule.at(t) for t in (100, 2000, 4000, 16_000, 100_000)] == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peak": 0.02}, "law in learning rates; give unit 'absolute' and peak 0.02"),
        ({"unit": "absolute"}, "law in learning rates; give unit 'absolute' and peak 0.02"),
    ],
)
def test_a_law_is_refused_without_its_unit_or_its_peak(
    changes: dict[str, object], words: str
) -> None:
    body = {"family": "power", "batch_tokens": 4096, "clock": "steps"}

    with pytest.raises(ValidationError, match=words):
        Schedule.model_validate({"length": 1000, "body": body, **changes})


def test_another_peak_scales_the_law() -> None:
    schedule = power()
    half = parse_schedule(schedule.model_copy(update={"peak": 0.01}).model_dump_json())

    assert half.at(1e11) == pytest.approx(schedule.at(1e11) / 2, rel=1e-12)


def test_laws_that_lack_something_say_what() -> None:
    with pytest.raises(ValueError, match="set warmup"):
        Schedule.absolute(100, Noam(width=512))
    with pytest.raises(ValueError, match="linear fixes no learning rate"):
        Schedule.absolute(100, Linear())
    with pytest.raises(ValidationError, match="clock"):
        Power.model_validate({"batch_tokens": 4096})
    with pytest.raises(ValueError, match="inside the warm-up"):
        power(decay=0.9999)


def test_the_clock_is_known_to_whoever_checks_it() -> None:
    assert power("tokens").body.required_clock() == "tokens"
    assert Noam(width=8).required_clock() == "steps"
    assert Table(positions=(0.0, 1.0), values=(1.0, 0.0)).required_clock() is None
