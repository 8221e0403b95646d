"""The expected improvement of candidates under a Gaussian process. Loads torch and BoTorch: import it where used."""

import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.errors import NanError, NotPSDError
from torch import Tensor

from pacesetter_search.studies.space import FloatArray
from pacesetter_search.surrogates.gaussian_process import quiet, seeded

SAMPLES = 128
"""Quasi-Monte-Carlo samples of the noisy improvement."""

BASELINE = 64
"""Trials that an improvement is over: the best ones. Memory grows with the square, and no other will be the best."""


class Improvement:
    """A Gaussian process of standardised losses and what candidates promise under it.

    Matern-5/2 with a length scale a dimension (BoTorch's own default is the infinitely smooth kernel, which a loss that
    turns at a threshold is not), its prior scaled with the dimension [Hvarfner2024]; the noise is inferred. Where no
    fit is found the hyperparameters stay at their priors' modes.

    Args:
        points: (n, d) of trials, n >= 2.
        losses: (n,) standardised.
        seed: Of restarts and of the samples.
    """

    def __init__(self, points: FloatArray, losses: FloatArray, *, seed: int) -> None:
        self._seed = seed % 2**31
        self._points = _tensor(points)
        best = np.argsort(losses, kind="stable")[:BASELINE]
        self._baseline = self._points[torch.as_tensor(np.sort(best))]
        self._model = _model(self._points, losses)
        try:
            with quiet(), seeded(self._seed):
                fit_gpytorch_mll(ExactMarginalLogLikelihood(self._model.likelihood, self._model))
        except (ModelFittingError, NotPSDError, NanError):
            self._model = _model(self._points, losses)
        self._model.eval()

    def expected(self, point: FloatArray) -> tuple[float, float]:
        """Return mean and sd of the standardised loss at a point (d,), noise not counted."""
        with torch.no_grad(), quiet():
            posterior = self._model.posterior(_tensor(point).unsqueeze(0))
            return -float(posterior.mean), float(posterior.variance.clamp_min(0.0).sqrt())

    def values(self, candidates: FloatArray, pending: FloatArray) -> FloatArray:
        """Return log of the expected noisy improvement of each candidate [Ament2023], (m,).

        Args:
            candidates: (m, d).
            pending: (p, d) of trials that run: what they will end with is averaged over, so none is tried beside them.
        """
        with torch.no_grad(), quiet(), seeded(self._seed):
            acquisition = qLogNoisyExpectedImprovement(
                self._model,
                self._baseline,
                sampler=SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=self._seed),
                X_pending=_tensor(pending) if len(pending) else None,
                prune_baseline=False,
            )
            values = acquisition(_tensor(candidates).unsqueeze(-2))
        return np.asarray(values.numpy(), dtype=np.float64)


def _model(points: Tensor, losses: FloatArray) -> SingleTaskGP:
    """Return the model of negative losses: BoTorch maximises."""
    with quiet():
        return SingleTaskGP(
            points,
            -_tensor(losses).unsqueeze(-1),
            covar_module=get_covar_module_with_dim_scaled_prior(
                ard_num_dims=points.shape[-1], use_rbf_kernel=False
            ),
            outcome_transform=None,
        )


def _tensor(values: FloatArray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)
