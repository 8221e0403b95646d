from collections.abc import AsyncIterator

import pytest
from pacesetter_service.database import migrate, open_store
from pacesetter_service.database.store import Store

Heard = list[tuple[frozenset[str], frozenset[str]]]


def unheard(wakes: frozenset[str], due: frozenset[str]) -> None:
    """A listener that nobody asks."""


@pytest.fixture
def heard() -> Heard:
    """What the store told its listener after commits: jobs to wake, jobs to plan."""
    return []


@pytest.fixture
async def store(database_url: str, heard: Heard) -> AsyncIterator[Store]:
    opened = open_store(database_url, lambda wakes, due: heard.append((wakes, due)))
    migrate(opened.engine)
    await opened.start()
    yield opened
    await opened.close()
