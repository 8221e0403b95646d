"""A person's say over a job."""

from pacesetter_service.overrides.schemas import (
    ApproveProposal,
    BackToStrategy,
    DecayNow,
    Override,
    RejectProposal,
    SetLearningRate,
    SetMultiplier,
    SetSchedule,
    Steering,
)

__all__ = [
    "ApproveProposal",
    "BackToStrategy",
    "DecayNow",
    "Override",
    "RejectProposal",
    "SetLearningRate",
    "SetMultiplier",
    "SetSchedule",
    "Steering",
]
