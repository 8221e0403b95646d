"""What a user of ``refinement`` may set."""

from typing import Annotated, Literal

from pacesetter.schedules.refinement import FEWEST
from pydantic import Field

from pacesetter_search.contract import Parameters

MOST_NORMS = 10_000
Norm = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class RefinementParameters(Parameters):
    """What a user may set."""

    share: float = Field(default=1 / 16, gt=0.0, le=0.25)
    """Length of each of the two short runs, as a share of the budget."""
    norms: Annotated[tuple[Norm, ...], Field(min_length=FEWEST, max_length=MOST_NORMS)] | None = (
        None
    )
    """Gradient norms of an earlier run of this job, in order: l2 under SGD, l1 under Adam. Else a short run's."""
    optimizer: Literal["auto", "sgd", "adam"] = "auto"
    """Which norm counts. ``auto`` reads it off the names of the job's optimizers."""
    trust: bool = False
    """Take the schedule of ``norms`` without comparing it."""
    tau: float = Field(default=0.1, ge=0.0, le=1.0)
    """Width of the median filter, as a share of the measured run; .1 as published."""
    weight_range: float = Field(default=100.0, ge=1.0, allow_inf_nan=False)
    """Most that one weight may exceed another; 4 on small convex tasks."""
