"""The learning rate follows the signal-to-noise ratio of the gradient."""

from typing import Literal

from pydantic import Field

from pacesetter.feedback.base import Feedback


class SignalToNoise(Feedback):
    """Lowers the rate where the gradient of a batch becomes noise.

    SNR-governed: the principle of OBLR-PO [Huang2025, arXiv 2511.23310], not its exact rate, whose formula was not
    available. For an L-smooth loss one step gains most at ``(1 / L) SNR / (1 + SNR)`` with ``SNR = |G|^2 / (tr(Sigma)
    / B)``, so::

        m = |G|^2 / (|G|^2 + tr(Sigma) / B)

    from running means of both moments [McCandlish2018, arXiv 1812.06162]. The signal falls during training, so it
    anneals about as ``|G|^2`` does: a schedule on top stays in charge of the end. Needs two micro-batches or ranks a
    step; without them the multiplier stays where it is.
    """

    rule: Literal["snr"] = "snr"
    horizon: float = Field(default=100.0, ge=10.0)
    """Steps that count in the running means, about. The multiplier stays at ``start`` for so many first."""
    relative: bool = True
    """Whether ``m`` counts as a share of what it was then, with ``start`` as the multiplier there. False: ``m`` is the
    multiplier, and the base rate that of an endless batch."""
