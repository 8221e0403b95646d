"""The transfer experiment at the size of a test, and the arithmetic of its sweeps."""

import math

import pytest
import torch

from benchmarks.mup_transfer import Case, Swept, equal_at_base, loss_of, sweep, trained

LOG_RATES = range(-9, -3)


def test_the_parabola_through_three_points_is_found_by_hand() -> None:
    found = Swept({-6: 3.0, -5: 2.0, -4: 2.5, -3: 9.0})
    # y = 2 - .25 x + .75 x^2 about -5: bottom at x = 1/6, 1/48 below.
    assert found.optimum == pytest.approx((-5.0 + 1.0 / 6.0, 2.0 - 1.0 / 48.0))


def test_a_sweep_goes_on_until_the_best_has_a_neighbour_on_either_side() -> None:
    tried: list[int] = []

    def loss_at(rate: int) -> float:
        tried.append(rate)
        return abs(rate + 8.2)

    found = sweep(loss_at)
    assert tried == [-6, -5, -4, -7, -8, -9]
    assert found.best == -8


def test_a_sweep_that_falls_for_ever_ends_without_an_optimum() -> None:
    found = sweep(lambda rate: -float(rate))
    assert max(found.losses) == 1
    assert math.isnan(found.optimum[0])


def test_a_run_that_diverges_counts_as_infinite() -> None:
    assert trained(Case("standard", steps=30, batch=2), 32, 1e9, 0) == math.inf


def test_both_parametrizations_are_one_at_the_base_width() -> None:
    assert equal_at_base(Case(batch=4))


@pytest.mark.slow
@pytest.mark.timeout(900)  # 35 s of CPU time, which a busy machine spreads out
def test_the_best_rate_moves_by_an_octave_without_mup_and_stays_with_it() -> None:
    torch.set_num_threads(1)

    def optimum(case: Case, width: int) -> float:
        losses = {rate: trained(case, width, 2.0**rate, 0) for rate in LOG_RATES}
        return Swept(losses).optimum[0]

    mup, plain = (Case(form, steps=80, batch=8) for form in ("mup", "standard"))
    narrow = optimum(mup, 32)  # which is that of the plain model
    assert abs(optimum(mup, 128) - narrow) <= 0.6
    assert narrow - optimum(plain, 128) >= 1.2


def test_small_widths_are_means_of_two_seeds() -> None:
    case = Case(steps=10, batch=4)
    each = [trained(case, 32, 2.0**-6, seed) for seed in (0, 1)]
    assert each[0] != each[1]
    assert loss_of((case, 32), -6.0) == pytest.approx(sum(each) / 2.0)
