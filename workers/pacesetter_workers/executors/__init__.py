"""Where trials run: in this process, in processes of this machine, or on Ray."""

from pacesetter_workers.executors.base import Ended, Event, Executor, Handle, Reported, Started

__all__ = ["Ended", "Event", "Executor", "Handle", "Reported", "Started"]
