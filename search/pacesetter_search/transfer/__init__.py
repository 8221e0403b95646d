"""The best peak learning rate at a size, a token budget and a batch: by published laws, measured optima, and both."""

from pacesetter_search.transfer.hinge import hinge_peak
from pacesetter_search.transfer.peak import PeakModel, PeakPrediction
from pacesetter_search.transfer.places import Optimum
from pacesetter_search.transfer.published import LAWS, PublishedLaw
from pacesetter_search.transfer.sweeps import Trial, best_peak

__all__ = [
    "LAWS",
    "Optimum",
    "PeakModel",
    "PeakPrediction",
    "PublishedLaw",
    "Trial",
    "best_peak",
    "hinge_peak",
]
