"""Laws: fitted functions from a schedule to the loss it reaches, with an uncertainty. NumPy and SciPy only."""

from pacesetter_search.laws.across_peaks import AcrossPeaksLaw, FittedAcrossPeaks
from pacesetter_search.laws.annealing import AnnealingLaw, FittedAnnealing
from pacesetter_search.laws.any import AnyFittedLaw, parse_law
from pacesetter_search.laws.base import FittedLaw, Hull, Law, LawNotFitted, Prediction
from pacesetter_search.laws.baseline import BaselineLaw, FittedBaseline
from pacesetter_search.laws.convex import ConvexBoundLaw, FittedConvexBound
from pacesetter_search.laws.curves import Curve
from pacesetter_search.laws.ensemble import EnsembleLaw, FittedEnsemble
from pacesetter_search.laws.functional import FittedFunctional, FunctionalScalingLaw
from pacesetter_search.laws.multi_power import FittedMultiPower, MultiPowerLaw
from pacesetter_search.laws.published import step_law_peak
from pacesetter_search.laws.scaling import FinalLoss, FittedSizeToken, SizeTokenLaw
from pacesetter_search.laws.spectral import FittedSpectrum, SpectralLaw

__all__ = [
    "AcrossPeaksLaw",
    "AnnealingLaw",
    "AnyFittedLaw",
    "BaselineLaw",
    "ConvexBoundLaw",
    "Curve",
    "EnsembleLaw",
    "FinalLoss",
    "FittedAcrossPeaks",
    "FittedAnnealing",
    "FittedBaseline",
    "FittedConvexBound",
    "FittedEnsemble",
    "FittedFunctional",
    "FittedLaw",
    "FittedMultiPower",
    "FittedSizeToken",
    "FittedSpectrum",
    "FunctionalScalingLaw",
    "Hull",
    "Law",
    "LawNotFitted",
    "MultiPowerLaw",
    "Prediction",
    "SizeTokenLaw",
    "SpectralLaw",
    "parse_law",
    "step_law_peak",
]
