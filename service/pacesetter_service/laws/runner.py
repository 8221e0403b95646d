"""Fits the laws whose curves changed, one after the other, in a process of their own.

Which they are stands in the database, so what a controller was killed at is fitted at its next start. Of two replicas
that fit the same the first one's version counts.
"""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from pacesetter_search.memory import LawGroup, fitted_of, obstacle

from pacesetter_service.database.store import Store
from pacesetter_service.errors import ControllerError
from pacesetter_service.laws import repository
from pacesetter_service.laws.messages import FitAnswer, FitRequest
from pacesetter_service.laws.remote import FittingProcess
from pacesetter_service.laws.repository import Group, NewVersion, Stale
from pacesetter_service.looking import Looking
from pacesetter_service.processes.parent import ChildCrashed

ATTEMPTS = 2
"""A failure may be the machine's (out of memory), so each fit has a second try."""

PATIENCE_SECONDS = 30.0
"""Curves that keep coming, and trials that run, put a fit off for so long at most."""

Observe = Callable[[str, float], None]
"""Called with ``fitted`` or ``unfit`` and the seconds that a fit took."""

logger = logging.getLogger(__name__)


class LawRunner(Looking):
    """Looks for groups of curves that changed when it is woken, and every few seconds for those of other replicas.

    Args:
        store: Where curves and laws are.
        process: What fits; it is ended when there is nothing left to fit.
        every_seconds: How often to look though nobody woke it.
        after_seconds: For how long a group's curves must have been as they are: uploads come in numbers.
        observe: Told of every fit.
    """

    def __init__(
        self,
        store: Store,
        process: FittingProcess,
        every_seconds: float,
        after_seconds: float,
        observe: Observe | None = None,
    ) -> None:
        super().__init__("laws to fit", every_seconds)
        self._store = store
        self._process = process
        self._after_seconds = after_seconds
        self._observe = observe
        self._fitting = asyncio.Lock()
        self._waiting: dict[tuple[str, str], float] = {}
        self._failures: dict[tuple[str, str, str], int] = {}

    @property
    def process(self) -> FittingProcess:
        """The process that fits."""
        return self._process

    async def close(self) -> None:
        """Stop at once: what was not stored is fitted again at the next start."""
        await super().close()
        await self._process.stop()

    async def fit(self, *, at_once: bool = False) -> tuple[str, ...]:
        """Fit the laws that are due; return the ids of the new versions.

        Args:
            at_once: Whether not to wait until curves stop coming.
        """
        async with self._fitting:
            found = await self._store.read(repository.stale_groups)
            places = {(each.project, each.key) for each in found}
            now = monotonic()
            self._waiting = {place: self._waiting.get(place, now) for place in places}
            stored = [await self._fit(each) for each in found if at_once or self._is_due(each)]
            return tuple(law_id for law_id in stored if law_id is not None)

    def _is_due(self, stale: Stale) -> bool:
        waited = monotonic() - self._waiting[stale.project, stale.key]
        if waited >= PATIENCE_SECONDS:
            return True
        return stale.quiet_seconds >= self._after_seconds and not stale.busy

    async def _fit(self, stale: Stale) -> str | None:
        """Return the id of the new version, None if there is none. A group that fails holds up no other."""
        try:
            return await self._fit_group(stale)
        except ControllerError as error:
            logger.warning("law %s is fitted later: %s", stale.key, error)
        except Exception:
            logger.exception("fitting the law %s failed", stale.key)
        return None

    async def _fit_group(self, stale: Stale) -> str | None:
        group = await self._store.read(lambda tx: repository.group_of(tx, stale.project, stale.key))
        answer = await self._answer(stale, group)
        if answer is None:
            return None
        about = await self._about(stale, group)
        names = {one.id: one.name for one in group.records}
        new = NewVersion(stale, about, group.seen, answer, names)
        law_id = await self._store.write(lambda tx: repository.insert_version(tx, new))
        self._waiting.pop((stale.project, stale.key), None)
        if self._observe is not None:
            self._observe("unfit" if answer.problem else "fitted", answer.seconds)
        return law_id

    async def _about(self, stale: Stale, group: Group) -> LawGroup:
        if group.records:
            return LawGroup.of(group.records[0])
        return await self._store.read(lambda tx: repository.about_of(tx, stale.project, stale.key))

    async def _answer(self, stale: Stale, group: Group) -> FitAnswer | None:
        """Return what came of a fit; None to try again."""
        reason = obstacle(group.records)
        if reason is not None:
            return FitAnswer(problem=reason)
        chosen = fitted_of(group.records)
        curves = await self._store.read(lambda tx: repository.points_for(tx, chosen))
        if len(curves) < len(chosen):
            return None  # one was deleted meanwhile: the group is stale anew
        place = (stale.project, stale.key, stale.seen)
        try:
            answer = await self._process.fit(FitRequest(curves=curves))
        except ChildCrashed as error:
            self._failures[place] = self._failures.get(place, 0) + 1
            if self._failures[place] < ATTEMPTS:
                logger.warning("fitting the law %s failed, one more try: %s", stale.key, error)
                return None
            answer = FitAnswer(problem=f"the fit failed {ATTEMPTS} times: {error}")
        self._failures.pop(place, None)
        return answer

    async def _look(self) -> float:
        await self.fit()
        if await self._store.read(repository.stale_groups):
            return min(self._every_seconds, self._after_seconds)
        # Its libraries take a hundred megabytes, and curves are rare.
        await self._process.stop()
        return self._every_seconds
