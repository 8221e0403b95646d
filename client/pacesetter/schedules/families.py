"""All families, as one discriminated union. A new family is one file, and one name here."""

from typing import Annotated

from pydantic import Field

from pacesetter.schedules.constant import Constant
from pacesetter.schedules.cosine import Cosine

AnyFamily = Annotated[Constant | Cosine, Field(discriminator="family")]
