"""What a job did: its audit trail, curve, main line and ledger."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import StringConstraints
from starlette.responses import Response

from pacesetter_service.http.dependencies import (
    LARGEST_INTEGER,
    READS_JOB,
    JobId,
    ServicesDependency,
)
from pacesetter_service.http.jobs.routes import MAX_PAGE_SIZE, PageSize
from pacesetter_service.http.jobs.schemas import (
    CurveReply,
    EventPage,
    EventReply,
    LedgerReply,
    MainLinePieceReply,
    ScheduleReply,
)
from pacesetter_service.http.problems import ApiProblem
from pacesetter_service.http.replies import json_reply, problems

router = APIRouter(tags=["jobs"], dependencies=[READS_JOB])

MAX_CURVE_COLUMNS = 20
MAX_EVENT_TYPES = 20
_TEXTS = {kind: {"schema": {"type": "string"}} for kind in ("text/csv", "text/x-python")}
EventType = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,50}$")]


@router.get("/v1/jobs/{job}/events", response_model=EventPage, responses=problems(404))
async def list_events(
    job: JobId,
    services: ServicesDependency,
    after: Annotated[int, Query(ge=0, le=LARGEST_INTEGER)] = 0,
    page_size: PageSize = 100,
    page_token: Annotated[str, Query(max_length=30)] = "",
    type: Annotated[
        list[EventType] | None,
        Query(max_length=MAX_EVENT_TYPES, description="Only these types; may be given repeatedly."),
    ] = None,
) -> Response:
    """List the audit trail, oldest first: every decision, its reason, its evidence, and who."""
    start = max(after, _event_number(page_token)) if page_token else after
    size = min(page_size, MAX_PAGE_SIZE)
    page = await services.controller.events(job, start, size, tuple(type or ()))
    events = tuple(EventReply.model_validate(event) for event in page.items)
    return json_reply(EventPage(events=events, next_page_token=page.next_page_token))


@router.get("/v1/jobs/{job}/curve", response_model=CurveReply, responses=problems(404))
async def get_curve(
    job: JobId,
    services: ServicesDependency,
    columns: Annotated[
        str, Query(max_length=1000, description="Column names, separated by commas.")
    ] = "loss,lr",
    max_points: Annotated[int, Query(ge=10, le=20_000)] = 2000,
    all_sessions: bool = False,
) -> Response:
    """Return measured columns over position and step, downsampled.

    A session that resumes from a checkpoint trains some positions anew. What the sessions before it had measured there
    is shown only with ``all_sessions``.
    """
    names = tuple(dict.fromkeys(name.strip() for name in columns.split(",") if name.strip()))
    if not 1 <= len(names) <= MAX_CURVE_COLUMNS:
        raise ApiProblem(
            422,
            "INVALID_REQUEST",
            f"columns names {len(names)} columns.",
            hint=f"Name 1 to {MAX_CURVE_COLUMNS}, such as columns=loss,lr.",
        )
    view = await services.controller.curve(job, names, max_points, all_sessions=all_sessions)
    return json_reply(CurveReply.model_validate(view))


@router.get(
    "/v1/jobs/{job}/schedule",
    response_model=ScheduleReply,
    responses=problems(404, 409) | {200: {"content": _TEXTS}},
)
async def get_schedule(
    job: JobId,
    services: ServicesDependency,
    format: Annotated[
        Literal["json", "csv", "torch", "hf"],
        Query(description="torch and hf are Python files with a scheduler that replays it."),
    ] = "json",
) -> Response:
    """Return the main line so far: as its pieces, or in a form that other programs read."""
    if format != "json":
        media_type = "text/csv" if format == "csv" else "text/x-python"
        return Response(
            await services.controller.export_schedule(job, format), media_type=media_type
        )
    pieces = await services.controller.schedule(job)
    return json_reply(
        ScheduleReply(pieces=tuple(MainLinePieceReply.model_validate(piece) for piece in pieces))
    )


@router.get("/v1/jobs/{job}/ledger", response_model=LedgerReply, responses=problems(404))
async def get_ledger(job: JobId, services: ServicesDependency) -> Response:
    """Return what the job has spent."""
    return json_reply(LedgerReply.model_validate(await services.controller.ledger(job)))


def _event_number(page_token: str) -> int:
    if page_token.isascii() and page_token.isdecimal() and int(page_token) <= LARGEST_INTEGER:
        return int(page_token)
    raise ApiProblem(
        422,
        "BAD_PAGE_TOKEN",
        "The page_token is not one that this list gave out.",
        hint="Pass next_page_token of the page before as it is.",
    )
