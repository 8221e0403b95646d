"""The surrogate: BoTorch's ``SingleTaskGP`` with the noise that the forecasts state.

Nothing here sets threads, dtypes or seeds globally: the planning process pins BLAS to one thread when it starts (20
times faster at these sizes), and random draws run inside :func:`seeded`.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.settings import validate_input_scaling
from gpytorch.means import ZeroMean
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.errors import NanError, NotPSDError
from torch import Tensor

from pacesetter_search.surrogates.kernel import HYPERPARAMETERS, StageKernel
from pacesetter_search.surrogates.responses import TrainingSet

FloatArray = npt.NDArray[np.float64]
FitStatus = Literal["fitted", "prior", "failed"]

FEWEST_FITTED = 4
"""Below this many points hyperparameters stay at their prior medians: three numbers do not follow from three."""

_TOLERANCES = {"ftol": 1e-6, "gtol": 1e-4}
"""Of L-BFGS. Ten noisy points do not tell hyperparameters apart any further, and each evaluation costs milliseconds."""


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A Gaussian process over (x, stage) that predicts standardised losses.

    Attributes:
        model: Predicts the **negative** loss: BoTorch maximises.
        status: ``fitted``; ``prior``: too few points; ``failed``: no optimum was found. The last two keep the prior
            medians of the hyperparameters.
        detail: What the fit said when it failed.
    """

    model: SingleTaskGP
    status: FitStatus
    detail: str = ""

    def posterior(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance (n,) of the standardised loss, without noise, at ``points`` (n, 2)."""
        with torch.no_grad(), quiet():
            posterior = self.model.posterior(torch.as_tensor(points, dtype=torch.float64))
            mean, variance = -posterior.mean.squeeze(-1), posterior.variance.squeeze(-1)
        return mean.numpy(), variance.clamp_min(0.0).numpy()

    def hyperparameters(self) -> dict[str, float]:
        """Return the values of the kernel, by name."""
        kernel = self.model.covar_module
        return {name: float(kernel.value(name).detach()) for name in HYPERPARAMETERS}


def fit(data: TrainingSet, *, seed: int = 0) -> Surrogate:
    """Fit a surrogate by maximum a posteriori; never raises on finite data.

    Args:
        data: At least one point; standardised, as :func:`training_set` returns it.
        seed: Of the restarts that a failing fit draws.
    """
    model = _model(data)
    if data.losses.size < FEWEST_FITTED:
        model.eval()
        return Surrogate(model, "prior")
    try:
        with quiet(), seeded(seed):
            likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
            fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": _TOLERANCES})
    except (ModelFittingError, NotPSDError, NanError) as error:
        untouched = _model(data)
        untouched.eval()
        return Surrogate(untouched, "failed", f"{type(error).__name__}: {error}")
    return Surrogate(model, "fitted")


def _model(data: TrainingSet) -> SingleTaskGP:
    """Return the model at the prior medians. Data are standardised already, so BoTorch's own transform is off."""

    def column(values: FloatArray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64).unsqueeze(-1)

    with quiet():
        return SingleTaskGP(
            torch.as_tensor(data.points, dtype=torch.float64),
            -column(data.losses),
            column(data.variances),
            covar_module=StageKernel(),
            mean_module=ZeroMean(),
            outcome_transform=None,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings on scaling and numerics that are expected at these sizes; errors still rise."""
    with warnings.catch_warnings(), validate_input_scaling(False):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """With torch's CPU generator seeded inside, and left as it was outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
