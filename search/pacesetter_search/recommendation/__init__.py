"""What to run: a peak with its interval, batch, weight decay, warm-up, schedule and loss, and what they rest on."""

from pacesetter.protocol import (
    Alternative,
    Evidence,
    ExpectedLoss,
    Recommendation,
    Source,
    Study,
    Sweep,
    SweptRun,
)

from pacesetter_search.laws.scaling import FinalLoss
from pacesetter_search.recommendation.answer import recommend
from pacesetter_search.recommendation.known import (
    FitLosses,
    FittedLosses,
    KnownCurve,
    KnownLaw,
)
from pacesetter_search.recommendation.target import ImpossibleTarget, Query, Target

__all__ = [
    "Alternative",
    "Evidence",
    "ExpectedLoss",
    "FinalLoss",
    "FitLosses",
    "FittedLosses",
    "ImpossibleTarget",
    "KnownCurve",
    "KnownLaw",
    "Query",
    "Recommendation",
    "Source",
    "Study",
    "Sweep",
    "SweptRun",
    "Target",
    "recommend",
]
