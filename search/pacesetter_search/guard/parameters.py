"""What users may set of the guard."""

from pydantic import Field

from pacesetter_search.contract import Parameters


class GuardParameters(Parameters):
    """Parameters of the guard, given as the strategy parameter ``guard``; ``false`` there switches it off."""

    loss_spikes: bool = True
    """Whether losses that jump up, or that lose what was gained, stop the main line. Never in regime ``rl``."""
    gradient_spikes: bool = True
    """Whether gradient norms of another order of magnitude do, where the job reports norms."""
    interventions: int = Field(default=6, ge=0, le=100)
    """Most interventions in a job [the breaker of the zero-tuning pilot]; after them nothing is watched any more."""
    snapshots: int | None = Field(default=None, ge=1)
    """Clock units between two rolling snapshots. None: a fiftieth of the budget, in steps at least 64 where that is no
    more than a twentieth."""
    dip: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Factor on the learning rate at the bottom of a temporary dip."""
    cut: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Factor of each lasting cut."""
