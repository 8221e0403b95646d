"""The covariance of one job's learning-rate responses over its life."""

import math

import torch
from gpytorch.constraints import Interval
from gpytorch.kernels import Kernel
from gpytorch.priors import LogNormalPrior
from torch import Tensor

HYPERPARAMETERS = ("x_scale", "stage_scale", "variance")

OFFSET_VARIANCE = 1.0
"""Prior variance of a stage's own level, in units of the standardised losses."""

# In the order of HYPERPARAMETERS. Medians: a bump a third of the range wide, correlation .7 between neighbours.
_MEDIANS = (0.3, 3.0, 1.0)
_SPREADS = (0.7, 1.0, 1.0)
_BOUNDS = ((0.03, 0.1, 0.01), (10.0, 100.0, 100.0))


class StageKernel(Kernel):  # type: ignore[misc]  # gpytorch has no types
    r"""Matern-5/2 on the learning rate, exponential decay over stages, and a level of its own for each stage.

    .. math::
        k((x, s), (x', s')) = v \, M_{5/2}(|x - x'| / l) \, e^{-|s - s'| / t} + o \, [s = s']

    ``x`` is log learning rate scaled to [0, 1], ``s`` the index of the stage. The decay over stages is PB2's
    :math:`(1 - \epsilon)^{|s - s'| / 2}` [ParkerHolder2020] with :math:`t = -2 / \ln(1 - \epsilon)`. The level absorbs
    that losses fall from stage to stage, which says nothing about where the best rate is. One closed form instead of
    a sum of library kernels: the fit is two to three times as fast.
    """

    has_lengthscale = False
    raw_scales: torch.nn.Parameter

    def __init__(self) -> None:
        super().__init__()
        # All three in one vector: one transform and one prior an evaluation of the fit, which both cost as much as
        # the algebra at these sizes.
        medians = torch.tensor(_MEDIANS, dtype=torch.float64)
        bounds = Interval(*(torch.tensor(side, dtype=torch.float64) for side in _BOUNDS))
        prior = LogNormalPrior(medians.log(), torch.tensor(_SPREADS, dtype=torch.float64))
        start = torch.nn.Parameter(bounds.inverse_transform(medians))
        self.register_parameter("raw_scales", start)
        self.register_constraint("raw_scales", bounds)
        self.register_prior("scales_prior", prior, _scales, _set_scales)

    def value(self, name: str) -> Tensor:
        """Return the hyperparameter ``x_scale``, ``stage_scale`` or ``variance``."""
        return _scales(self)[HYPERPARAMETERS.index(name)]

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **_: object) -> Tensor:
        """Return the covariance, (..., n1, n2), of points (..., n1, 2) and (..., n2, 2); its diagonal if ``diag``."""
        x_scale, stage_scale, variance = _scales(self).unbind()
        if diag:
            return (variance + OFFSET_VARIANCE).expand(x1.shape[:-1])
        distance = (x1[..., :, None, 0] - x2[..., None, :, 0]).abs()
        stages = (x1[..., :, None, 1] - x2[..., None, :, 1]).abs()
        scaled = math.sqrt(5.0) * distance / x_scale
        matern = (1.0 + scaled + scaled.square() / 3.0) * torch.exp(-scaled)
        decay = torch.exp(-stages / stage_scale)
        return variance * matern * decay + OFFSET_VARIANCE * (stages < 0.5)


def _scales(kernel: StageKernel) -> Tensor:
    """Return the hyperparameters (3,)."""
    result: Tensor = kernel.raw_scales_constraint.transform(kernel.raw_scales)
    return result


def _set_scales(kernel: StageKernel, values: Tensor) -> None:
    """Set the hyperparameters (3,): what BoTorch calls when a failing fit restarts from a draw of the prior."""
    kernel.initialize(raw_scales=kernel.raw_scales_constraint.inverse_transform(values))
