"""The guard: what brings a main line back from non-finite losses, spikes and lost progress, under every strategy."""

from pacesetter_search.guard.guarded import Guarded
from pacesetter_search.guard.parameters import GuardParameters

__all__ = ["GuardParameters", "Guarded"]
