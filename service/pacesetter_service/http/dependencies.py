"""What routes ask for: the services, and a principal with the scope they need."""

import re
from typing import Annotated, Any

from fastapi import Depends, Path, Request

from pacesetter_service.auth.principal import LOCAL, Principal, Scope
from pacesetter_service.http.problems import ApiProblem
from pacesetter_service.http.services import Services
from pacesetter_service.jobs.open_job import job_not_found

LARGEST_INTEGER = 2**63 - 1

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
JobId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$", description="The job's id.")]


async def get_services(request: Request) -> Services:
    """Return what the running app works with."""
    services: Services = request.app.state.services
    return services


ServicesDependency = Annotated[Services, Depends(get_services, scope="function")]


class Require:
    """A dependency: the caller's principal, holding one of ``scopes``."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    async def __call__(self, request: Request, services: ServicesDependency) -> Principal:
        """Return the principal.

        Raises:
            ApiProblem: 401 without a good token, 403 without the scope.
        """
        principal = await _authenticate(request, services, None)
        if not principal.may(*self.scopes):
            raise _forbidden(self.scopes)
        return principal


class RequireForJob:
    """A dependency: the caller's principal, holding one of ``scopes`` and allowed to see the job in the path."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    async def __call__(
        self, job: JobId, request: Request, services: ServicesDependency
    ) -> Principal:
        """Return the principal.

        Raises:
            ApiProblem: 401, 403, or 404 for a job of another project: whether it exists is not told.
        """
        principal = await _authenticate(request, services, job)
        if not principal.may(*self.scopes):
            raise _forbidden(self.scopes)
        if principal.job is None and not principal.everywhere:
            view = await services.controller.get_job(job)
            if view.project != principal.project:
                raise job_not_found(job)
        return principal


READS_JOB: Any = Depends(RequireForJob("read", "register", "job"), scope="function")
may_report = RequireForJob("job", "register")
REPORTS_JOB: Any = Depends(may_report, scope="function")
ADMINISTERS_JOB: Any = Depends(RequireForJob("admin"), scope="function")


async def _authenticate(request: Request, services: Services, job: str | None) -> Principal:
    if not services.authenticator.required:
        return LOCAL
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not token:
        raise _unauthorised("The request carries no bearer token.")
    principal = await services.authenticator.principal(token, job)
    if principal is None:
        # One sentence for every reason: unknown, mistyped, expired, revoked, another job's.
        raise _unauthorised("The bearer token is not valid here.")
    return principal


def _unauthorised(detail: str) -> ApiProblem:
    return ApiProblem(
        401,
        "UNAUTHENTICATED",
        detail,
        hint="Send Authorization: Bearer TOKEN (training jobs: set PACESETTER_TOKEN); "
        "`pacesetter-server token create` makes one.",
        headers={"WWW-Authenticate": 'Bearer realm="pacesetter"'},
    )


def _forbidden(scopes: tuple[Scope, ...]) -> ApiProblem:
    words = " or ".join(sorted({*scopes, "admin"}))
    return ApiProblem(
        403,
        "FORBIDDEN",
        "The token does not allow this.",
        hint=f"It takes a token with scope {words}.",
    )
