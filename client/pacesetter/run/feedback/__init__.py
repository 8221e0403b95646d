"""Feedback rules at work: one regulator a rule."""

from pacesetter.run.feedback.base import Regulator
from pacesetter.run.feedback.regulation import Regulation

__all__ = ["Regulation", "Regulator"]
