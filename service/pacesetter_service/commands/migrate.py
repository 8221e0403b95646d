"""``pacesetter-server migrate``."""

import structlog

from pacesetter_service.controller import Controller, ControllerOptions
from pacesetter_service.settings import Settings, shown_url

logger = structlog.get_logger(__name__)


async def migrate(settings: Settings) -> None:
    """Bring the schema up to date.

    Raises:
        SchemaTooNew: A newer release wrote the database.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    controller = await Controller.open(settings.database, ControllerOptions(planning=False))
    await controller.close()
    logger.info("the schema is up to date", database=shown_url(settings.database))
