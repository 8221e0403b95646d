"""A person's say over a job."""

from pacesetter_service.overrides.schemas import (
    ApproveProposal,
    BackToStrategy,
    BranchOff,
    DecayNow,
    Override,
    RejectProposal,
    SetBudget,
    SetLearningRate,
    SetMultiplier,
    SetSchedule,
    Steering,
)

__all__ = [
    "ApproveProposal",
    "BackToStrategy",
    "BranchOff",
    "DecayNow",
    "Override",
    "RejectProposal",
    "SetBudget",
    "SetLearningRate",
    "SetMultiplier",
    "SetSchedule",
    "Steering",
]
