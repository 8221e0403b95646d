"""What the fitting process is given and what it answers."""

from pacesetter.protocol import Message
from pacesetter_search.laws.stored import FittedTo
from pydantic import ConfigDict


class FitCurve(Message):
    """A curve as it is stored."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    name: str
    data: bytes
    """Its packed columns."""


class FitRequest(Message):
    """Curves of one group."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    curves: tuple[FitCurve, ...]


class FitAnswer(Message):
    """The law that was fitted to them, or why none was."""

    law: str = ""
    """As JSON, in steps of the runs."""
    fitted: tuple[FittedTo, ...] = ()
    """How well it describes each curve, in the order of the request."""
    problem: str = ""
    seconds: float = 0.0
