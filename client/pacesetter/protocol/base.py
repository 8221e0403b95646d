"""What every message of the protocol has in common.

JSON has no NaN and no infinities, and training has both: non-finite numbers travel as the strings
``"NaN"``, ``"Infinity"`` and ``"-Infinity"``. Pydantic writes them so and reads them back.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Clock = Literal["steps", "tokens"]
"""The unit of every position of a job: optimizer steps, or tokens consumed."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
"""A short human-given name without control characters."""


class Message(BaseModel):
    """A frozen protocol value. Unknown fields are refused: a misspelt field is an error, not a default."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, ser_json_inf_nan="strings", populate_by_name=True
    )


class Incoming(Message):
    """A value that the service sends to clients. Unknown fields are ignored, so an older client keeps working."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, ser_json_inf_nan="strings", populate_by_name=True
    )
