"""What every feedback rule states: its bounds, which the limits of the training code are compared with."""

from abc import ABC

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Feedback(BaseModel, ABC):
    """A named rule that runs on the client and multiplies the segment's schedule.

    The learning rate of a group is ``base_lr x policy(position) x multiplier``. The rule moves the multiplier from what
    it sees at each optimizer step, within the bounds that are stated here; the schedule stays defined to the end of the
    budget, so a job that hears nothing more goes on as ever.

    A subclass lives in a file of its own, declares ``rule: Literal["its_name"] = "its_name"`` with its parameters, is
    added to the union in ``rules.py``, and has its regulator in ``pacesetter/run/feedback``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lowest: float = Field(default=0.1, gt=0.0)
    """Least multiplier."""
    highest: float = Field(default=1.0, gt=0.0)
    """Greatest multiplier. Above 1 it takes a limit that allows more than the schedule."""
    start: float = Field(default=1.0, gt=0.0)
    """Multiplier of the first step."""
    max_change_per_step: float = Field(default=1.1, gt=1.0)
    """Largest ratio of two consecutive multipliers, up or down."""

    @model_validator(mode="after")
    def _start_lies_within(self) -> "Feedback":
        if not self.lowest <= self.start <= self.highest:
            raise ValueError(
                f"start {self.start:g} is not within lowest {self.lowest:g} and highest {self.highest:g}"
            )
        return self

    def within(self, wanted: float, last: float) -> float:
        """Return ``wanted`` moved into the bounds, and to within one step's change of ``last``."""
        low, high = last / self.max_change_per_step, last * self.max_change_per_step
        return min(max(wanted, low, self.lowest), high, self.highest)
