"""What is kept of a run that has ended: all that evidence needs of it beside its curve."""

from typing import Annotated, Literal

from pacesetter.protocol import Regime, Workload
from pydantic import BaseModel, ConfigDict, Field

CurveSource = Literal["job", "trial", "upload"]
"""Where a curve comes from."""

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FoundPeak(_Record):
    """Where complete short runs of a job put their best peak, as far as they alone say.

    Nothing that was believed before them is in it: what is learned of one run must not come back as if a second one
    had found it.
    """

    share: Annotated[float, Field(gt=0.0, le=1.0)]
    """Length of those runs, as a share of the job's budget."""
    log2_lr: Finite
    """At the shape of a linear decay, as the first group's optimizer takes it."""
    sd: Positive
    """Octaves."""


class RunRecord(_Record):
    """A run that has ended."""

    id: str
    """Of its curve."""
    name: str
    source: CurveSource
    job: str | None = None
    workload: Workload = Workload()
    """With parameters and batch as they were measured, where nothing was declared."""
    regime: Regime = "other"
    optimizer: str
    """Class of the first group's optimizer, in small letters: ``adamw``."""
    steps: int = Field(gt=0)
    tokens: Positive | None = None
    """Tokens or samples of the whole run; None: not known."""
    peak_lr: Positive
    """Highest rate of the first group on the main line."""
    shape_octaves: Finite = 0.0
    """Octaves that the best peak of the run's shape lies above that of a linear decay, by the convex bound."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Of SGD's buffer."""
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    final_loss: Finite | None = None
    """What it ended with: the last validation, else the mean training loss of the last twentieth. None: it diverged."""
    validated: bool = False
    """Whether that is of a validation."""
    completed: bool = True
    """Whether it ended with its budget."""
    found: tuple[FoundPeak, ...] = ()
