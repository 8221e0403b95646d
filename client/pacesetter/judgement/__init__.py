"""Judges a segment against what the training code allows and what the job can do: refuse, never clamp.

The client judges every segment when it arrives, whoever sent it, and the service may judge with the same function
before it sends one.
"""

from pacesetter.judgement.case import Refusal
from pacesetter.judgement.check import check_segment
from pacesetter.judgement.multipliers import highest_multiplier
from pacesetter.judgement.permissions import check_budget

__all__ = ["Refusal", "check_budget", "check_segment", "highest_multiplier"]
