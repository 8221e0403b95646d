"""Laws that were fitted to stored curves."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pacesetter.protocol import Regime
from pacesetter_search.laws import AnyFittedLaw
from pacesetter_search.memory import LawGroup
from starlette.responses import Response

from pacesetter_service.auth.principal import Principal
from pacesetter_service.http.dependencies import Require, ServicesDependency
from pacesetter_service.http.jobs.routes import MAX_PAGE_SIZE, PageSize
from pacesetter_service.http.replies import Reply, json_reply, problems
from pacesetter_service.laws.repository import LawFilter
from pacesetter_service.views import LawView

router = APIRouter(tags=["curves"])

Reader = Annotated[Principal, Depends(Require("read", "register"), scope="function")]
LawId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="The law's id.")]


class EvidenceReply(Reply):
    """A curve that a law was fitted to."""

    id: str
    name: str
    steps: int
    points: int
    residual: float
    """Mean relative error of the fit on it."""


class LawReply(Reply):
    """A version of the law of a group of curves, or why there is none."""

    id: str
    project: str
    key: str
    version: int
    about: LawGroup
    """What its curves have in common."""
    fitted: bool
    problem: str
    """Why none could be fitted; empty where one was."""
    warnings: tuple[str, ...]
    """What the curves could not tell."""
    evidence: tuple[EvidenceReply, ...]
    highest_lr: float | None
    """Largest learning rate that it was fitted to."""
    longest: int | None
    """Steps of the longest run that it was fitted to."""
    seconds: float
    """What the fit took."""
    created_at: datetime


class LawWithParameters(LawReply):
    """A law with all that it predicts by."""

    law: AnyFittedLaw | None


class LawPage(Reply):
    """One page of the newest law of each key, the one fitted last first."""

    laws: tuple[LawReply, ...]
    next_page_token: str


@router.get("/v1/laws", response_model=LawPage, responses=problems())
async def list_laws(
    principal: Reader,
    services: ServicesDependency,
    page_size: PageSize = 50,
    page_token: Annotated[str, Query(max_length=500)] = "",
    family: Annotated[str | None, Query(max_length=200)] = None,
    regime: Regime | None = None,
    key: Annotated[str | None, Query(max_length=300, description="As a curve names it.")] = None,
) -> Response:
    """List the newest law of each group of curves of the caller's project."""
    wanted = LawFilter(None if principal.everywhere else principal.project, family, regime, key)
    page = await services.controller.laws.page(wanted, min(page_size, MAX_PAGE_SIZE), page_token)
    laws = tuple(LawReply.model_validate(_document(law)) for law in page.items)
    return json_reply(LawPage(laws=laws, next_page_token=page.next_page_token))


@router.get("/v1/laws/{law}", response_model=LawWithParameters, responses=problems(404))
async def get_law(law: LawId, principal: Reader, services: ServicesDependency) -> Response:
    """Return a version of a law with its parameters."""
    project = None if principal.everywhere else principal.project
    found = await services.controller.laws.get(law, project)
    document = {**_document(found), "law": found.law}
    return json_reply(LawWithParameters.model_validate(document))


def _document(law: LawView) -> dict[str, object]:
    fitted = law.law
    hull = None if fitted is None else fitted.hull
    return {
        **{name: getattr(law, name) for name in _SAME},
        "fitted": fitted is not None,
        "warnings": () if fitted is None else fitted.warnings,
        "highest_lr": None if hull is None else hull.highest,
        "longest": None if fitted is None else fitted.longest,
    }


_SAME = (
    *("id", "project", "key", "version", "about", "problem", "evidence", "seconds"),
    "created_at",
)
