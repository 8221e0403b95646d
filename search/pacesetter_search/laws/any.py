"""Any fitted law, read back from its JSON by its ``kind``."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from pacesetter_search.laws.across_peaks import FittedAcrossPeaks
from pacesetter_search.laws.annealing import FittedAnnealing
from pacesetter_search.laws.baseline import FittedBaseline
from pacesetter_search.laws.convex import FittedConvexBound
from pacesetter_search.laws.ensemble import FittedEnsemble
from pacesetter_search.laws.functional import FittedFunctional
from pacesetter_search.laws.multi_power import FittedMultiPower
from pacesetter_search.laws.spectral import FittedSpectrum

AnyFittedLaw = Annotated[
    FittedAcrossPeaks
    | FittedAnnealing
    | FittedBaseline
    | FittedConvexBound
    | FittedEnsemble
    | FittedFunctional
    | FittedMultiPower
    | FittedSpectrum,
    Field(discriminator="kind"),
]

_ANY: TypeAdapter[AnyFittedLaw] = TypeAdapter(AnyFittedLaw)


def parse_law(document: str | bytes) -> AnyFittedLaw:
    """Return the law that ``law.model_dump_json()`` wrote; it predicts the same, bit for bit.

    Raises:
        pydantic.ValidationError: The document is no law that this version knows.
    """
    return _ANY.validate_json(document)
