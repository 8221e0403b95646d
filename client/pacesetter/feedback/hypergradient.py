"""Hypergradient descent: the learning rate follows the gradient of the loss with respect to itself."""

from typing import Literal

from pydantic import Field

from pacesetter.feedback.base import Feedback


class Hypergradient(Feedback):
    """Moves the rate by the dot product of this step's gradient with the last step's direction.

    [Baydin2018, arXiv 1703.04782]

    With ``u`` the direction that was really applied at the step before (momentum and preconditioner included) and ``h =
    g . u`` over all tensors at once, before the update:

    * ``additive``: ``alpha += beta h``, the published form; ``beta`` has the unit of a learning rate over that of
      ``h``, so it depends on the scale of the loss (published: 1e-3 for SGD, 1e-7 to 1e-8 for Adam).
    * ``multiplicative``: ``alpha *= 1 + beta cos(g, u)``, free of scale.
    * ``hdm``: ``h`` is divided by ``|u|^2``, and ``beta`` by the root of its summed squares (AdaGrad), so the steps
      shrink; in units of the base rate [Chu2025, arXiv 2502.11229; scalar form]. Its null step evaluates the loss once
      more, which a training loop does not offer: going back where the loss rises stands for it.

    It settles at the greedy optimum of a single step, below what a decaying schedule wants: it finds a base rate, and
    does not anneal. Where the smoothed loss rises it goes back to the last multiplier that was good, halved, and
    halves ``beta``.
    """

    rule: Literal["hypergradient"] = "hypergradient"
    form: Literal["additive", "multiplicative", "hdm"] = "multiplicative"
    beta: float = Field(default=0.02, gt=0.0)
    rise: float = Field(default=1.5, gt=1.0)
    """The smoothed loss has risen once it stands so many times its least; losses that are not above zero never do."""
