"""The call that training jobs make all the time, so it does as little as it can."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pacesetter.protocol import Measurements, Report, ReportReply
from pydantic import TypeAdapter
from starlette.responses import Response

from pacesetter_service.http.bodies import parse_body, read_body
from pacesetter_service.http.dependencies import (
    JOB_ID,
    REPORTS_JOB,
    JobId,
    ServicesDependency,
    get_services,
    may_report,
)
from pacesetter_service.http.metrics import Metrics
from pacesetter_service.http.replies import body_of, json_reply, problems


class DirectRoute(APIRoute):
    """Skips FastAPI's parameter machinery, which costs as much as storing a small report.

    The checks are the same ones in the same order; the signature below is what the OpenAPI document shows.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the direct way in; a malformed job id takes the long one, to its problem document."""
        careful = super().get_route_handler()

        async def handle(request: Request) -> Response:
            job = request.path_params["job"]
            if JOB_ID.fullmatch(job) is None:
                return await careful(request)
            services = await get_services(request)
            await may_report(job, request, services)
            return await report(job, request, services)

        return handle


router = APIRouter(tags=["reports"], route_class=DirectRoute)

_REPORT = TypeAdapter(Report)


@router.post(
    "/v1/jobs/{job}/reports",
    dependencies=[REPORTS_JOB],
    response_model=ReportReply,
    responses=problems(404, 409, 413, 415),
    openapi_extra=body_of(Report),
)
async def report(job: JobId, request: Request, services: ServicesDependency) -> Response:
    """Store measurements and acknowledgements; return the segments that are new for the job.

    A record is known by its number: one that arrives twice counts once.
    """
    body = parse_body(_REPORT, await read_body(request, services.settings.max_body_bytes))
    reply = await services.controller.report(job, body)
    _count(services.metrics, body, reply)
    return json_reply(reply)


def _count(metrics: Metrics, body: Report, reply: ReportReply) -> None:
    metrics.reports.inc()
    metrics.records.inc(len(body.records))
    rows = sum(
        len(record.columns["step"]) for record in body.records if isinstance(record, Measurements)
    )
    metrics.rows.inc(rows)
    if reply.segments:
        metrics.segments.labels("reply").inc(len(reply.segments))
