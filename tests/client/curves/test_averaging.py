"""Long curves made short: what laws take from the rates survives, and so do ends and divergences."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.curves import MOST_POINTS, Points, averaged
from pacesetter.curves.averaging import KNOTS, TOLERANCE, rate_knots
from pacesetter.schedules import WSD, Cosine, Linear, Schedule, Step, Warmup

from tests.client.schedules.drawn import schedules

FloatArray = npt.NDArray[np.float64]
PEAK = 3e-4


def under(schedule: Schedule, noise: float = 0.01) -> Points:
    """Return a curve with a row a step under a schedule."""
    steps = np.arange(1.0, schedule.length + 1.0)
    lrs = PEAK * schedule.over(steps - 1.0)
    drawn = np.random.default_rng(0).standard_normal(steps.size)
    return Points.of(steps, lrs, 3.0 + steps**-0.3 + noise * drawn)


def terms(steps: FloatArray, lrs: FloatArray, last: int, peak: float) -> tuple[FloatArray, ...]:
    """Return S1 and S2 (memory 1000) after every step, as shares of a run and of a drop at the peak."""
    rates = np.interp(np.arange(1, last + 1), steps, lrs)
    momentum = np.zeros(last)
    drops = -np.diff(rates, prepend=0.0)
    for step in range(last):
        momentum[step] = 0.999 * momentum[step - 1] + drops[step] if step else drops[0]
    return np.cumsum(rates) / (peak * last), np.cumsum(momentum) / (peak * 1000.0)


BODIES = {
    "linear": Linear(),
    "cosine": Cosine(),
    "wsd": WSD(cooldown=0.2, shape="sqrt"),
    "steps": Step(milestones=(0.3, 0.6, 0.9), factors=(0.3, 0.1, 0.03)),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_sums_that_laws_take_from_rates_survive(name: str) -> None:
    whole = under(Schedule(length=50_000, warmup=Warmup(length=500), body=BODIES[name]))
    short = averaged(whole)
    assert short.steps.size <= MOST_POINTS
    before = terms(whole.steps, whole.lrs, whole.last, PEAK)
    after = terms(short.steps, short.lrs, whole.last, PEAK)
    assert np.abs(before[0] - after[0]).max() < 1e-6
    assert np.abs(before[1] - after[1]).max() < 1e-4


def test_rates_that_move_all_the_time_keep_their_sums() -> None:
    whole = under(Schedule(length=50_000, body=Linear()))
    factors = np.exp(0.3 * np.random.default_rng(1).standard_normal(50_000))
    noisy = Points.of(whole.steps, whole.lrs * factors, whole.losses)
    assert rate_knots(noisy.steps, noisy.lrs, KNOTS) is None
    short = averaged(noisy)
    peak = float(noisy.lrs.max())
    before, after = (terms(each.steps, each.lrs, 50_000, peak) for each in (noisy, short))
    assert np.abs(before[0] - after[0]).max() < 1e-4
    assert np.abs(before[1] - after[1]).max() < 5e-3


def test_losses_are_means_of_blocks_at_mean_steps() -> None:
    whole = under(Schedule(length=40_000, body=Cosine()))
    short = averaged(whole)
    kept = short.finite
    # The curve without noise, at the same places; a block of some 27 losses has a noise of .01 / sqrt(27).
    expected = 3.0 + short.steps[kept] ** -0.3
    late = short.steps[kept] > 1000
    errors = (short.losses[kept] - expected)[late][:-1]
    assert np.std(errors) == pytest.approx(0.01 / math.sqrt(40_000 / 1499), rel=0.1)
    assert abs(np.mean(errors)) < 2e-4


def test_a_curve_that_is_short_enough_is_left_alone() -> None:
    whole = under(Schedule(length=MOST_POINTS, body=Cosine()))
    assert averaged(whole) is whole
    twice = averaged(averaged(under(Schedule(length=9000, body=Cosine()))))
    assert twice.steps.size <= MOST_POINTS


def test_the_last_loss_is_kept_by_itself() -> None:
    whole = under(Schedule(length=30_000, body=Cosine()))
    short = averaged(whole)
    assert (short.steps[-1], short.losses[-1]) == (30_000.0, whole.losses[-1])


def test_rates_beyond_the_last_loss_are_kept() -> None:
    whole = under(Schedule(length=30_000, body=WSD(cooldown=0.2)))
    losses = np.where(whole.steps < 25_000, whole.losses, np.nan)
    short = averaged(Points(whole.steps, whole.lrs, losses))
    assert short.last == 30_000
    assert short.lrs[-1] == whole.lrs[-1]
    assert short.steps[short.finite][-1] == 24_999.0


@pytest.mark.parametrize("broken", [5000, 1])
def test_a_run_that_diverged_still_has(broken: int) -> None:
    whole = under(Schedule(length=30_000, body=Cosine()))
    losses = whole.losses.copy()
    losses[-broken:] = np.inf
    short = averaged(Points(whole.steps, whole.lrs, losses))
    assert short.diverged
    lost = short.steps[np.isinf(short.losses)]
    assert lost[0] > 30_000 - broken - 25
    assert short.finite.sum() >= (30_000 - broken) // 25


def test_single_losses_that_are_no_number_leave_their_block_alone() -> None:
    whole = under(Schedule(length=30_000, body=Cosine()))
    losses = whole.losses.copy()
    losses[10_000] = np.inf
    short = averaged(Points(whole.steps, whole.lrs, losses))
    assert np.isfinite(short.losses[~np.isnan(short.losses)]).all()


def test_sparse_losses_keep_each_of_their_own() -> None:
    whole = under(Schedule(length=30_000, body=Cosine()))
    losses = np.where(whole.steps % 500 == 0, whole.losses, np.nan)
    short = averaged(Points(whole.steps, whole.lrs, losses))
    assert short.steps[short.finite].tolist() == list(range(500, 30_001, 500))
    assert short.losses[short.finite].tolist() == losses[499::500].tolist()


def test_ten_million_points_become_two_thousand() -> None:
    count = 10_000_000
    steps = np.arange(1.0, count + 1.0)
    lrs = PEAK * np.minimum(1.0, (count - steps) / (0.3 * count))
    short = averaged(Points.of(steps, lrs, 2.0 + steps**-0.2))
    assert short.steps.size <= MOST_POINTS
    assert np.interp(0.9 * count, short.steps, short.lrs) == pytest.approx(PEAK / 3.0, rel=1e-4)
    late = short.finite & (short.steps > 1e6)
    assert short.losses[late] == pytest.approx(2.0 + short.steps[late] ** -0.2, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(schedules(), st.integers(2001, 6000), st.data())
def test_rates_of_any_schedule_are_kept_or_averaged(
    schedule: Schedule, rows: int, data: st.DataObject
) -> None:
    """Either knots tell the rates to the tolerance, or they are averaged and their sum is."""
    steps = np.arange(1.0, rows + 1.0)
    places = schedule.zero + (steps - 1.0) * schedule.length / rows
    lrs = np.clip(schedule.over(places), 0.0, 1e3)
    if not (lrs > 0.0).any():
        return
    holes = data.draw(st.floats(0.0, 0.9))
    kept = np.random.default_rng(rows).random(rows) >= holes
    kept[[0, -1]] = True
    whole = Points.of(steps[kept], lrs[kept], 2.0 + steps[kept] ** -0.5)
    short = averaged(whole)
    assert short.steps.size <= MOST_POINTS + 1
    assert (np.diff(short.steps) > 0.0).all()
    told = np.interp(whole.steps, short.steps, short.lrs)
    if short is whole or rate_knots(whole.steps, whole.lrs, KNOTS) is not None:
        assert np.abs(told - whole.lrs).max() <= 1.001 * TOLERANCE * whole.lrs.max()
    else:
        assert told.sum() == pytest.approx(whole.lrs.sum(), rel=0.02)
