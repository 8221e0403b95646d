"""Bodies of the curve calls."""

from datetime import datetime
from typing import Annotated, Literal

from pacesetter.curves.columns import Wanted
from pacesetter.protocol import CurveAbout, Message, Name, Objective, Parametrization, Regime
from pacesetter.protocol.workloads import Count, Family, Ratio
from pacesetter_search.memory import CurveSource, RunRecord
from pydantic import Field, model_validator

from pacesetter_service.http.replies import Reply

Column = Annotated[str, Field(min_length=1, max_length=200)]


class CurveReply(Reply):
    """A curve, without its points."""

    id: str
    project: str
    source: CurveSource
    job: str | None
    name: str
    record: RunRecord
    """What evidence is made of."""
    points: int
    """Rows that are kept of it."""
    key: str
    """Of the law that it is evidence for (``GET /v1/laws?key=``); empty where it is for none."""
    excluded: bool
    """Left out as evidence, by a person."""
    created_at: datetime


class CurvePage(Reply):
    """One page of curves, newest first."""

    curves: tuple[CurveReply, ...]
    next_page_token: str


class CurveWithPoints(CurveReply):
    """A curve with its points, downsampled."""

    columns: dict[str, list[float | None]]
    """``step``, ``lr`` and ``loss``: null where none was measured, ``"Infinity"`` where it was no number."""


class CurvePatch(Message):
    """What of a curve may change. A field left out stays as it is."""

    name: Name | None = None
    excluded: bool | None = None

    @model_validator(mode="after")
    def _something_changes(self) -> "CurvePatch":
        if self.name is None and self.excluded is None:
            raise ValueError("nothing to change; give a name or excluded")
        return self


class CurveQuery(Message):
    """What a curve that comes as a table is of, flat: as ``CurveUpload`` describes it, and which columns to take."""

    name: Name
    family: Family = ""
    parameters: Count | None = None
    width_ratio: Ratio = 1.0
    depth_ratio: Ratio = 1.0
    parametrization: Parametrization = "standard"
    batch_tokens: Count | None = None
    epochs: Annotated[float, Field(gt=0.0, le=1e9)] | None = None
    objective: Name = "loss"
    objective_mode: Literal["min", "max"] = "min"
    tokens: Count | None = None
    optimizer: Name = "adamw"
    regime: Regime = "pretrain"
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    weight_decay: Annotated[float, Field(ge=0.0, le=1e9)] = 0.0
    validated: bool | None = None
    """None: by the name of the column that losses are taken from."""
    completed: bool = True
    warmup: Annotated[int, Field(ge=0, le=10**9)] = 0
    step_column: Column | None = None
    lr_column: Column | None = None
    loss_column: Column | None = None

    def wanted(self) -> Wanted:
        """Return which columns to take."""
        return Wanted(self.step_column, self.lr_column, self.loss_column)

    def about(self, *, validated: bool) -> CurveAbout:
        """Return what the curve is of.

        Args:
            validated: Whether its losses are of validations, as far as the column's name says.
        """
        flat = {"objective", "validated", "step_column", "lr_column", "loss_column"}
        values = self.model_dump(exclude={*flat, "objective_mode"})
        return CurveAbout(
            **values,
            objective=Objective(name=self.objective, mode=self.objective_mode),
            validated=validated if self.validated is None else self.validated,
        )
