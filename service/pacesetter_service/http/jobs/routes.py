"""Registration, lifecycle and overrides."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pacesetter.protocol import JobSpec, JobStatus, Registration
from pydantic import TypeAdapter
from starlette.responses import Response

from pacesetter_service.auth.principal import Principal
from pacesetter_service.auth.tokens import job_token
from pacesetter_service.http.bodies import parse_body, read_body
from pacesetter_service.http.dependencies import (
    ADMINISTERS_JOB,
    READS_JOB,
    JobId,
    Require,
    ServicesDependency,
)
from pacesetter_service.http.idempotency import StoredReply, idempotently
from pacesetter_service.http.jobs.schemas import JobPage, JobPatch, JobReply, OverrideReply
from pacesetter_service.http.replies import body_of, json_reply, problems
from pacesetter_service.http.services import Services
from pacesetter_service.jobs.lifecycle import Verb
from pacesetter_service.overrides import Override

router = APIRouter(tags=["jobs"])

Registrar = Annotated[Principal, Depends(Require("register"), scope="function")]
Reader = Annotated[Principal, Depends(Require("read", "register"), scope="function")]
JobAdmin = Annotated[Principal, ADMINISTERS_JOB]

PageSize = Annotated[int, Query(ge=1, description="More than 200 gives 200.", le=1_000_000)]
MAX_PAGE_SIZE = 200

_SPEC = TypeAdapter(JobSpec)
_PATCH = TypeAdapter(JobPatch)
_OVERRIDE: TypeAdapter[Override] = TypeAdapter(Override)


@router.post(
    "/v1/jobs",
    status_code=201,
    response_model=Registration,
    responses={200: {"model": Registration}, **problems(409, 413, 415)},
    openapi_extra=body_of(JobSpec),
)
async def register_job(
    request: Request,
    principal: Registrar,
    services: ServicesDependency,
    validate_only: bool = False,
) -> Response:
    """Register a job, or a new session of a known one.

    Idempotent by ``external_id`` and ``nonce``. 201 for a new job or session, 200 for a known one.
    """
    raw = await read_body(request, services.settings.max_body_bytes)
    spec = parse_body(_SPEC, raw)

    async def create() -> StoredReply:
        result = await services.controller.register(
            spec, project=principal.project, validate_only=validate_only
        )
        registration = result.registration
        created = not validate_only and (result.is_new_job or result.is_new_session)
        headers = {"Location": f"/v1/jobs/{registration.job}"} if registration.job else {}
        body = registration.model_dump_json(by_alias=True).encode()
        return StoredReply(201 if created else 200, body, headers)

    stored = await idempotently(request, services, principal, raw, create, repeatable=True)
    registration = _with_token(Registration.model_validate_json(stored.body), services)
    return json_reply(registration, stored.status, stored.headers)


@router.get("/v1/jobs", response_model=JobPage, responses=problems())
async def list_jobs(
    principal: Reader,
    services: ServicesDependency,
    page_size: PageSize = 50,
    page_token: Annotated[str, Query(max_length=500)] = "",
    status: JobStatus | None = None,
) -> Response:
    """List the jobs of the caller's project, newest first."""
    page = await services.controller.list_jobs(
        None if principal.everywhere else principal.project,
        min(page_size, MAX_PAGE_SIZE),
        page_token,
        status,
    )
    jobs = tuple(JobReply.model_validate(job) for job in page.items)
    return json_reply(JobPage(jobs=jobs, next_page_token=page.next_page_token))


@router.get(
    "/v1/jobs/{job}", dependencies=[READS_JOB], response_model=JobReply, responses=problems(404)
)
async def get_job(job: JobId, services: ServicesDependency) -> Response:
    """Return one job."""
    return json_reply(JobReply.model_validate(await services.controller.get_job(job)))


@router.patch(
    "/v1/jobs/{job}",
    dependencies=[ADMINISTERS_JOB],
    response_model=JobReply,
    responses=problems(404, 409, 413, 415),
    openapi_extra=body_of(JobPatch),
)
async def patch_job(job: JobId, request: Request, services: ServicesDependency) -> Response:
    """Change a job's name or tags."""
    patch = parse_body(_PATCH, await read_body(request, services.settings.max_body_bytes))
    view = await services.controller.update_job(job, name=patch.name, tags=patch.tags)
    return json_reply(JobReply.model_validate(view))


@router.post("/v1/jobs/{job}:pause", response_model=JobReply, responses=problems(404, 409))
async def pause_job(job: JobId, principal: JobAdmin, services: ServicesDependency) -> Response:
    """Stop steering; training goes on."""
    return await _transition(job, "pause", principal, services)


@router.post("/v1/jobs/{job}:resume", response_model=JobReply, responses=problems(404, 409))
async def resume_job(job: JobId, principal: JobAdmin, services: ServicesDependency) -> Response:
    """Steer again."""
    return await _transition(job, "resume", principal, services)


@router.post("/v1/jobs/{job}:cancel", response_model=JobReply, responses=problems(404, 409))
async def cancel_job(job: JobId, principal: JobAdmin, services: ServicesDependency) -> Response:
    """End the job for good: a stop is sent, and a process that is started again for it is stopped too."""
    return await _transition(job, "cancel", principal, services)


@router.post("/v1/jobs/{job}:complete", response_model=JobReply, responses=problems(404, 409))
async def complete_job(job: JobId, principal: JobAdmin, services: ServicesDependency) -> Response:
    """Mark the job as done; a process that still trains for it is sent a stop."""
    return await _transition(job, "complete", principal, services)


@router.post(
    "/v1/jobs/{job}/overrides",
    status_code=201,
    response_model=OverrideReply,
    responses=problems(404, 409, 413, 415),
    openapi_extra=body_of("Override"),
)
async def override_job(
    job: JobId, request: Request, principal: JobAdmin, services: ServicesDependency
) -> Response:
    """Let a person decide in place of the strategy, or hand the job back to it."""
    raw = await read_body(request, services.settings.max_body_bytes)
    override = parse_body(_OVERRIDE, raw)

    async def create() -> StoredReply:
        result = OverrideReply.model_validate(await services.controller.override(job, override))
        return StoredReply(201, result.model_dump_json().encode())

    stored = await idempotently(request, services, principal, raw, create)
    return Response(stored.body, stored.status, stored.headers, media_type="application/json")


async def _transition(job: str, verb: Verb, principal: Principal, services: Services) -> Response:
    view = await services.controller.transition(job, verb, by=principal.identity)
    return json_reply(JobReply.model_validate(view))


def _with_token(registration: Registration, services: Services) -> Registration:
    """Add the job's own token. It is derived anew each time, so a stored reply holds no secret."""
    if not services.authenticator.required or not registration.session:
        return registration
    token = job_token(services.authenticator.secret, registration.job, registration.session)
    return registration.model_copy(update={"token": token})
