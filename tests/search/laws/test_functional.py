"""The functional scaling law: its integral by hand, its invariances, and a fit that finds it back."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Constant, Cosine, Schedule
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import Curve, FittedFunctional, FunctionalScalingLaw, LawNotFitted

PARAMETERS = (2.5, 0.6, 0.45, 5e4, 120.0, 1.6)
TRUE = FittedFunctional.of(*PARAMETERS)
STEPS, PEAK = 6000, 3e-4
BODIES: tuple[AnyFamily, ...] = (Constant(), Cosine(), WSD(cooldown=0.2))


def rates(body: AnyFamily, steps: int = STEPS) -> np.ndarray:
    return PEAK * Schedule(length=steps, body=body).over(np.arange(steps, dtype=np.float64))


def test_at_a_constant_rate_the_sum_is_the_integral() -> None:
    """By hand: sum of eta^2 K over steps, with K = (1 + C tau)^-gamma and tau the rates still to come."""
    floor, amplitude, power, response, speed, decay = PARAMETERS
    lrs = np.full(2000, PEAK)
    since = PEAK * (np.arange(2000.0)[::-1] + 0.5)
    noise = response * float(np.sum(PEAK**2 * (1.0 + speed * since) ** -decay))
    expected = floor + amplitude * (2000 * PEAK) ** -power + noise
    assert TRUE.predict(lrs).mean[0] == pytest.approx(expected, rel=1e-5)


def test_steps_at_a_rate_of_zero_change_nothing() -> None:
    lrs = rates(Cosine())
    padded = np.concatenate([lrs, np.zeros(5000)])
    assert TRUE.predict(padded).mean == pytest.approx(TRUE.predict(lrs).mean, rel=1e-9)


def test_a_rate_that_is_too_high_costs_something() -> None:
    losses = [float(TRUE.predict(factor * rates(Constant())).mean[0]) for factor in (1, 10, 100)]
    assert losses[2] > losses[1] > losses[0]


def test_a_fit_finds_the_law_behind_three_curves() -> None:
    curves = []
    for seed, body in enumerate(BODIES):
        lrs, places = rates(body), np.arange(300, STEPS + 1, 50)
        noise = np.random.default_rng(seed).standard_normal(places.size)
        losses = TRUE.predict(lrs, places).mean * np.exp(3e-4 * noise)
        curves.append(Curve.of(lrs, places, losses))
    law = FunctionalScalingLaw().fit(curves)
    other = rates(WSD(cooldown=0.6))
    assert law.predict(other).mean[0] == pytest.approx(TRUE.predict(other).mean[0], rel=1.5e-3)
    assert law.residual_sd == pytest.approx(3e-4, rel=0.3)
    again = FittedFunctional.model_validate_json(law.model_dump_json())
    assert again.predict(other).mean == law.predict(other).mean


def test_losses_of_every_step_are_those_at_each_position() -> None:
    lrs = rates(Cosine(), 700)
    assert TRUE.losses(lrs)[[0, 350, 699]] == pytest.approx(
        TRUE.predict(lrs, [1, 351, 700]).mean, rel=1e-12
    )


@pytest.mark.parametrize(
    ("lrs", "losses", "why"),
    [
        (np.full(50, 1e-3), [3.0, 2.0], "2 points for 6"),
        (np.full(50, 1e-3), np.linspace(1.0, -1.0, 20), "not above zero"),
        (np.zeros(50), np.linspace(2.0, 1.0, 20), "every learning rate is zero"),
    ],
)
def test_what_cannot_be_fitted_is_said(lrs: np.ndarray, losses: list[float], why: str) -> None:
    places = np.arange(1, len(losses) + 1)
    with pytest.raises(LawNotFitted, match=why):
        FunctionalScalingLaw().fit([Curve.of(lrs, places, losses)])
