"""Where to probe next: an acquisition function on a fixed grid, which in one dimension beats any optimiser."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.sampling.normal import SobolQMCNormalSampler

from pacesetter_search.surrogates.gaussian_process import Surrogate, quiet, seeded

FloatArray = npt.NDArray[np.float64]
AcquisitionName = Literal["log_nei", "lcb"]

SAMPLES = 128
"""Quasi-Monte-Carlo samples of the noisy improvement."""


def scores(
    surrogate: Surrogate,
    grid: FloatArray,
    observed: FloatArray,
    *,
    name: AcquisitionName = "log_nei",
    kappa: float = 1000.0,
    seed: int = 0,
) -> FloatArray:
    """Return how promising each grid point is, (n,); higher is better.

    Args:
        surrogate: Of the standardised loss.
        grid: (n, 2) candidates.
        observed: (m, 2) points measured at the current stage, m >= 1; their best is what to improve on.
        name: ``log_nei``: log of the expected improvement over noisy observations [Ament2023]; ``lcb``: ``kappa``
            standard deviations below the mean.
        kappa: 1000 in the paper, 1e6 in its code: with either, the mean plays no part (autolrs.md W2).
        seed: Of the quasi-Monte-Carlo samples.
    """
    if name == "lcb":
        mean, variance = surrogate.posterior(grid)
        return kappa * np.sqrt(variance) - mean
    with torch.no_grad(), quiet(), seeded(seed):
        acquisition = qLogNoisyExpectedImprovement(
            surrogate.model,
            torch.as_tensor(observed, dtype=torch.float64),
            sampler=SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=seed),
            prune_baseline=False,
        )
        values = acquisition(torch.as_tensor(grid, dtype=torch.float64).unsqueeze(-2))
    return np.asarray(values.numpy(), dtype=np.float64)
