import pytest
import torch
from botorch.optim.utils import sample_all_priors
from pacesetter_search.surrogates.kernel import HYPERPARAMETERS, OFFSET_VARIANCE, StageKernel


def test_diagonal_is_variance_plus_offset() -> None:
    points = torch.tensor([[0.1, 0.0], [0.9, 3.0]], dtype=torch.float64)
    full = StageKernel()(points, points).to_dense()
    diagonal = StageKernel()(points, points, diag=True)
    assert full.diagonal().tolist() == pytest.approx([1.0 + OFFSET_VARIANCE] * 2)
    assert diagonal.tolist() == pytest.approx([1.0 + OFFSET_VARIANCE] * 2)


def test_a_failing_fit_can_restart_from_a_draw_of_the_prior() -> None:
    kernel = StageKernel()
    before = [float(kernel.value(name).detach()) for name in HYPERPARAMETERS]
    torch.manual_seed(0)
    sample_all_priors(kernel)
    after = [float(kernel.value(name).detach()) for name in HYPERPARAMETERS]
    assert all(0.01 < value < 100 for value in after)
    assert after != before
