import subprocess
import sys

import numpy as np
import pytest
import torch
from botorch.exceptions.errors import ModelFittingError
from pacesetter_search.surrogates import Response, TrainingSet, gaussian_process, training_set
from pacesetter_search.surrogates.gaussian_process import fit

from tests.search.surrogates.reference import posterior


def responses(count: int, noise: float = 0.02) -> list[Response]:
    """Return probes of a bowl that falls and moves left from stage to stage."""
    rng = np.random.default_rng(1)
    found = []
    for index in range(count):
        stage, x = index // 10, float(rng.uniform())
        loss = 3 * 0.8**stage + (x - 0.6 + 0.05 * stage) ** 2 + noise * rng.standard_normal()
        found.append(Response(stage, x, float(loss), noise**2))
    return found


def grid(stage: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.column_stack([np.linspace(0, 1, 51), np.full(51, float(stage))])


@pytest.mark.parametrize("count", [1, 3, 10, 35])
def test_posterior_agrees_with_textbook_algebra(count: int) -> None:
    data = training_set(responses(count))
    surrogate = fit(data)
    stage = int(data.points[-1, 1])
    mean, variance = surrogate.posterior(grid(stage))
    expected = posterior(
        data.points, data.losses, data.variances, grid(stage), surrogate.hyperparameters()
    )
    np.testing.assert_allclose(mean, expected[0], atol=1e-6)
    np.testing.assert_allclose(variance, expected[1], atol=1e-6)


def test_fit_is_the_same_to_the_bit_when_repeated() -> None:
    data = training_set(responses(25))
    torch.manual_seed(1)
    first = fit(data, seed=7)
    torch.manual_seed(2)
    second = fit(data, seed=7)
    assert first.hyperparameters() == second.hyperparameters()
    assert np.array_equal(first.posterior(grid(2))[0], second.posterior(grid(2))[0])


def test_fit_leaves_torch_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit(training_set(responses(12)))
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_default_dtype() == torch.float32


def test_the_bowl_is_found_in_the_newest_stage() -> None:
    surrogate = fit(training_set(responses(40)))
    mean, _ = surrogate.posterior(grid(3))
    assert grid(3)[int(np.argmin(mean)), 0] == pytest.approx(0.45, abs=0.08)


def test_earlier_stages_inform_a_stage_with_one_probe() -> None:
    alone, together = responses(31)[30:], responses(31)
    _, variance_alone = fit(training_set(alone)).posterior(grid(3))
    _, variance_together = fit(training_set(together)).posterior(grid(3))
    assert np.median(variance_together) < 0.8 * np.median(variance_alone)


@pytest.mark.parametrize(
    "losses", [[1.0], [1.0, 1.0], [2.0] * 12, [1.0, 1e6, 2.0, 1.5, 1e9]], ids=str
)
def test_degenerate_losses_give_a_finite_posterior(losses: list[float]) -> None:
    given = [Response(0, i / 12, loss, 0.0) for i, loss in enumerate(losses)]
    mean, variance = fit(training_set(given)).posterior(grid(0))
    assert np.isfinite(mean).all()
    assert (variance >= 0).all()


def test_the_same_point_many_times_over_is_fine() -> None:
    given = [Response(0, 0.5, 1.0, 0.0) for _ in range(20)]
    assert np.isfinite(fit(training_set(given)).posterior(grid(0))[0]).all()


def test_huge_noise_leaves_the_prior() -> None:
    given = TrainingSet(grid(0)[:8], np.linspace(-1, 1, 8), np.full(8, 1e9))
    mean, _ = fit(given).posterior(grid(0))
    assert np.abs(mean).max() < 1e-3


def test_few_points_keep_the_prior_medians() -> None:
    surrogate = fit(training_set(responses(3)))
    assert surrogate.status == "prior"
    assert surrogate.hyperparameters() == pytest.approx(
        {"x_scale": 0.3, "stage_scale": 3.0, "variance": 1.0}
    )


def test_a_fit_that_fails_keeps_the_prior_medians_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ModelFittingError("All attempts to fit the model have failed.")

    monkeypatch.setattr(gaussian_process, "fit_gpytorch_mll", failing)
    surrogate = fit(training_set(responses(12)))
    assert surrogate.status == "failed"
    assert "ModelFittingError" in surrogate.detail
    assert surrogate.hyperparameters()["x_scale"] == pytest.approx(0.3)


def test_strategies_are_importable_without_torch_or_scipy() -> None:
    code = (
        "import sys\n"
        "from pacesetter_search.strategies import get_strategy, strategy_names\n"
        "[get_strategy(name) for name in strategy_names()]\n"
        "print([m for m in ('torch', 'botorch', 'scipy') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.strip() == "[]"
