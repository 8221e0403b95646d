"""The application: routes, guards and handlers around one controller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import Scope

from pacesetter_service.controller import ControllerOptions
from pacesetter_service.http import laws, memory, predictions, recommendations
from pacesetter_service.http.boundary import Boundary
from pacesetter_service.http.curves import routes as curves
from pacesetter_service.http.experiments import routes as experiments
from pacesetter_service.http.experiments import trials
from pacesetter_service.http.guards import LocalOnlyGuard, NulGuard
from pacesetter_service.http.jobs import history, outlook
from pacesetter_service.http.jobs import routes as jobs
from pacesetter_service.http.metrics import Metrics
from pacesetter_service.http.openapi import install_openapi
from pacesetter_service.http.operations import routes as operations
from pacesetter_service.http.problems import install_problem_handlers
from pacesetter_service.http.reports import routes as reports
from pacesetter_service.http.segments import routes as segments
from pacesetter_service.http.services import Services, open_services, services_of
from pacesetter_service.settings import Settings

# Reports first: routes are tried in order, and this one is called all the time.
_ROUTERS = (
    reports.router,
    segments.router,
    jobs.router,
    history.router,
    outlook.router,
    curves.router,
    laws.router,
    predictions.router,
    recommendations.router,
    experiments.router,
    trials.router,
    memory.router,
    operations.router,
)
_DESCRIPTION = "Finds learning-rate schedules and sets the pace of running training jobs."


def create_app(settings: Settings, options: ControllerOptions | None = None) -> FastAPI:
    """Return an application that opens its controller when it starts and closes it when it ends."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, metrics, options) as services:
            app.state.services = services
            yield

    return _build(settings, metrics, lifespan)


def app_for(services: Services) -> FastAPI:
    """Return an application around services that somebody else opened and will close."""
    app = _build(services.settings, services.metrics, None)
    app.state.services = services
    return app


def _build(settings: Settings, metrics: Metrics, lifespan: object) -> FastAPI:
    app = FastAPI(
        title="Pacesetter",
        version=operations.VERSION,
        description=_DESCRIPTION,
        lifespan=lifespan,  # type: ignore[arg-type]
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for router in _ROUTERS:
        # Not by `include_router`, which analyses every endpoint once more for every application.
        app.router.routes.extend(router.routes)
    # The last one added is the outermost.
    app.add_middleware(NulGuard)
    app.add_middleware(LocalOnlyGuard, allowed_hosts=settings.allowed_hosts, is_open=_is_open)
    app.add_middleware(Boundary, metrics=metrics)
    install_problem_handlers(app)
    install_openapi(app)
    return app


def _is_open(scope: Scope) -> bool:
    """Whether requests need no token; known once the stored tokens have been read."""
    return not services_of(scope["app"]).authenticator.required
