"""What users may set of ``law``."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pacesetter_search.contract import Parameters

Share = Annotated[float, Field(gt=0.0, lt=0.95)]


class LawParameters(Parameters):
    """Parameters of ``law``."""

    decide_at: tuple[Share, ...] = Field(default=(0.3, 0.5, 0.7), min_length=1, max_length=10)
    """Shares of the budget at which the rest of the schedule is planned anew."""
    win_probability: float = Field(default=0.9, gt=0.5, lt=1.0)
    """How likely a win has to be for the schedule to change."""
    choose_shape: Literal["auto", "never", "always"] = "auto"
    """Whether the rest may take another shape than the base schedule. ``auto``: where nobody chose that."""

    @field_validator("decide_at")
    @classmethod
    def _in_order(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"decide_at {value} does not rise; sort the shares, each one once")
        return value
