"""What jobs and experiments are both told by: a strategy, and tags."""

from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import to_json

from pacesetter.protocol.base import Message, Name

MAX_TAGS = 100
MAX_TAGS_BYTES = 65_536
"""All tags of a job as JSON: they are read with every list of jobs."""


def _bounded(tags: dict[str, JsonValue]) -> dict[str, JsonValue]:
    size = len(to_json(tags, inf_nan_mode="strings"))
    if size > MAX_TAGS_BYTES:
        raise ValueError(
            f"tags take {size} bytes as JSON; keep them within {MAX_TAGS_BYTES}, and tag with where the rest is kept"
        )
    return tags


Tags = Annotated[dict[Name, JsonValue], Field(max_length=MAX_TAGS), AfterValidator(_bounded)]
"""What a person wants to remember a job by."""


class StrategyChoice(Message):
    """Which strategy decides, with its parameters. No name: the service picks one the job can do."""

    name: Name | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
