"""Creating experiments, looking at them and their trials, and cancelling them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pacesetter.curves import MOST_POINTS
from pacesetter.protocol import ExperimentSpec, TrialStatus
from pacesetter_search.studies import Place, document
from pydantic import TypeAdapter
from starlette.responses import Response

from pacesetter_service.auth.principal import Principal
from pacesetter_service.experiments.views import ExperimentStatus, TrialCurve
from pacesetter_service.http.bodies import JSON, parse_body, read_body, refuse_repeated_names
from pacesetter_service.http.dependencies import Require, ServicesDependency
from pacesetter_service.http.experiments.schemas import (
    ExperimentPage,
    ExperimentReply,
    StudyReply,
    TrialPage,
    TrialReply,
    TrialWithPoints,
)
from pacesetter_service.http.idempotency import StoredReply, idempotently
from pacesetter_service.http.jobs.routes import MAX_PAGE_SIZE, PageSize
from pacesetter_service.http.replies import body_of, json_reply, problems
from pacesetter_service.reports.curves import keep_extremes
from pacesetter_service.reports.packing import to_lists

router = APIRouter(tags=["experiments"])

Experimenter = Annotated[Principal, Depends(Require("register"), scope="function")]
Reader = Annotated[Principal, Depends(Require("read", "register", "worker"), scope="function")]
PageToken = Annotated[str, Query(max_length=500)]
ExperimentId = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="The experiment's id.")
]
TrialId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="The trial's id.")]

_SPEC = TypeAdapter(ExperimentSpec)


@router.post(
    "/v1/experiments",
    status_code=201,
    response_model=ExperimentReply,
    responses=problems(409, 413, 415),
    openapi_extra=body_of(ExperimentSpec),
)
async def create_experiment(
    request: Request, principal: Experimenter, services: ServicesDependency
) -> Response:
    """Begin a search over proxy runs: its strategy plans trials, which workers claim."""
    raw = await read_body(request, services.settings.max_body_bytes)
    spec = parse_body(_SPEC, raw)
    refuse_repeated_names(raw)

    async def create() -> StoredReply:
        view = await services.controller.experiments.create(spec, principal.project)
        body = ExperimentReply.model_validate(view).model_dump_json().encode()
        return StoredReply(201, body, {"Location": f"/v1/experiments/{view.id}"})

    stored = await idempotently(request, services, principal, raw, create)
    return Response(stored.body, stored.status, stored.headers, media_type=JSON)


@router.get("/v1/experiments", response_model=ExperimentPage, responses=problems())
async def list_experiments(
    principal: Reader,
    services: ServicesDependency,
    page_size: PageSize = 50,
    page_token: PageToken = "",
    status: ExperimentStatus | None = None,
) -> Response:
    """List the experiments of the caller's project, newest first."""
    page = await services.controller.experiments.page(
        _project(principal), status, min(page_size, MAX_PAGE_SIZE), page_token
    )
    found = tuple(ExperimentReply.model_validate(view) for view in page.items)
    return json_reply(ExperimentPage(experiments=found, next_page_token=page.next_page_token))


@router.get("/v1/experiments/{experiment}", response_model=ExperimentReply, responses=problems(404))
async def get_experiment(
    experiment: ExperimentId, principal: Reader, services: ServicesDependency
) -> Response:
    """Return an experiment with its counts, its cost and its best trial so far."""
    view = await services.controller.experiments.get(experiment, _project(principal))
    return json_reply(ExperimentReply.model_validate(view))


@router.post(
    "/v1/experiments/{experiment}:cancel", response_model=ExperimentReply, responses=problems(404)
)
async def cancel_experiment(
    experiment: ExperimentId, principal: Experimenter, services: ServicesDependency
) -> Response:
    """Plan and claim no more, and tell workers to stop; an experiment that is over stays as it is."""
    view = await services.controller.experiments.cancel(
        experiment, _project(principal), by=principal.identity
    )
    return json_reply(ExperimentReply.model_validate(view))


@router.get(
    "/v1/experiments/{experiment}/trials", response_model=TrialPage, responses=problems(404)
)
async def list_trials(
    experiment: ExperimentId,
    principal: Reader,
    services: ServicesDependency,
    page_size: PageSize = 50,
    page_token: PageToken = "",
    status: TrialStatus | None = None,
) -> Response:
    """List an experiment's trials by their numbers, each with why it was planned."""
    page = await services.controller.experiments.trials(
        experiment, _project(principal), status, min(page_size, MAX_PAGE_SIZE), page_token
    )
    found = tuple(TrialReply.model_validate(view) for view in page.items)
    return json_reply(TrialPage(trials=found, next_page_token=page.next_page_token))


@router.get(
    "/v1/experiments/{experiment}/study", response_model=StudyReply, responses=problems(404)
)
async def get_study(
    experiment: ExperimentId,
    principal: Reader,
    services: ServicesDependency,
    target: Annotated[Place, Query()],
) -> Response:
    """Say where the best peak of a target lies by the trials so far, in the proxy's own parameters.

    Without a target it is asked for the widest, deepest and longest of what the trials have.
    """
    place = target if target.model_fields_set else None
    answer = await services.controller.experiments.study(experiment, _project(principal), place)
    told = {**document(answer.study), "coordinates": answer.coordinates}
    return json_reply(StudyReply.model_validate(told))


@router.get("/v1/trials/{trial}", response_model=TrialWithPoints, responses=problems(404))
async def get_trial(
    trial: TrialId,
    principal: Reader,
    services: ServicesDependency,
    max_points: Annotated[int, Query(ge=10, le=MOST_POINTS)] = 500,
) -> Response:
    """Return a trial with what it measured so far, downsampled."""
    found = await services.controller.experiments.trial(trial, _project(principal))
    return json_reply(_with_points(found, max_points))


def _with_points(found: TrialCurve, most: int) -> TrialWithPoints:
    columns = found.columns
    kept = keep_extremes([columns["loss"], columns["lr"]], most)
    lists = to_lists({name: column[kept] for name, column in columns.items()})
    return TrialWithPoints(**dict(TrialReply.model_validate(found.trial)), columns=lists)


def _project(principal: Principal) -> str | None:
    return None if principal.everywhere else principal.project
