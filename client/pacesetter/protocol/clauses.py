"""Stop clauses: what ends a segment before its length. The client judges them by itself, at once.

The last three are scale free: what they compare with comes from the run itself, so they need no bound in advance.
"""

from typing import Annotated, Literal

from pydantic import Field

from pacesetter.protocol.base import Incoming


class StopIfNonFinite(Incoming):
    """Stop at the first NaN or infinite loss."""

    rule: Literal["non_finite"] = "non_finite"


class StopIfAboveFirst(Incoming):
    """Stop once the loss exceeds ``ratio`` times the first finite loss of the segment."""

    rule: Literal["above_first"] = "above_first"
    ratio: float = Field(gt=1.0, allow_inf_nan=False)


class StopIfAverageAbove(Incoming):
    """Stop once the exponential moving average of the loss (``decay`` a step) exceeds ``bound``."""

    rule: Literal["average_above"] = "average_above"
    bound: float = Field(allow_inf_nan=False)
    decay: float = Field(default=0.9, ge=0.0, lt=1.0)


class StopIfLossSpikes(Incoming):
    """Stop once three in four of the ``recent`` losses stand far above the level of the main line before them.

    Far is the largest of three rises: a share ``of_level`` of the level, a share ``of_progress`` of what the training
    has gained since its first losses, and ``spreads`` mean absolute deviations of a single batch. Judged on losses
    that are never negative: a loss that may be has no scale to rise on.
    """

    rule: Literal["loss_spike"] = "loss_spike"
    of_level: float = Field(default=0.5, gt=0.0, allow_inf_nan=False)
    of_progress: float = Field(default=0.15, ge=0.0, allow_inf_nan=False)
    spreads: float = Field(default=8.0, gt=0.0, allow_inf_nan=False)
    recent: int = Field(default=9, ge=1, le=1000)


class StopIfProgressLost(Incoming):
    """Stop once the average loss (``decay`` a step) has lost what was gained, however slowly it went.

    That is above ``of_first`` times the first losses, or, where the best average was below 0.7 of them, more than a
    share ``of_progress`` of the way back up. Judged on losses that are never negative.
    """

    rule: Literal["progress_lost"] = "progress_lost"
    of_first: float = Field(default=2.0, gt=1.0, allow_inf_nan=False)
    of_progress: float = Field(default=0.5, gt=0.0, allow_inf_nan=False)
    decay: float = Field(default=0.9, ge=0.0, lt=1.0)


class StopIfGradientSpikes(Incoming):
    """Stop once three in four of the ``recent`` gradient norms are ``ratio`` times what was usual.

    Only where the job reports norms.
    """

    rule: Literal["gradient_spike"] = "gradient_spike"
    ratio: float = Field(default=10.0, gt=1.0, allow_inf_nan=False)
    spreads: float = Field(default=6.0, gt=0.0, allow_inf_nan=False)
    """The same in mean absolute deviations of the norm's logarithm; the larger of the two counts."""
    recent: int = Field(default=9, ge=1, le=1000)


StopClause = Annotated[
    StopIfNonFinite
    | StopIfAboveFirst
    | StopIfAverageAbove
    | StopIfLossSpikes
    | StopIfProgressLost
    | StopIfGradientSpikes,
    Field(discriminator="rule"),
]
