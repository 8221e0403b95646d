"""What schedules would end with, by laws fitted to recorded jobs and to curves that come with the question."""

import asyncio
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Request
from pacesetter_search.laws import LawNotFitted
from pacesetter_search.prediction import (
    Candidate,
    Predictions,
    RecordedCurve,
    Usual,
    curves_of,
    predict,
)
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator
from starlette.responses import Response

from pacesetter_service.auth.principal import Principal
from pacesetter_service.http.bodies import parse_body, read_body
from pacesetter_service.http.dependencies import Require, ServicesDependency
from pacesetter_service.http.problems import ApiProblem
from pacesetter_service.http.replies import body_of, json_reply, problems
from pacesetter_service.http.services import Services
from pacesetter_service.jobs.open_job import job_not_found
from pacesetter_service.views import CurveView

router = APIRouter(tags=["recommendations"])

MOST_CURVES, MOST_CANDIDATES = 20, 50
ALL_ROWS = 10_000_000

Reader = Annotated[Principal, Depends(Require("read"), scope="function")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
JobName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class PredictionRequest(BaseModel):
    """Curves to fit, and schedules to predict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jobs: Annotated[tuple[JobName, ...], Field(max_length=MOST_CURVES)] = ()
    """Recorded jobs whose main lines are fitted."""
    curves: Annotated[tuple[RecordedCurve, ...], Field(max_length=MOST_CURVES)] = ()
    candidates: Annotated[dict[Name, Candidate], Field(max_length=MOST_CANDIDATES)] = Field(
        default_factory=dict
    )
    usual: Usual | None = None
    """Adds every family of schedules at its default or typical parameters, at a length and a peak."""
    reference: Name | None = None
    """The candidate that gains are measured against."""

    @model_validator(mode="after")
    def _there_is_something_to_fit(self) -> "PredictionRequest":
        if not (self.jobs or self.curves):
            raise ValueError(
                "give jobs or curves to fit a law to; a constant and a decaying run are the least"
            )
        if not (self.candidates or self.usual):
            raise ValueError("give candidates, or usual with a length and a peak")
        if self.reference is not None and self.reference not in self.all_candidates():
            raise ValueError("the reference is none of the candidates")
        return self

    def all_candidates(self) -> dict[str, Candidate]:
        """Return those that were given, and the usual ones that were asked for."""
        return {**(self.usual.candidates() if self.usual else {}), **self.candidates}


_REQUEST = TypeAdapter(PredictionRequest)


@router.post(
    "/v1/predictions",
    response_model=Predictions,
    responses=problems(404, 413, 415),
    openapi_extra=body_of(PredictionRequest),
)
async def predict_schedules(
    request: Request, principal: Reader, services: ServicesDependency
) -> Response:
    """Predict what each schedule would end with, and rank them."""
    asked = parse_body(_REQUEST, await read_body(request, services.settings.max_body_bytes))
    recorded = [await _recorded(job, principal, services) for job in asked.jobs]
    try:
        # A fit takes a second or two: not on the loop that takes reports.
        found = await asyncio.to_thread(_answer, asked, [*recorded, *asked.curves])
    except (LawNotFitted, ValueError) as error:
        raise ApiProblem(
            422,
            "NOT_FITTED",
            str(error),
            hint="Give finite losses, above zero, of runs of one peak learning rate.",
        ) from error
    return json_reply(found)


def _answer(asked: PredictionRequest, recorded: list[RecordedCurve]) -> Predictions:
    return predict(curves_of(recorded), asked.all_candidates(), asked.reference)


async def _recorded(job: str, principal: Principal, services: Services) -> RecordedCurve:
    """Return a job's main line. Raises a problem for a job of another project or clock, or without losses."""
    view = await services.controller.get_job(job)
    if not principal.everywhere and view.project != principal.project:
        raise job_not_found(job)
    if view.spec.budget.clock != "steps":
        raise ApiProblem(
            422,
            "CLOCK_NOT_STEPS",
            f"Job {job} counts tokens, and laws here are about steps.",
            hint="Give its curve by steps under curves.",
        )
    curve = await services.controller.curve(job, ("loss", "lr"), ALL_ROWS)
    found = await asyncio.to_thread(main_line, job, curve)
    if found is None:
        raise ApiProblem(
            422,
            "NO_CURVE",
            f"Job {job} has reported no finite loss of its main line.",
            hint="Name a job that has trained.",
        )
    return found


def main_line(job: str, curve: CurveView) -> RecordedCurve | None:
    """Return the losses of the main line by steps done, the last one of each where a step was made again."""
    main = np.array([kind == "main" for kind in curve.kinds], dtype=bool)
    columns = {
        name: np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        for name, values in curve.columns.items()
    }
    position, loss, lr = (columns[name] for name in ("position", "loss", "lr"))
    kept = main & np.isfinite(position) & np.isfinite(loss) & np.isfinite(lr) & (lr >= 0.0)
    if not kept.any():
        return None
    # The last report of a position comes first here, and `unique` keeps the first.
    steps, places = np.unique(position[kept][::-1].astype(np.int64) + 1, return_index=True)
    return RecordedCurve(
        name=job,
        steps=tuple(steps.tolist()),
        lrs=tuple(lr[kept][::-1][places].tolist()),
        losses=tuple(loss[kept][::-1][places].tolist()),
    )
