"""What to run at a size and a budget. Nothing is stored: evidence comes with the question."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pacesetter.protocol import Recommendation
from pacesetter_search import recommendation
from pacesetter_search.recommendation import ImpossibleTarget, Target, recommend
from pydantic import TypeAdapter
from starlette.responses import Response

from pacesetter_service.http.bodies import parse_body, read_body
from pacesetter_service.http.dependencies import Require, ServicesDependency
from pacesetter_service.http.problems import ApiProblem
from pacesetter_service.http.replies import body_of, json_reply, problems

router = APIRouter(
    tags=["recommendations"], dependencies=[Depends(Require("read"), scope="function")]
)

_TARGET = TypeAdapter(Target)


@router.get("/v1/recommendations", response_model=Recommendation, responses=problems())
async def recommend_for(query: Annotated[recommendation.Query, Query()]) -> Response:
    """Say what to run, by published laws alone."""
    return await _reply(query.target())


@router.post(
    "/v1/recommendations",
    response_model=Recommendation,
    responses=problems(413, 415),
    openapi_extra=body_of(Target),
)
async def recommend_with_evidence(request: Request, services: ServicesDependency) -> Response:
    """Say what to run, by published laws and the optima that come with the question."""
    raw = await read_body(request, services.settings.max_body_bytes)
    return await _reply(parse_body(_TARGET, raw))


async def _reply(target: Target) -> Response:
    try:
        # Two hundred optima take a tenth of a second: not on the loop that takes reports.
        return json_reply(await asyncio.to_thread(recommend, target))
    except ImpossibleTarget as error:
        raise ApiProblem(
            422,
            "IMPOSSIBLE_TARGET",
            f"{error}.",
            hint="Loosen what is fixed of the schedule: its family, warm-up, steps, or that it can be extended.",
        ) from None
