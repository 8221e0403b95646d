"""Where trials run: in this process, in processes of this machine, or on Ray."""

from pacesetter_workers.executors.base import (
    Alive,
    Ended,
    Event,
    Executor,
    Handle,
    Reported,
    Started,
)

__all__ = ["Alive", "Ended", "Event", "Executor", "Handle", "Reported", "Started"]
