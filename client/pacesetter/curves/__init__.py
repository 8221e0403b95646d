"""Recorded loss curves: read from the files that trainers and trackers leave, made short, and checked."""

from pacesetter.curves.averaging import MOST_POINTS, averaged
from pacesetter.curves.columns import Wanted
from pacesetter.curves.points import Points
from pacesetter.curves.reading import Recording, read_curve

__all__ = ["MOST_POINTS", "Points", "Recording", "Wanted", "averaged", "read_curve"]
