"""Limits: what the training code allows, whoever sent the segment."""

from pydantic import BaseModel, ConfigDict, Field

TRUSTED_ABOVE_PEAK = ("zero_tuning", "law", "person")
"""Origins that may go above the base peak where no ``max_multiplier`` is set."""


class Limits(BaseModel):
    """Bounds set by the training code and enforced by the client.

    A segment is judged as a whole when it arrives: refused, never clamped. The warm-up of the base schedule is exempt
    from ``min_multiplier`` and ``max_change_per_step``. Multipliers are of each group's base learning rate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_multiplier: float | None = Field(default=None, gt=0)
    """None: 1 (the base peak), and no bound for ``zero_tuning``, ``law`` and a person."""
    min_multiplier: float = Field(default=0.0, ge=0)
    """Lowest multiplier of a main segment, its final decay to zero excepted by setting this to 0."""
    max_change_per_step: float | None = Field(default=None, gt=1.0)
    """Largest ratio between the multipliers of two consecutive main-line steps, up or down; None: any."""
    probe_max_multiplier: float | None = Field(default=None, gt=0)
    """Same as ``max_multiplier`` when None."""
    max_probe_length: int | None = Field(default=None, gt=0)
    """Longest probe, in the job's clock."""
    allow_probes: bool = True
    allow_rollback: bool = True
    """Whether a main segment may start from a checkpoint instead of the current state."""
    allow_shorter_main: bool = False
    """Whether the main line may end before the budget."""
