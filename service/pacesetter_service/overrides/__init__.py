"""A person's say over a job."""

from pacesetter_service.overrides.schemas import (
    ApproveProposal,
    BackToStrategy,
    DecayNow,
    Override,
    SetMultiplier,
)

__all__ = ["ApproveProposal", "BackToStrategy", "DecayNow", "Override", "SetMultiplier"]
