"""What schedules would end with, by stored laws or by laws fitted to the curves that a question names or brings."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pacesetter_search.laws import AnyFittedLaw, LawNotFitted
from pacesetter_search.laws.stored import FittedTo, NamedCurve
from pacesetter_search.prediction import (
    Candidate,
    Predictions,
    RecordedCurve,
    Usual,
    curves_of,
    predict,
    predict_by,
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

router = APIRouter(tags=["recommendations"])

MOST_CURVES, MOST_IN_ALL, MOST_CANDIDATES = 20, 40, 50

Reader = Annotated[Principal, Depends(Require("read"), scope="function")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class PredictionRequest(BaseModel):
    """A law, or curves to fit one to, and schedules to predict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    law: Id | None = None
    """A stored law (``GET /v1/laws``): nothing is fitted then."""
    stored: Annotated[tuple[Id, ...], Field(max_length=MOST_CURVES)] = ()
    """Stored curves (``GET /v1/curves``)."""
    jobs: Annotated[tuple[Id, ...], Field(max_length=MOST_CURVES)] = ()
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
        given = len(self.jobs) + len(self.curves) + len(self.stored)
        if given > MOST_IN_ALL:
            raise ValueError(f"{given} curves are too many for one fit; give {MOST_IN_ALL} in all")
        if self.law is not None and given:
            raise ValueError("a law answers by itself; leave out jobs, curves and stored")
        if self.law is None and not given:
            raise ValueError(
                "give a law, or jobs, curves or stored to fit one to; a constant and a decaying run are the least"
            )
        if not (self.candidates or self.usual):
            raise ValueError("give candidates, or usual with a length and a peak")
        if self.reference is not None and self.reference not in self.all_candidates():
            raise ValueError("the reference is none of the candidates")
        return self

    def all_candidates(self) -> dict[str, Candidate]:
        """Return those that were given, and the usual ones that were asked for."""
        return {**(self.usual.candidates() if self.usual else {}), **self.candidates}

    @property
    def tune(self) -> Usual | None:
        """What schedules are to be made for, if any."""
        return self.usual if self.usual is not None and self.usual.tune else None


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
    try:
        if asked.law is not None:
            law, evidence = await _stored_law(asked.law, principal, services)
            found = await asyncio.to_thread(
                predict_by, law, evidence, asked.all_candidates(), asked.reference, asked.tune
            )
        else:
            curves = await _curves(asked, principal, services)
            # A fit takes a second or two, and making schedules some more: not on the loop that takes reports.
            found = await asyncio.to_thread(
                predict, curves, asked.all_candidates(), asked.reference, asked.tune
            )
    except (LawNotFitted, ValueError) as error:
        raise _not_fitted(str(error)) from error
    return json_reply(found)


async def _curves(
    asked: PredictionRequest, principal: Principal, services: Services
) -> list[NamedCurve]:
    """Return all curves that a law is to be fitted to."""
    project = None if principal.everywhere else principal.project
    stored = await services.controller.curves.points(asked.stored, project)
    return [
        *[NamedCurve(curve.name, points) for curve, points in stored],
        *[await _recorded(job, principal, services) for job in asked.jobs],
        *curves_of(asked.curves),
    ]


async def _stored_law(
    law_id: str, principal: Principal, services: Services
) -> tuple[AnyFittedLaw, tuple[FittedTo, ...]]:
    """Return a law and what it was fitted to. Raises a problem where none could be fitted."""
    project = None if principal.everywhere else principal.project
    found = await services.controller.laws.get(law_id, project)
    if found.law is None:
        raise _not_fitted(found.problem)
    evidence = [
        FittedTo(name=one.name, steps=one.steps, points=one.points, residual=one.residual)
        for one in found.evidence
    ]
    return found.law, tuple(evidence)


async def _recorded(job: str, principal: Principal, services: Services) -> NamedCurve:
    """Return a job's main line. Raises a problem for a job of another project or clock, or without losses."""
    view = await services.controller.get_job(job)
    if not principal.everywhere and view.project != principal.project:
        raise job_not_found(job)
    if view.spec.budget.clock != "steps":
        raise ApiProblem(
            422,
            "CLOCK_NOT_STEPS",
            f"Job {job} counts tokens, and laws here are about steps.",
            hint="Name its curve under stored once it has ended, or give it by steps under curves.",
        )
    return NamedCurve(job, await services.controller.curves.of_job(job))


def _not_fitted(why: str) -> ApiProblem:
    return ApiProblem(
        422,
        "NOT_FITTED",
        why,
        hint="Give finite losses, above zero, of runs of one peak learning rate.",
    )
