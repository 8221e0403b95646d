"""What a running job may expect: from a decay now, from its schedule, and from longer budgets."""

from typing import Annotated

from fastapi import APIRouter, Query
from pacesetter_search.outlook import Outlook
from pacesetter_search.prediction import BEYOND
from pydantic import Field
from starlette.responses import Response

from pacesetter_service.http.dependencies import (
    LARGEST_INTEGER,
    READS_JOB,
    JobId,
    ServicesDependency,
)
from pacesetter_service.http.replies import json_reply, problems

router = APIRouter(tags=["jobs"], dependencies=[READS_JOB])

MOST_LENGTHS, MOST_FACTORS = 20, 5

Length = Annotated[int, Field(gt=0, le=LARGEST_INTEGER)]
Factor = Annotated[float, Field(gt=1.0, le=BEYOND)]


@router.get("/v1/jobs/{job}/outlook", response_model=Outlook, responses=problems(404, 409))
async def get_outlook(
    job: JobId,
    services: ServicesDependency,
    lengths: Annotated[
        list[Length] | None,
        Query(
            max_length=MOST_LENGTHS,
            description="Steps of decays from where the job stands; may be given repeatedly. By default 5, 10, 20 and "
            "40 % of the budget.",
        ),
    ] = None,
    extend: Annotated[
        list[Factor] | None,
        Query(
            max_length=MOST_FACTORS,
            description="Longer budgets, as factors of the present one; may be given repeatedly. By default 1.5.",
        ),
    ] = None,
) -> Response:
    """Say what decaying now, the schedule in force, and longer budgets would end with.

    By a law of the job's own curve where that tells what a decay brings, else by the newest one of its family's runs.
    """
    return json_reply(await services.controller.outlooks.of(job, lengths, tuple(extend or (1.5,))))
