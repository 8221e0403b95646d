"""What a person (or a script) may ask of a job in place of its strategy."""

from typing import Annotated, Literal

from pacesetter.protocol import Message, Name
from pacesetter.schedules import Schedule
from pacesetter.schedules.cooldowns import CooldownShape
from pacesetter.schedules.schedule import EXACT
from pydantic import Field

Controls = Literal["all"] | Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)]
"""Control sets of the parameter groups that are driven; the others go on as before."""


class OverrideBase(Message):
    """Who asks, and why: both go into the audit trail."""

    by: str = Field(default="person", min_length=1, max_length=200)
    reason: str = Field(default="", max_length=1000)


class ApproveProposal(OverrideBase):
    """Send the proposal ``seq`` to the job."""

    kind: Literal["approve"] = "approve"
    seq: int = Field(ge=1)


class RejectProposal(OverrideBase):
    """Turn down the proposal ``seq``, and what was to follow it; the strategy is told, so the next one may come."""

    kind: Literal["reject"] = "reject"
    seq: int = Field(ge=1)


class SetMultiplier(OverrideBase):
    """Hold this multiplier of each group's base learning rate, from now to the end of the budget."""

    kind: Literal["multiplier"] = "multiplier"
    multiplier: float = Field(ge=0, allow_inf_nan=False)


class SetLearningRate(OverrideBase):
    """Hold this learning rate, the same for every group driven, from now to the end of the budget."""

    kind: Literal["lr"] = "lr"
    lr: float = Field(ge=0, allow_inf_nan=False)
    controls: Controls = "all"


class SetSchedule(OverrideBase):
    """Follow this schedule from now to the end of the budget; its zero is a position of the main line."""

    kind: Literal["schedule"] = "schedule"
    schedule: Schedule
    controls: Controls = "all"


class DecayNow(OverrideBase):
    """Decay linearly to ``floor`` times the present multiplier over ``over`` clock units, from now."""

    kind: Literal["decay"] = "decay"
    over: int = Field(gt=0)
    floor: float = Field(default=0.0, ge=0, le=1)


class BranchOff(OverrideBase):
    """Decay over ``over`` clock units beside the main line, hand the decayed model over, and go on as before.

    The main line then follows what it followed, as the person's, until the job is handed back.
    """

    kind: Literal["branch"] = "branch"
    over: int = Field(gt=0)
    shape: CooldownShape = "sqrt"
    floor: float = Field(default=0.0, ge=0, le=1)


class SetBudget(OverrideBase):
    """Let the main line end at ``total`` instead: extended, or cut short."""

    kind: Literal["budget"] = "budget"
    total: int = Field(gt=0, le=EXACT)


class BackToStrategy(OverrideBase):
    """Hand the job back to its strategy."""

    kind: Literal["strategy"] = "strategy"


Steering = SetMultiplier | SetLearningRate | SetSchedule | DecayNow | BranchOff
"""What takes the job over from its strategy."""

Override = Annotated[
    ApproveProposal
    | RejectProposal
    | SetMultiplier
    | SetLearningRate
    | SetSchedule
    | DecayNow
    | BranchOff
    | SetBudget
    | BackToStrategy,
    Field(discriminator="kind"),
]
