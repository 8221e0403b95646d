"""The worker: claims proxy trials over HTTP and runs them. What the code of a trial needs is here."""

from pacesetter_workers.errors import TrialCancelled
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.running import RunningTrial

__all__ = ["Outcome", "RunningTrial", "TrialCancelled"]
