"""The block bootstrap in closed form against one that draws, and what correlation does to it."""

import numpy as np
import pytest
from pacesetter_search.laws.bootstrap import autocovariance, block_bootstrap, block_length
from pacesetter_search.laws.curves import FloatArray


def autoregression(size: int, correlation: float, seed: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    values = np.empty(size)
    values[0] = generator.standard_normal()
    innovations = np.sqrt(1.0 - correlation**2) * generator.standard_normal(size)
    for step in range(1, size):
        values[step] = correlation * values[step - 1] + innovations[step]
    return values


def design(size: int) -> FloatArray:
    x = np.linspace(0.05, 1.0, size)
    return np.column_stack([np.ones(size), x**-0.5, x])


def drawn(scores: FloatArray, jacobian: FloatArray, draws: int = 40_000) -> FloatArray:
    """The moving-block bootstrap, literally: blocks from anywhere in the ring, cut at random places."""
    generator = np.random.default_rng(7)
    size, length = scores.size, block_length(scores, [scores.size])
    count = size // length + 2
    ring = np.concatenate([scores, scores])
    moves = []
    for _ in range(draws):
        starts = generator.integers(0, size, count)
        blocks = ring[starts[:, None] + np.arange(length)].ravel()
        cut = int(generator.integers(0, length))
        moves.append(jacobian.T @ blocks[cut : cut + size])
    return np.cov(np.array(moves).T)


def test_the_closed_form_is_what_drawing_blocks_converges_to() -> None:
    scores, jacobian = autoregression(240, 0.8, 3), design(240)
    scores = scores - scores.mean()
    identity = np.eye(3)
    closed = block_bootstrap(
        jacobian, scores, [240], curvature=1e6 * identity, prior=np.zeros((3, 3))
    )
    # The slow one forms no inverse and has nothing fitted away: the curvature is taken out again.
    slow = drawn(scores, jacobian)
    assert np.diag(1e12 * closed) == pytest.approx(np.diag(slow), rel=0.08)
    assert 1e12 * closed[0, 1] == pytest.approx(slow[0, 1], rel=0.12)


def test_independent_residuals_give_the_covariance_of_least_squares() -> None:
    jacobian = design(2000)
    scores = 0.1 * np.random.default_rng(1).standard_normal(2000)
    curvature = jacobian.T @ jacobian
    found = block_bootstrap(jacobian, scores, [2000], curvature=curvature, prior=np.zeros((3, 3)))
    assert np.diag(found) == pytest.approx(0.01 * np.diag(np.linalg.inv(curvature)), rel=0.15)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_a_mean_of_correlated_noise_is_as_unsure_as_it_really_is(correlation: float) -> None:
    size, runs = 400, 300
    jacobian = np.ones((size, 1))
    curvature = np.array([[float(size)]])
    means, claimed = [], []
    for seed in range(runs):
        noise = autoregression(size, correlation, 1000 + seed)
        means.append(noise.mean())
        found = block_bootstrap(
            jacobian, noise - noise.mean(), [size], curvature=curvature, prior=np.zeros((1, 1))
        )
        claimed.append(found[0, 0])
    assert np.mean(claimed) == pytest.approx(np.var(means), rel=0.3)


def test_blocks_grow_with_the_correlation() -> None:
    lengths = [
        block_length(autoregression(400, correlation, 5), [400])
        for correlation in (0.0, 0.5, 0.8, 0.95)
    ]
    assert lengths[0] <= 3
    assert lengths == sorted(lengths)
    assert lengths[3] > 30


def test_blocks_do_not_reach_across_curves() -> None:
    one, other = np.ones(50), -np.ones(50)
    apart = autocovariance(np.concatenate([one, other]), [50, 50], 2)
    assert apart.tolist() == [1.0, 0.98]
    together = autocovariance(np.concatenate([one, other]), [100], 2)
    assert together[1] == pytest.approx(0.97)


def test_what_a_prior_leaves_open_is_the_priors_own_width() -> None:
    """No data about a parameter: it is as unsure as the prior says, with or without residuals."""
    precision = np.array([[4.0]])
    found = block_bootstrap(
        np.zeros((30, 1)), np.ones(30), [30], curvature=precision, prior=precision
    )
    assert found == pytest.approx(np.array([[0.25]]))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_few_points_are_no_reason_to_fail(size: int) -> None:
    found = block_bootstrap(
        np.ones((size, 1)),
        np.zeros(size),
        [size],
        curvature=np.array([[1.0 + size]]),
        prior=np.array([[1.0]]),
    )
    assert np.isfinite(found).all()
    assert found[0, 0] == pytest.approx((1.0 + size) ** -2.0)
