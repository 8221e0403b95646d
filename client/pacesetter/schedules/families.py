"""All families, as one discriminated union. A new family is one file, and one name here."""

from typing import Annotated

from pydantic import Field

from pacesetter.schedules.constant import Constant
from pacesetter.schedules.cosine import Cosine
from pacesetter.schedules.linear import Linear

AnyFamily = Annotated[Constant | Cosine | Linear, Field(discriminator="family")]
