"""The best rate of a cell: found on known landscapes, shared shapes, what diverged, and what says nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter_search.studies.optima import Density, Run, Shape, edge_of, find

from tests.search.studies.truth import Truth

RATES = (-9.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0)


def bowl(best: float, rates: tuple[float, ...] = RATES, level: float = 2.0) -> list[Run]:
    truth = Truth(best=best, noise=0.0, scatter=0.0)
    losses = [
        truth.loss({"lr": 2.0**rate, "width": 256, "steps": 1200, "batch": 16}) for rate in rates
    ]
    scale = level / 2.0
    return [
        Run(rate, None if loss is None else scale * loss)
        for rate, loss in zip(rates, losses, strict=True)
    ]


@pytest.mark.parametrize("best", [-7.3, -6.0, -4.8])
def test_the_minimum_of_a_known_landscape_is_found(best: float) -> None:
    ((found, _),), shape = find([bowl(best)], "pretrain")
    assert found.mean == pytest.approx(best, abs=0.15)
    assert 0.05 < found.sd < 0.35
    assert found.edge is None
    assert shape.curvature == pytest.approx(0.04, rel=0.5)
    assert shape.noise < 0.012


def test_a_rate_that_diverged_bounds_the_best_one_from_above() -> None:
    falling = bowl(-4.8, (-8.0, -7.0, -6.0, -5.0))
    ((alone, _),), _ = find([falling], "other")
    ((bounded, _),), _ = find([[*falling, Run(-2.0, None)]], "other")
    assert alone.edge == "high"
    assert bounded.edge is None
    assert bounded.mean < alone.mean - 0.2
    assert bounded.sd < alone.sd


def test_what_diverged_below_the_best_rate_did_so_for_another_reason() -> None:
    runs = bowl(-5.5)
    ((alone, _),), _ = find([runs], "other")
    ((beside, _),), _ = find([[Run(-9.5, None), *runs]], "other")
    assert beside.mean == pytest.approx(alone.mean, abs=0.01)
    assert beside.sd == pytest.approx(alone.sd, rel=0.05)


def test_two_runs_say_more_beside_a_cell_that_tells_the_shape() -> None:
    pair = bowl(-5.5, (-6.5, -4.5))
    ((alone, _),), _ = find([pair], "pretrain")
    ((beside, _), _), _ = find([pair, bowl(-6.0)], "pretrain")
    assert beside.sd < 0.8 * alone.sd
    assert beside.mean == pytest.approx(-5.5, abs=0.6)


def test_losses_that_are_not_above_zero_have_their_minimum_at_the_same_place() -> None:
    above = bowl(-5.5)
    below = [Run(run.log2_lr, None if run.loss is None else run.loss - 9.0) for run in above]
    ((found, _),), _ = find([below], "other")
    assert found.mean == pytest.approx(-5.5, abs=0.35)


@settings(max_examples=30, deadline=None)
@given(st.floats(-6.0, 6.0), st.floats(0.1, 10.0))
def test_neither_the_unit_of_the_loss_nor_that_of_the_rate_moves_the_answer(
    octaves: float, level: float
) -> None:
    ((found, _),), _ = find([bowl(-5.6)], "pretrain")
    moved = [Run(run.log2_lr + octaves, run.loss) for run in bowl(-5.6, level=level)]
    ((there, _),), _ = find([moved], "pretrain")
    assert there.mean - octaves == pytest.approx(found.mean, abs=0.04)
    assert there.sd == pytest.approx(found.sd, abs=0.02)


def test_edges() -> None:
    assert edge_of([Run(-6.0, 2.0), Run(-5.0, 2.1), Run(-4.0, None)]) == "low"
    assert edge_of([Run(-6.0, 2.1), Run(-5.0, 2.0)]) == "high"
    # What diverged bounds the best run.
    assert edge_of([Run(-6.0, 2.1), Run(-5.0, 2.0), Run(-4.0, None)]) is None
    assert edge_of([Run(-6.0, None)]) == "none_ended"


@given(st.floats(-7.0, -4.0), st.floats(0.2, 1.0), st.floats(-6.5, -4.5), st.floats(0.5, 3.0))
def test_what_a_normal_likelihood_says_beside_a_belief_is_itself(
    place: float, sd: float, mean: float, belief_sd: float
) -> None:
    grid = np.arange(-14.0, 3.0, 1 / 16)
    told = Density(grid, np.exp(-0.5 * np.square((grid - place) / sd))).given(mean, belief_sd)
    assert told is not None
    # The grid's own variance is counted with the product's.
    assert told[0] == pytest.approx(place, abs=0.05)
    assert told[1] == pytest.approx(sd, rel=0.05)


def test_a_flat_likelihood_and_one_that_widens_the_belief_say_nothing() -> None:
    grid = np.arange(-14.0, 3.0, 1 / 16)
    assert Density(grid, np.ones_like(grid)).given(-5.0, 1.0) is None
    away = np.exp(-0.5 * np.square((np.abs(grid + 5.0) - 2.0) / 0.3))
    assert Density(grid, away).given(-5.0, 1.0) is None
    assert Density(grid, np.zeros_like(grid)).given(-5.0, 1.0) is None


def test_what_is_usual_of_a_regime_is_its_curvature_and_no_more_certain_than_its_prior() -> None:
    usual = Shape.usual("pretrain")
    assert usual.curvature == pytest.approx(0.03)
    assert 0.8 < usual.curvature_log_sd < 1.0
    assert usual.asymmetry == pytest.approx(0.3 * 0.4 + 0.4 * 0.8 + 0.3 * 1.4)
    _, known = find([bowl(-5.5)], "pretrain")
    assert known.curvature_log_sd < 0.6 * usual.curvature_log_sd
    assert math.log(usual.noise) == pytest.approx(
        0.25 * math.log(0.003) + 0.45 * math.log(0.01) + 0.2 * math.log(0.03) + 0.1 * math.log(0.1)
    )
