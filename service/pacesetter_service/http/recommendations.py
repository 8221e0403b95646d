"""What to run at a size and a budget, by what the caller's project knows; what was said before, and to follow it."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pacesetter.protocol import Recommendation, Target
from pacesetter_search.recommendation import Query as FlatQuestion
from pacesetter_search.recommendation import Target as Question
from pydantic import TypeAdapter
from starlette.responses import Response

from pacesetter_service.auth.principal import Principal
from pacesetter_service.http.bodies import JSON, parse_body, read_body
from pacesetter_service.http.dependencies import Require, ServicesDependency
from pacesetter_service.http.idempotency import StoredReply, idempotently
from pacesetter_service.http.jobs.routes import MAX_PAGE_SIZE, PageSize
from pacesetter_service.http.jobs.schemas import OverrideReply
from pacesetter_service.http.replies import Reply, body_of, json_reply, problems
from pacesetter_service.recommendations.applying import Application
from pacesetter_service.views import StoredRecommendation

router = APIRouter(tags=["recommendations"])

Reader = Annotated[Principal, Depends(Require("read", "register"), scope="function")]
Admin = Annotated[Principal, Depends(Require("admin"), scope="function")]
RecommendationId = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="The recommendation's id.")
]

_QUESTION = TypeAdapter(Question)
_APPLICATION = TypeAdapter(Application)


class StoredReplyItem(Reply):
    """A recommendation that was kept, in short."""

    id: str
    project: str
    status: str
    target: Target
    lr: float | None
    batch_tokens: float | None
    steps: int | None
    schedule_name: str | None
    applied: bool
    """Whether a job registered with it, or was given it."""
    created_at: datetime


class RecommendationPage(Reply):
    """One page of recommendations, newest first."""

    recommendations: tuple[StoredReplyItem, ...]
    next_page_token: str


@router.get("/v1/recommendations", response_model=Recommendation, responses=problems())
async def recommend_for(
    query: Annotated[FlatQuestion, Query()], principal: Reader, services: ServicesDependency
) -> Response:
    """Say what to run, by published laws and what the project knows. Nothing is stored."""
    answer = await services.controller.recommendations.ask(query.target(), principal.project)
    return json_reply(answer)


@router.post(
    "/v1/recommendations",
    response_model=Recommendation,
    responses=problems(409, 413, 415),
    openapi_extra=body_of(Question),
)
async def recommend_with_evidence(
    request: Request, principal: Reader, services: ServicesDependency
) -> Response:
    """Say what to run, by published laws, what the project knows, and the optima that come with the question.

    The answer is kept and has an id, by which a job may be given it; with a token that may only read it is not.
    """
    raw = await read_body(request, services.settings.max_body_bytes)
    question = parse_body(_QUESTION, raw)
    keep = principal.may("register")

    async def create() -> StoredReply:
        answer = await services.controller.recommendations.ask(
            question, principal.project, keep=keep
        )
        headers = {"Location": f"/v1/recommendations/{answer.id}"} if keep else {}
        body = answer.model_dump_json(by_alias=True).encode()
        return StoredReply(200, body, headers)

    stored = await idempotently(request, services, principal, raw, create, repeatable=True)
    return Response(stored.body, stored.status, stored.headers, media_type=JSON)


@router.get("/v1/recommendations:list", response_model=RecommendationPage, responses=problems())
async def list_recommendations(
    principal: Reader,
    services: ServicesDependency,
    page_size: PageSize = 50,
    page_token: Annotated[str, Query(max_length=500)] = "",
) -> Response:
    """List what was recommended in the caller's project and kept, newest first."""
    page = await services.controller.recommendations.page(
        _project(principal), min(page_size, MAX_PAGE_SIZE), page_token
    )
    items = tuple(map(_item, page.items))
    return json_reply(
        RecommendationPage(recommendations=items, next_page_token=page.next_page_token)
    )


@router.get(
    "/v1/recommendations/{recommendation}",
    response_model=Recommendation,
    responses=problems(404),
)
async def get_recommendation(
    recommendation: RecommendationId, principal: Reader, services: ServicesDependency
) -> Response:
    """Return a recommendation as it was given: what has been learned since is not in it."""
    stored = await services.controller.recommendations.get(recommendation, _project(principal))
    return json_reply(stored.answer)


@router.post(
    "/v1/recommendations/{recommendation}:apply",
    status_code=201,
    response_model=OverrideReply,
    responses=problems(404, 409, 413, 415),
    openapi_extra=body_of(Application),
)
async def apply_recommendation(
    recommendation: RecommendationId,
    request: Request,
    principal: Admin,
    services: ServicesDependency,
) -> Response:
    """Let a running job follow a recommendation from where it stands, as a person's schedule."""
    raw = await read_body(request, services.settings.max_body_bytes)
    wish = parse_body(_APPLICATION, raw)

    async def create() -> StoredReply:
        result = await services.controller.recommendations.apply(
            recommendation, wish, _project(principal)
        )
        return StoredReply(201, OverrideReply.model_validate(result).model_dump_json().encode())

    stored = await idempotently(request, services, principal, raw, create)
    return Response(stored.body, stored.status, stored.headers, media_type=JSON)


def _item(stored: StoredRecommendation) -> StoredReplyItem:
    answer = stored.answer
    assert answer.id is not None
    return StoredReplyItem(
        id=answer.id,
        project=stored.project,
        status=answer.status,
        target=answer.target,
        lr=answer.lr,
        batch_tokens=answer.batch_tokens,
        steps=answer.steps,
        schedule_name=answer.schedule_name,
        applied=stored.applied,
        created_at=stored.created_at,
    )


def _project(principal: Principal) -> str | None:
    return None if principal.everywhere else principal.project
