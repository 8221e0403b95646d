"""Uploading curves of runs that have ended, looking at them, and leaving them out."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pacesetter.curves import MOST_POINTS, Points
from pacesetter.curves.columns import is_validation
from pacesetter.curves.tables import Raw, read_csv
from pacesetter.errors import CurveError
from pacesetter.protocol import CurveUpload, Regime
from pacesetter_search.memory import CurveSource
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from pacesetter_service.auth.principal import Principal
from pacesetter_service.curves.packing import columns_of
from pacesetter_service.curves.repository import CurveFilter
from pacesetter_service.curves.service import Uploaded
from pacesetter_service.http.bodies import CSV, JSON, media_type, parse_body, read_body
from pacesetter_service.http.curves.schemas import (
    CurvePage,
    CurvePatch,
    CurveQuery,
    CurveReply,
    CurveWithPoints,
)
from pacesetter_service.http.dependencies import Require, ServicesDependency
from pacesetter_service.http.idempotency import StoredReply, idempotently
from pacesetter_service.http.jobs.routes import MAX_PAGE_SIZE, PageSize
from pacesetter_service.http.problems import ApiProblem, validation_problem
from pacesetter_service.http.replies import body_of, json_reply, problems
from pacesetter_service.http.services import Services
from pacesetter_service.reports.curves import keep_extremes
from pacesetter_service.reports.packing import to_lists
from pacesetter_service.views import StoredCurve

router = APIRouter(tags=["curves"])

Uploader = Annotated[Principal, Depends(Require("register"), scope="function")]
Reader = Annotated[Principal, Depends(Require("read", "register"), scope="function")]
Admin = Annotated[Principal, Depends(Require("admin"), scope="function")]
CurveId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="The curve's id.")]

AVERAGE_FIRST = (
    "Average the losses before you send them, as `pacesetter curves upload FILE` does: "
    f"{MOST_POINTS} rows are kept of a curve."
)
_UPLOAD = TypeAdapter(CurveUpload)
_PATCH = TypeAdapter(CurvePatch)
_BODY = body_of(CurveUpload)
_BODY["requestBody"]["content"][CSV] = {
    "schema": {"type": "string", "description": "A header, and a row a step: step, lr, loss."}
}
_BODY["parameters"] = [
    {"name": name, "in": "query", "required": False, "schema": schema}
    for name, schema in CurveQuery.model_json_schema()["properties"].items()
]


@router.post(
    "/v1/curves",
    status_code=201,
    response_model=CurveReply,
    responses={200: {"model": CurveReply}, **problems(409, 413, 415)},
    openapi_extra=_BODY,
)
async def upload_curve(
    request: Request, principal: Uploader, services: ServicesDependency
) -> Response:
    """Store the curve of a run that has ended, from anywhere.

    JSON, or a CSV whose description is in the query. The same curve twice is the same curve: 201, then 200.
    """
    raw = await read_body(
        request,
        services.settings.max_body_bytes,
        accepted=(JSON, CSV),
        too_large=AVERAGE_FIRST,
    )

    async def create() -> StoredReply:
        uploaded = await _upload(request, raw, principal, services)
        services.metrics.uploads.inc(uploaded.is_new)
        reply = CurveReply.model_validate(uploaded.curve)
        headers = {"Location": f"/v1/curves/{reply.id}"}
        status = 201 if uploaded.is_new else 200
        return StoredReply(status, reply.model_dump_json().encode(), headers)

    stored = await idempotently(request, services, principal, raw, create, repeatable=True)
    return Response(stored.body, stored.status, stored.headers, media_type=JSON)


@router.get("/v1/curves", response_model=CurvePage, responses=problems())
async def list_curves(
    principal: Reader,
    services: ServicesDependency,
    page_size: PageSize = 50,
    page_token: Annotated[str, Query(max_length=500)] = "",
    family: Annotated[str | None, Query(max_length=200)] = None,
    regime: Regime | None = None,
    source: CurveSource | None = None,
    job: Annotated[str | None, Query(max_length=100, description="Of that job alone.")] = None,
) -> Response:
    """List the curves of the caller's project, newest first."""
    wanted = CurveFilter(_project(principal), family, regime, source, job)
    page = await services.controller.curves.page(wanted, min(page_size, MAX_PAGE_SIZE), page_token)
    curves = tuple(CurveReply.model_validate(curve) for curve in page.items)
    return json_reply(CurvePage(curves=curves, next_page_token=page.next_page_token))


@router.get("/v1/curves/{curve}", response_model=CurveWithPoints, responses=problems(404))
async def get_curve(
    curve: CurveId,
    principal: Reader,
    services: ServicesDependency,
    max_points: Annotated[int, Query(ge=10, le=MOST_POINTS)] = 500,
) -> Response:
    """Return a curve with its points, downsampled."""
    ((found, points),) = await services.controller.curves.points([curve], _project(principal))
    return json_reply(_with_points(found, points, max_points))


@router.patch(
    "/v1/curves/{curve}",
    response_model=CurveReply,
    responses=problems(404, 413, 415),
    openapi_extra=body_of(CurvePatch),
)
async def patch_curve(
    curve: CurveId, request: Request, principal: Admin, services: ServicesDependency
) -> Response:
    """Rename a curve, leave it out as evidence, or take it in again."""
    patch = parse_body(_PATCH, await read_body(request, services.settings.max_body_bytes))
    changed = await services.controller.curves.change(
        curve, _project(principal), name=patch.name, excluded=patch.excluded
    )
    return json_reply(CurveReply.model_validate(changed))


@router.delete("/v1/curves/{curve}", status_code=204, responses=problems(404, 409))
async def delete_curve(curve: CurveId, principal: Admin, services: ServicesDependency) -> Response:
    """Delete an uploaded curve; one of a job is left out instead."""
    await services.controller.curves.remove(curve, _project(principal))
    return Response(status_code=204)


async def _upload(
    request: Request, raw: bytes, principal: Principal, services: Services
) -> Uploaded:
    curves = services.controller.curves
    if media_type(request) == CSV:
        query = _query(request)
        table = await asyncio.to_thread(_table, raw, query)
        about = query.about(validated=is_validation(table.loss_name))
        return await curves.upload_table(table, about, principal.project)
    if request.query_params:
        raise ApiProblem(
            422,
            "INVALID_REQUEST",
            "A curve in JSON is described in its body, and the query names "
            f"{', '.join(list(request.query_params)[:5])!r}.",
            hint="Move the query's fields into the body, or send the rows as text/csv.",
        )
    # A body of several megabytes takes a tenth of a second to read.
    upload = await asyncio.to_thread(parse_body, _UPLOAD, raw)
    return await curves.upload(upload, principal.project)


def _query(request: Request) -> CurveQuery:
    try:
        return CurveQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        raise validation_problem(errors, "query") from None


def _table(raw: bytes, query: CurveQuery) -> Raw:
    """Return the columns of a CSV. Raises ApiProblem."""
    try:
        return read_csv(raw.decode("utf-8-sig").splitlines(), query.wanted(), "the table")
    except UnicodeDecodeError:
        raise ApiProblem(
            400, "INVALID_CSV", "The body is no text in UTF-8.", hint="Send CSV in UTF-8."
        ) from None
    except CurveError as error:
        # What the command line calls --lr-column is lr_column in the query.
        hint = error.hint.replace("--", "").replace("-column", "_column")
        raise ApiProblem(422, error.code, error.detail, hint=hint) from None


def _with_points(curve: StoredCurve, points: Points, most: int) -> CurveWithPoints:
    columns = columns_of(points)
    kept = keep_extremes([columns["loss"], columns["lr"]], most)
    lists = to_lists({name: column[kept] for name, column in columns.items()})
    reply = CurveReply.model_validate(curve)
    return CurveWithPoints(**dict(reply), columns=lists)


def _project(principal: Principal) -> str | None:
    return None if principal.everywhere else principal.project
