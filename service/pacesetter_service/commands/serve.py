"""``pacesetter-server serve``."""

from pathlib import Path

import structlog

from pacesetter_service.app import app_for
from pacesetter_service.http.metrics import Metrics
from pacesetter_service.http.services import open_services
from pacesetter_service.http.serving import bind, build_server
from pacesetter_service.settings import Settings

logger = structlog.get_logger(__name__)


async def serve(settings: Settings, url_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        SettingsError: The address cannot be used, or needs a token that does not exist.
        StorageError: The database cannot be used.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    if url_file is not None:
        # Whoever waits for the file must not find the address of a server that is gone.
        url_file.unlink(missing_ok=True)
    async with open_services(settings, Metrics()) as services:
        with bind(settings) as listener:
            server = build_server(app_for(services), settings, url_file)
            await server.serve([listener])
