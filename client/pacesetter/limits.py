"""Limits: what the training code allows, whoever sent the segment."""

from pydantic import BaseModel, ConfigDict, Field

TRUSTED_ABOVE_PEAK = ("zero_tuning", "law", "person")
"""Origins that may go above the base peak where no ``max_multiplier`` is set."""


class Limits(BaseModel):
    """Bounds set by the training code and enforced by the client.

    A segment is judged as a whole when it arrives: refused, never clamped. The warm-up of the base schedule is exempt
    from ``min_multiplier`` and ``max_change_per_step``. Multipliers are of each group's base learning rate.
    The judge is :func:`pacesetter.judgement.check_segment`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_multiplier: float | None = Field(default=None, gt=0)
    """None: the peak of the base schedule (1 as a rule), and no bound for ``zero_tuning``, ``law`` and a person."""
    min_multiplier: float = Field(default=0.0, ge=0)
    """Lowest multiplier of a main segment up to the last step of the budget; a decay to zero needs 0."""
    max_change_per_step: float | None = Field(default=None, gt=1.0)
    """Largest ratio between the multipliers of two consecutive main-line steps, up or down; None: any.

    Below 5 % of the base peak a multiplier counts as 5 %, so that a decay may end at zero.
    """
    probe_max_multiplier: float | None = Field(default=None, gt=0)
    """Same as ``max_multiplier`` when None."""
    max_probe_length: int | None = Field(default=None, gt=0)
    """Longest probe, in the job's clock."""
    allow_probes: bool = True
    allow_rollback: bool = True
    """Whether a main segment may start from a checkpoint instead of the current state."""
    allow_shorter_main: bool = False
    """Whether the main line may end before the budget that the training code gave."""
    max_budget: int | None = Field(default=None, gt=0)
    """Largest budget that anybody else may set while the job runs, in its clock; None: the one that the training code
    gave, so that nobody makes a run longer."""
