"""The stream and the long poll."""

from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from pacesetter.protocol import SegmentPage
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from pacesetter_service.auth.principal import Principal
from pacesetter_service.http.dependencies import (
    LARGEST_INTEGER,
    REPORTS_JOB,
    JobId,
    ServicesDependency,
)
from pacesetter_service.http.replies import json_reply, problems
from pacesetter_service.http.segments.stream import SegmentCursor, stream_segments

router = APIRouter(tags=["segments"])

MAX_WAIT_SECONDS = 30.0
SHUTDOWN_GRACE_SECONDS = 2.0

Seq = Annotated[int, Query(ge=0, le=LARGEST_INTEGER)]


@router.get(
    "/v1/jobs/{job}/segments",
    response_model=SegmentPage,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **problems(404),
    },
)
async def get_segments(
    job: JobId,
    request: Request,
    principal: Annotated[Principal, REPORTS_JOB],
    services: ServicesDependency,
    after: Seq = 0,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0.0,
    stream: bool = False,
    session: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]+$", max_length=100)] = None,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_INTEGER)] = None,
) -> Response:
    """Return the segments after ``after``.

    With ``Accept: text/event-stream`` (or ``stream=1``) they come as server-sent events, ``id`` being the ``seq``, from
    ``Last-Event-ID`` on. Otherwise the call waits up to ``wait`` seconds for the first. ``session`` names the session
    that asks (a job's own token does so by itself): one that is not the current one gets nothing.
    """
    start = after if last_event_id is None else last_event_id
    cursor = SegmentCursor(services, job, principal.session or session, start)
    page = await cursor.read()
    if stream or "text/event-stream" in request.headers.get("accept", ""):
        return _event_stream(cursor, page)
    if not page.segments and wait > 0:
        page = await _wait_for_first(cursor, wait)
    if page.segments:
        services.metrics.segments.labels("poll").inc(len(page.segments))
    return json_reply(page, headers={"Cache-Control": "no-store"})


def _event_stream(cursor: SegmentCursor, first: SegmentPage) -> Response:
    return EventSourceResponse(
        stream_segments(cursor, first),
        headers={"Cache-Control": "no-cache"},
        ping=cursor.services.settings.ping_seconds,
        sep="\n",
        shutdown_grace_period=SHUTDOWN_GRACE_SECONDS,
    )


async def _wait_for_first(cursor: SegmentCursor, seconds: float) -> SegmentPage:
    ends_at = monotonic() + seconds
    while True:
        remaining = ends_at - monotonic()
        await cursor.wait(max(remaining, 0.0))
        page = await cursor.read()
        if page.segments or remaining <= 0 or cursor.services.closing.is_set():
            return page
