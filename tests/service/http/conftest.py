from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pacesetter_service.app import app_for
from pacesetter_service.http.metrics import Metrics
from pacesetter_service.http.services import Services, open_services
from pacesetter_service.settings import Settings

ADMIN_TOKEN = "the-admin-token-of-these-tests"


@pytest.fixture
async def services(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Services]:
    """A service on a SQLite file that asks for no token."""
    settings = Settings(
        data_dir=tmp_path,
        database_url=sqlite_url,
        port=0,
        secret="s" * 32,
        graceful_seconds=3,
    )
    async with open_services(settings, Metrics()) as opened:
        yield opened


@pytest.fixture
async def guarded(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Services]:
    """A service that asks for tokens."""
    settings = Settings(
        data_dir=tmp_path,
        database_url=sqlite_url,
        port=0,
        secret="s" * 32,
        admin_token=ADMIN_TOKEN,
        graceful_seconds=3,
    )
    async with open_services(settings, Metrics()) as opened:
        yield opened


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app_for(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as opened:
        yield opened


@pytest.fixture
async def anonymous(guarded: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token, of a service that asks for one."""
    transport = httpx.ASGITransport(app_for(guarded))
    async with httpx.AsyncClient(transport=transport, base_url="http://example.org") as opened:
        yield opened
