"""What users may set of ``autolrs``."""

from typing import Literal

from pydantic import Field, model_validator

from pacesetter_search.contract import Parameters

PUBLISHED_FIRST_STAGE = 1000
LARGEST_STAGE = 8
"""Stages double from the first up to this many times its length: 1000, 2000, 4000, 8000, 8000, ..."""

PROBES_A_STAGE = 10
"""A probe is a tenth of its stage, and a stage takes ten of them."""


class AutoLRSParameters(Parameters):
    """Parameters of ``autolrs``. The defaults are those of the published code where it has them [Jin2021]."""

    objective: Literal["stage"] = "stage"
    """What a rate is scored by: the loss forecast at the end of the stage it would be used for."""
    min_multiplier: float = Field(default=0.01, gt=0)
    max_multiplier: float = Field(default=10.0, gt=0)
    """Range of the search, as multiples of each group's base rate. The job's limits narrow it."""
    lr_min: float | None = Field(default=None, gt=0)
    lr_max: float | None = Field(default=None, gt=0)
    """The same as absolute rates of the job's first parameter group; they replace the multipliers."""
    candidates: int = Field(default=PROBES_A_STAGE, ge=1, le=100)
    """Rates tried per stage, the one in use among them."""
    first_stage: int | None = Field(default=None, gt=0)
    """Length of the first stage in the job's clock.

    None: 1000 steps where four stages fit, else a share of the budget.
    """
    min_probe: int | None = Field(default=None, gt=0)
    """Shortest probe in the job's clock. None: 10 steps, or 1/5000 of a budget in tokens."""
    validate_from_stage: int | None = Field(default=3, ge=0)
    """Index of the first stage judged by validation loss, if the job can validate; None: never.

    3 is the stage that reaches the full length (8000 steps as published).
    """
    acquisition: Literal["log_nei", "lcb"] = "log_nei"
    kappa: float = Field(default=1000.0, gt=0)
    """Of ``lcb``. 1000 in the paper, 1e6 in its code."""
    stop_ratio: float | None = Field(default=4.0, gt=1)
    """A probe whose average loss exceeds the main line's this many times, and its noise, has diverged.

    None: only non-finite losses count.
    """

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> "AutoLRSParameters":
        if self.min_multiplier >= self.max_multiplier:
            raise ValueError(
                f"min_multiplier {self.min_multiplier:g} is not below max_multiplier {self.max_multiplier:g}"
            )
        if self.lr_min is not None and self.lr_max is not None and self.lr_min >= self.lr_max:
            raise ValueError(f"lr_min {self.lr_min:g} is not below lr_max {self.lr_max:g}")
        return self
