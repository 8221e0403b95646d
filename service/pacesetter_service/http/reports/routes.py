"""The call that training jobs make all the time, so it does as little as it can."""

from fastapi import APIRouter, Request
from pacesetter.protocol import Measurements, Report, ReportReply
from pydantic import TypeAdapter
from starlette.responses import Response

from pacesetter_service.http.bodies import parse_body, read_body
from pacesetter_service.http.dependencies import REPORTS_JOB, JobId, ServicesDependency
from pacesetter_service.http.metrics import Metrics
from pacesetter_service.http.replies import body_of, json_reply, problems

router = APIRouter(tags=["reports"])

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
