"""What the routes work with: opened once, closed once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog
from fastapi import FastAPI

from pacesetter_service.auth.authenticator import Authenticator, open_authenticator
from pacesetter_service.auth.secret import load_secret
from pacesetter_service.controller import Controller, ControllerOptions
from pacesetter_service.http.metrics import Metrics
from pacesetter_service.settings import Settings, shown_url

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a route may use."""

    settings: Settings
    controller: Controller
    authenticator: Authenticator
    metrics: Metrics
    closing: asyncio.Event
    """Set when the process was asked to end: streams and long polls return at once."""


@asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics, options: ControllerOptions | None = None
) -> AsyncIterator[Services]:
    """Open the controller and all that hangs on it.

    Raises:
        SettingsError: The settings cannot work, for instance a public address without a token.
        StorageError: The database cannot be used.
    """
    secret = load_secret(settings)
    options = replace(
        options or ControllerOptions(lease_seconds=settings.lease_seconds),
        observe_planning=metrics.observe_planning,
        observe_fit=metrics.observe_fit,
    )
    controller = await Controller.open(settings.database, options)
    try:
        authenticator = await open_authenticator(settings, controller, secret)
        logger.info(
            "ready",
            database=shown_url(settings.database),
            data_dir=str(settings.data_dir),
            tokens="required" if authenticator.required else "not asked for (loopback only)",
        )
        services = Services(settings, controller, authenticator, metrics, asyncio.Event())
        yield services
        services.closing.set()
    finally:
        await controller.close()


def services_of(app: FastAPI) -> Services:
    """Return what ``app`` runs on; there from the start of its lifespan."""
    services = app.state.services
    assert isinstance(services, Services)
    return services


def closing_of(app: FastAPI) -> asyncio.Event:
    """Return the event that asks streams and long polls to end."""
    return services_of(app).closing
