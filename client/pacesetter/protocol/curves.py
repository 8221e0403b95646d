"""Recorded curves as they travel: losses over steps with their learning rates, and what they are of."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pacesetter.protocol.base import Name
from pacesetter.protocol.workloads import Count, Regime, Workload

MOST_ROWS = 1_000_000

Numbers = Annotated[tuple[float | None, ...], Field(min_length=1, max_length=MOST_ROWS)]


class CurveAbout(Workload):
    """What a person says of a run that has ended."""

    name: Name
    tokens: Count | None = None
    """Tokens or samples of the whole run, all epochs; None: by steps and batch."""
    optimizer: Name = "adamw"
    regime: Regime = "pretrain"
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Of SGD's buffer."""
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    validated: bool = False
    """Whether the losses are of validations."""
    completed: bool = True
    """Whether the run ended with its budget."""
    warmup: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Steps over which the rate rose from zero before the first row, or on the first rows."""


class CurveUpload(CurveAbout):
    """The body of ``POST /v1/curves``."""

    steps: Annotated[tuple[float, ...], Field(min_length=1, max_length=MOST_ROWS)]
    """Optimizer steps done, rising."""
    lrs: Numbers
    """Learning rate of the first parameter group at those steps; null: on the line between its neighbours."""
    losses: Numbers
    """Null where none was measured. One that was and is no number (``"NaN"``) says that the run diverged."""

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if not len(self.steps) == len(self.lrs) == len(self.losses):
            raise ValueError(
                f"{len(self.steps)} steps, {len(self.lrs)} lrs and {len(self.losses)} losses; give each row all three"
            )
        return self

    def about(self) -> CurveAbout:
        """Return it without its columns."""
        return CurveAbout(**{name: getattr(self, name) for name in CurveAbout.model_fields})
