"""What a person (or a script) may ask of a job in place of its strategy."""

from typing import Annotated, Literal

from pacesetter.protocol import Message
from pydantic import Field


class OverrideBase(Message):
    """Who asks, and why: both go into the audit trail."""

    by: str = Field(default="person", min_length=1, max_length=200)
    reason: str = Field(default="", max_length=1000)


class ApproveProposal(OverrideBase):
    """Send the proposal ``seq`` to the job."""

    kind: Literal["approve"] = "approve"
    seq: int = Field(ge=1)


class SetMultiplier(OverrideBase):
    """Hold this multiplier of each group's base learning rate, from now to the end of the budget."""

    kind: Literal["multiplier"] = "multiplier"
    multiplier: float = Field(ge=0, allow_inf_nan=False)


class DecayNow(OverrideBase):
    """Decay linearly to ``floor`` times the present multiplier over ``over`` clock units, from now."""

    kind: Literal["decay"] = "decay"
    over: int = Field(gt=0)
    floor: float = Field(default=0.0, ge=0, le=1)


class BackToStrategy(OverrideBase):
    """Hand the job back to its strategy."""

    kind: Literal["strategy"] = "strategy"


Override = Annotated[
    ApproveProposal | SetMultiplier | DecayNow | BackToStrategy, Field(discriminator="kind")
]
