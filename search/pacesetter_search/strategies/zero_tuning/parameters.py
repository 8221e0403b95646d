"""What users may set of ``zero_tuning``."""

from typing import Literal

from pydantic import Field

from pacesetter_search.contract import Parameters


class ZeroTuningParameters(Parameters):
    """Parameters of ``zero_tuning``."""

    trust: float = Field(default=0.5, ge=0.0, le=1.0)
    """Probability that the learning rate given is meant: 0 ignores it, 1 looks around it only. A rate that is torch's
    default for its optimizer is never trusted, because nobody chose it."""
    trust_octaves: float = Field(default=1.0, gt=0.0, le=8.0)
    """How far the best rate lies from the given one, if it is meant. Small with full trust, nothing is probed."""
    remember: bool = True
    """Whether what other jobs of the project found counts."""
    margin: float = Field(default=1.0, gt=0.0)
    """Times its cost that a probe must be expected to gain; above 1 buys less."""
    overfitting_guard: bool = True
    """Whether a main line that sees its data again is watched, and taken back to its best state where it overfits."""
    stop_early: bool = True
    """Whether the job then ends, where the limits allow a shorter main line; else it goes on at almost no rate."""
    then: Literal["schedule", "horizon"] = "schedule"
    """What follows once the main line runs: the chosen schedule to its end, or the horizon objective of ``autolrs``
    around it. A main line that is watched for overfitting is not handed over."""
