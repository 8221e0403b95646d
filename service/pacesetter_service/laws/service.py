"""Laws as the controller hands them out."""

from pacesetter.protocol import Regime

from pacesetter_service.database.store import Store
from pacesetter_service.laws import repository
from pacesetter_service.laws.repository import LawFilter
from pacesetter_service.views import LawView, Page


class Laws:
    """The laws of a controller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, law_id: str, project: str | None = None) -> LawView:
        """Return a version of a law, of any project where none is named. Raises NotFound."""
        return await self._store.read(lambda tx: repository.get(tx, law_id, project))

    async def page(
        self, wanted: LawFilter, page_size: int = 50, page_token: str = ""
    ) -> Page[LawView]:
        """Return a page of the newest law of each key, the one fitted last first. Raises Refused."""
        return await self._store.read(
            lambda tx: repository.list_newest(tx, wanted, page_size, page_token)
        )

    async def newest(
        self, project: str, *, family: str | None = None, regime: Regime | None = None
    ) -> tuple[LawView, ...]:
        """Return the newest law of each key that could be fitted, the one fitted last first."""
        return await self._store.read(
            lambda tx: repository.laws_of(
                tx, repository.newest_ids(tx, project, family=family, regime=regime)
            )
        )

    async def newest_of(self, project: str, key: str) -> LawView | None:
        """Return the newest law of a key, fitted or not; None where there is none yet."""
        return await self._store.read(lambda tx: repository.newest_law(tx, project, key))
