"""What users may set of the horizon objective."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pacesetter_search.contract import Parameters

Share = Annotated[float, Field(gt=0.0, lt=0.9)]


class HorizonParameters(Parameters):
    """Parameters of ``autolrs`` with ``objective="horizon"``."""

    objective: Literal["horizon"] = "horizon"
    span: float = Field(default=2.0, gt=1.0, le=16.0)
    """The schedule stays between 1/span and span times the base schedule. The job's limits narrow it."""
    lr_uncertainty: float = Field(default=0.5, gt=0.0, le=5.0)
    """Standard deviation, in octaves, of what you believe the best rate to be around yours.

    .5 is a rate that was tuned on a grid of factors of two. With a rate taken from another model say 1 or 1.5: the
    search then has more to win, and spends more.
    """
    choose_shape: Literal["auto", "never", "always"] = "auto"
    """Whether the decay may become another family's. ``auto``: where the base schedule is the client's default."""
    decide_at: tuple[Share, ...] = Field(default=(0.1, 0.3, 0.5), min_length=1, max_length=10)
    """Shares of the budget at which the strategy looks whether a change is worth probing for."""
    probes: int = Field(default=2, ge=1, le=6)
    """Most probes at one of these positions."""
    probe_share: float = Field(default=0.01, gt=0.0, le=0.1)
    """Length of a probe as a share of the budget; never below 20 steps."""
    keep_share: float = Field(default=0.03, ge=0.0, le=1.0)
    """What may be spent, as a share of the budget, before anything was found worth changing."""
    win_probability: float = Field(default=0.9, gt=0.5, lt=1.0)
    """How likely a win has to be for the schedule to change."""
    stop_ratio: float = Field(default=2.0, gt=1.0)
    """A probe whose average loss exceeds the main line's this many times, and its noise, has lost."""

    @field_validator("decide_at")
    @classmethod
    def _in_order(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"decide_at {value} does not rise; sort the shares, each one once")
        return value
