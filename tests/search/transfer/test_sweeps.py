"""The best peak of a few runs: exact on parabolas, wide where little is known, and right on public runs."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter_search.transfer.sweeps import (
    CURVATURE_SD,
    DEPARTURE,
    SEEDS_SD,
    Trial,
    best_peak,
    cost_of_an_octave,
)

BEST = -10.0
PUBLIC = Path(__file__).parents[4] / "shared" / "data" / "lr_scheduling_124m" / "runs.csv"


def bowl(*places: float, curvature: float = 0.0063, best: float = BEST) -> list[Trial]:
    return [Trial(2.0**place, 3.0 * (1.0 + curvature * (place - best) ** 2)) for place in places]


def test_a_parabola_is_found_again() -> None:
    mean, sd = best_peak(bowl(-12.0, -11.0, -10.0, -9.0, -8.0), 20.0)
    assert mean == pytest.approx(BEST, abs=0.02)
    assert 0.05 < sd < 0.4


def test_two_runs_that_end_alike_have_the_best_between_them() -> None:
    mean, sd = best_peak(bowl(-11.5, -8.5), 20.0)
    assert mean == pytest.approx(BEST, abs=0.02)
    assert sd > best_peak(bowl(-12.0, -11.5, -10.0, -8.5, -8.0), 20.0)[1]


def test_the_better_one_of_two_draws_the_best_to_its_side() -> None:
    assert best_peak(bowl(-13.0, -11.0), 20.0)[0] > -11.5


def test_noisy_losses_widen_the_answer() -> None:
    clear = bowl(-11.0, -10.0, -9.0)
    blurred = [Trial(one.lr, one.loss, 0.01) for one in clear]
    assert best_peak(blurred, 20.0)[1] > 2.0 * best_peak(clear, 20.0)[1]


def test_runs_of_one_peak_that_differ_tell_the_noise_and_draw_the_best_peak_nowhere() -> None:
    """Two bowls of one best peak, .7 % apart, as of two shapes: the parabola does not explain it by a far best peak."""
    lower = bowl(-12.0, -11.0, -10.0)
    upper = [Trial(one.lr, 1.007 * one.loss) for one in lower]
    alone = best_peak(lower, 20.0)
    mean, sd = best_peak([*lower, *upper], 20.0)
    assert mean == pytest.approx(alone[0], abs=0.6)
    assert sd > alone[1]
    # The same runs twice are no less sure than once.
    assert best_peak([*lower, *lower], 20.0)[1] < alone[1]


def test_two_seeds_of_one_peak_that_agree_make_nothing_surer_than_seeds_allow() -> None:
    runs = bowl(-11.0, -10.0, -9.0)
    twice = [*runs, Trial(runs[1].lr, runs[1].loss)]
    assert best_peak(twice, 20.0)[1] > 0.7 * best_peak(runs, 20.0)[1]


@given(st.floats(-8.0, 8.0), st.floats(0.1, 10.0))
def test_units_of_rate_and_loss_do_not_matter(shift: float, scale: float) -> None:
    first, sd = best_peak(bowl(-11.0, -10.5, -9.0), 20.0)
    moved = [Trial(one.lr * 2.0**shift, one.loss * scale) for one in bowl(-11.0, -10.5, -9.0)]
    second, other = best_peak(moved, 20.0)
    assert second - shift == pytest.approx(first, abs=0.021)
    assert other == pytest.approx(sd, rel=0.02, abs=0.01)


def test_more_tokens_a_parameter_mean_a_flatter_bowl() -> None:
    costs = [cost_of_an_octave(ratio) for ratio in (10.0, 40.0, 100.0, 1000.0)]
    assert costs == sorted(costs, reverse=True)
    assert best_peak(bowl(-11.0, -9.0), 1000.0)[1] > best_peak(bowl(-11.0, -9.0), 10.0)[1]


@pytest.mark.parametrize(
    ("trials", "words"),
    [
        ([], "two or more"),
        (bowl(-10.0), "two or more"),
        (bowl(-10.0, -10.0), "two or more"),
        ([Trial(0.0, 3.0), Trial(1.0, 3.0)], "impossible"),
        ([Trial(0.1, math.nan), Trial(1.0, 3.0)], "impossible"),
        ([Trial(0.1, math.inf), Trial(1.0, 3.0)], "impossible"),
        ([Trial(0.1, 3.0, -1.0), Trial(1.0, 3.0)], "impossible"),
    ],
)
def test_runs_that_say_nothing_are_refused(trials: list[Trial], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        best_peak(trials, 20.0)


def test_runs_that_diverged_change_nothing() -> None:
    runs = bowl(-11.0, -10.0, -9.0)
    diverged = [Trial(2.0**-7, 1e6), Trial(2.0**-20, 11.0)]
    assert best_peak([*runs, *diverged], 20.0) == best_peak(runs, 20.0)
    with pytest.raises(ValueError, match="two or more"):
        best_peak([runs[1], *diverged], 20.0)


def test_the_level_of_the_best_is_integrated_out() -> None:
    """Against the plain sum over it, of runs that are known unequally well."""
    runs = [Trial(2.0**-12, 3.06, 0.01), Trial(2.0**-10.5, 3.01), Trial(2.0**-9, 3.04, 0.02)]
    places = np.log2([one.lr for one in runs])
    relative = np.array([one.loss for one in runs]) / 3.01 - 1.0
    thetas = np.arange(-15.0, -6.0 + 1e-9, 0.05)
    levels = np.arange(-0.2, 0.2, 0.0005)
    density = np.zeros(thetas.size)
    for strength in np.linspace(-3.0, 3.0, 31):
        curvature = cost_of_an_octave(20.0) * math.exp(CURVATURE_SD * strength)
        for place, theta in enumerate(thetas):
            above = curvature * np.square(places - theta)
            sd = np.sqrt(
                np.square([one.sd for one in runs]) + SEEDS_SD**2 + np.square(DEPARTURE * above)
            )
            off = (relative - above - levels[:, None]) / sd
            likelihood = np.exp(-0.5 * np.square(off).sum(-1)).sum() / sd.prod()
            density[place] += likelihood * math.exp(-0.5 * strength**2)
    density /= density.sum()
    wanted = float(density @ thetas)
    mean, sd_octaves = best_peak(runs, 20.0)
    assert mean == pytest.approx(wanted, abs=0.005)
    assert sd_octaves == pytest.approx(
        math.sqrt(float(density @ np.square(thetas - wanted))), rel=0.01
    )


def test_three_public_runs_agree_with_a_parabola_through_them() -> None:
    if not PUBLIC.exists():
        pytest.skip(f"the public curves are not at {PUBLIC}")
    with PUBLIC.open() as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["iters"] == "25000"
            and row["fract_decay"] == "0.2"
            and row["decay_type"] == "linear"
        ]
    trials = [Trial(float(row["lr"]), float(row["final_val_loss"])) for row in rows]
    assert len({one.lr for one in trials}) == 3
    mean, sd = best_peak(trials, 25000 * 51200 / 124e6)
    # The parabola through 1e-4, 5e-4 and 1e-3 has its bottom at 1.1e-3.
    assert abs(mean - math.log2(1.1e-3)) < 0.5
    assert sd < 0.6
