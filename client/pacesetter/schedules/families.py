"""All families, as one discriminated union. A new family is one file, and one name here."""

from typing import Annotated, get_args

from pydantic import Field

from pacesetter.schedules.constant import Constant
from pacesetter.schedules.cosine import Cosine
from pacesetter.schedules.inverse_sqrt import InverseSqrt
from pacesetter.schedules.joined import Joined
from pacesetter.schedules.linear import Linear
from pacesetter.schedules.polynomial import Polynomial
from pacesetter.schedules.step import Step
from pacesetter.schedules.table import Table
from pacesetter.schedules.wsd import WSD

_Families = Constant | Cosine | InverseSqrt | Joined | Linear | Polynomial | Step | Table | WSD

AnyFamily = Annotated[_Families, Field(discriminator="family")]

KNOWN_FAMILIES: tuple[str, ...] = tuple(
    family.model_fields["family"].default for family in get_args(_Families)
)
"""The names that a document may use, which is also what a client registers that it can evaluate."""
