import numpy as np
import pytest
import torch
from pacesetter_search.surrogates import Response, training_set
from pacesetter_search.surrogates.acquisition import scores
from pacesetter_search.surrogates.gaussian_process import fit

GRID = np.column_stack([np.linspace(0, 1, 201), np.zeros(201)])


def bowl(places: list[float], noise: float = 0.0) -> list[Response]:
    return [Response(0, x, (x - 0.4) ** 2, noise) for x in places]


def test_log_improvement_looks_around_the_minimum() -> None:
    data = training_set(bowl([0.0, 0.2, 0.5, 0.7, 1.0]))
    values = scores(fit(data), GRID, data.points, seed=1)
    assert 0.2 < GRID[int(np.argmax(values)), 0] < 0.55


def test_lcb_with_the_published_kappa_looks_where_least_is_known() -> None:
    data = training_set(bowl([0.0, 0.1, 0.2, 0.3, 0.4, 1.0]))
    values = scores(fit(data), GRID, data.points, name="lcb", kappa=1000.0)
    assert GRID[int(np.argmax(values)), 0] == pytest.approx(0.7, abs=0.05)


def test_lcb_without_exploration_is_the_posterior_mean() -> None:
    data = training_set(bowl([0.0, 0.3, 0.6, 1.0]))
    surrogate = fit(data)
    mean, _ = surrogate.posterior(GRID)
    values = scores(surrogate, GRID, data.points, name="lcb", kappa=0.0)
    np.testing.assert_allclose(values, -mean)


def test_the_same_seed_gives_the_same_scores_whatever_torch_drew_before() -> None:
    data = training_set(bowl([0.0, 0.2, 0.5, 0.9], noise=0.01))
    surrogate = fit(data)
    torch.manual_seed(1)
    first = scores(surrogate, GRID, data.points, seed=5)
    torch.manual_seed(2)
    assert np.array_equal(first, scores(surrogate, GRID, data.points, seed=5))


def test_one_observation_is_enough() -> None:
    data = training_set(bowl([0.5]))
    assert np.isfinite(scores(fit(data), GRID, data.points)).all()
