"""What the study of gradient statistics computes: a fit that leaves a task out, and statistics that change nothing."""

import math

import numpy as np
import pytest
import torch

from benchmarks.quality import covariates
from benchmarks.quality.tasks import named
from benchmarks.quality.tasks.base import Split, Trial


def test_a_task_that_is_left_out_is_predicted_from_the_others() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((12, 1))
    exact = covariates._left_out(1.0 + 2.0 * features[:, 0], features)
    assert exact == pytest.approx(0.0, abs=1e-9)
    # By hand: of 0 and 3, 3 each is predicted by the mean of the other two.
    assert covariates._left_out(np.array([0.0, 3.0, 3.0]), np.empty((3, 0))) == pytest.approx(
        math.sqrt((9.0 + 2.25 + 2.25) / 3.0)
    )


def test_statistics_are_finite_and_leave_the_model_as_it_was() -> None:
    (task,) = named("digits-logistic")
    trial = task.open(0)
    before = [p.detach().clone() for p in trial.model.parameters()]
    found = covariates._of_trial(trial)
    assert all(math.isfinite(value) for value in found)
    for then, now in zip(before, trial.model.parameters(), strict=True):
        assert torch.allclose(then, now, atol=1e-6)


def test_on_a_quadratic_the_greedy_rate_is_that_of_one_exact_step() -> None:
    """Curvature c in every direction: the best step is 1 / c."""
    parameter = torch.nn.Parameter(torch.ones(5, dtype=torch.float64))

    class Bowl(Trial):
        def batch_at(self, position: int) -> int:
            return position

        def loss(self, batch: int) -> torch.Tensor:
            del batch
            return 2.0 * parameter.square().sum()

        def held_out_loss(self, split: Split) -> float:
            del split
            return 0.0

    model = torch.nn.Module()
    model.weight = parameter
    trial = Bowl(model, [torch.optim.SGD([parameter], lr=0.1)])
    assert 2.0 ** covariates._of_trial(trial)[2] == pytest.approx(0.25, rel=1e-6)
