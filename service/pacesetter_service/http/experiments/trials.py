"""The calls of workers: claim trials, keep their leases, and say what came of them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pacesetter.protocol import (
    Claim,
    Claimed,
    Heartbeat,
    HeartbeatReply,
    TrialFailure,
    TrialResult,
    TrialReturn,
)
from pydantic import TypeAdapter
from starlette.responses import Response

from pacesetter_service.auth.principal import Principal
from pacesetter_service.http.bodies import parse_body, read_body, refuse_repeated_names
from pacesetter_service.http.dependencies import Require, ServicesDependency
from pacesetter_service.http.experiments.routes import TrialId
from pacesetter_service.http.experiments.schemas import TrialReply
from pacesetter_service.http.replies import body_of, json_reply, problems

router = APIRouter(tags=["trials"])

MAX_WAIT_SECONDS = 30.0

Worker = Annotated[Principal, Depends(Require("worker"), scope="function")]

_CLAIM = TypeAdapter(Claim)
_HEARTBEAT = TypeAdapter(Heartbeat)
_RESULT = TypeAdapter(TrialResult)
_FAILURE = TypeAdapter(TrialFailure)
_RETURN = TypeAdapter(TrialReturn)


@router.post(
    "/v1/trials:claim",
    response_model=Claimed,
    responses=problems(413, 415),
    openapi_extra=body_of(Claim),
)
async def claim_trials(
    request: Request,
    principal: Worker,
    services: ServicesDependency,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0.0,
) -> Response:
    """Lease trials of the caller's project to a worker: those that wait, and those whose lease ran out.

    Where there is none the call waits up to ``wait`` seconds for the first.
    """
    wish = parse_body(_CLAIM, await read_body(request, services.settings.max_body_bytes))

    async def is_gone() -> bool:
        return services.closing.is_set() or await request.is_disconnected()

    claimed = await services.controller.experiments.claim(wish, principal.project, wait, is_gone)
    services.metrics.trials.labels("claimed").inc(len(claimed.leases))
    return json_reply(claimed)


@router.post(
    "/v1/trials/{trial}:heartbeat",
    response_model=HeartbeatReply,
    responses=problems(404, 409, 413, 415),
    openapi_extra=body_of(Heartbeat),
)
async def heartbeat(
    trial: TrialId, request: Request, principal: Worker, services: ServicesDependency
) -> Response:
    """Keep the lease, and store what was measured since the last time."""
    beat = parse_body(_HEARTBEAT, await read_body(request, services.settings.max_body_bytes))
    reply = await services.controller.experiments.heartbeat(trial, beat, _project(principal))
    return json_reply(reply)


@router.post(
    "/v1/trials/{trial}:finish",
    response_model=TrialReply,
    responses=problems(404, 409, 413, 415),
    openapi_extra=body_of(TrialResult),
)
async def finish_trial(
    trial: TrialId, request: Request, principal: Worker, services: ServicesDependency
) -> Response:
    """Store the result of a trial. A loss that is null or no number says that it diverged, which is a result."""
    raw = await read_body(request, services.settings.max_body_bytes)
    result = parse_body(_RESULT, raw)
    refuse_repeated_names(raw)
    view = await services.controller.experiments.finish(trial, result, _project(principal))
    services.metrics.trials.labels("finished").inc()
    return json_reply(TrialReply.model_validate(view))


@router.post(
    "/v1/trials/{trial}:fail",
    response_model=TrialReply,
    responses=problems(404, 409, 413, 415),
    openapi_extra=body_of(TrialFailure),
)
async def fail_trial(
    trial: TrialId, request: Request, principal: Worker, services: ServicesDependency
) -> Response:
    """Say that an attempt failed, and whether another one might do better."""
    failure = parse_body(_FAILURE, await read_body(request, services.settings.max_body_bytes))
    view = await services.controller.experiments.fail(trial, failure, _project(principal))
    services.metrics.trials.labels("failed").inc()
    return json_reply(TrialReply.model_validate(view))


@router.post(
    "/v1/trials/{trial}:return",
    response_model=TrialReply,
    responses=problems(404, 409, 413, 415),
    openapi_extra=body_of(TrialReturn),
)
async def return_trial(
    trial: TrialId, request: Request, principal: Worker, services: ServicesDependency
) -> Response:
    """Hand a lease back: the trial waits for another worker, and no attempt is counted."""
    back = parse_body(_RETURN, await read_body(request, services.settings.max_body_bytes))
    view = await services.controller.experiments.give_back(trial, back, _project(principal))
    services.metrics.trials.labels("returned").inc()
    return json_reply(TrialReply.model_validate(view))


def _project(principal: Principal) -> str | None:
    return None if principal.everywhere else principal.project
