"""Feedback rules: what moves the learning rate on the client, step by step, on top of a schedule. Values only."""

from pacesetter.feedback.base import Feedback
from pacesetter.feedback.hypergradient import Hypergradient
from pacesetter.feedback.rules import KNOWN_RULES, AnyFeedback
from pacesetter.feedback.snr import SignalToNoise

__all__ = ["KNOWN_RULES", "AnyFeedback", "Feedback", "Hypergradient", "SignalToNoise"]
