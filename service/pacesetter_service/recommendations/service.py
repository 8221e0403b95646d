"""Recommendations as the controller hands them out: worked out from a project's evidence, kept, and applied to jobs."""

import asyncio
import secrets

from pacesetter.protocol import Recommendation
from pacesetter_search.recommendation import ImpossibleTarget, Target, recommend

from pacesetter_service.database.store import Store
from pacesetter_service.errors import Refused
from pacesetter_service.experiments.curves import curves_of
from pacesetter_service.planning.registry import Registry
from pacesetter_service.recommendations import applying, repository
from pacesetter_service.recommendations.applying import Application
from pacesetter_service.recommendations.evidence import EvidenceCache
from pacesetter_service.views import OverrideResult, Page, StoredRecommendation


class Recommendations:
    """What a controller recommends.

    Args:
        store: Where evidence and answers are.
        registry: The strategies, which are told when a job is given a recommendation.
        evidence: What projects know.
    """

    def __init__(self, store: Store, registry: Registry, evidence: EvidenceCache) -> None:
        self._store = store
        self._registry = registry
        self._evidence = evidence

    async def ask(self, target: Target, project: str, *, keep: bool = False) -> Recommendation:
        """Return what to run, on the evidence of a project.

        Args:
            target: What is to be trained.
            project: Whose evidence counts.
            keep: Whether to store the answer; it has an id then.

        Raises:
            Refused: No schedule fits what is asked for (``IMPOSSIBLE_TARGET``), or the target's evidence names an
                experiment that the project does not have (``UNKNOWN_EXPERIMENT``).
        """
        evidence = await self._evidence.of(project)
        named = target.experiments
        heard = await self._store.read(lambda tx: curves_of(tx, named, project)) if named else ()
        try:
            # Some tens of milliseconds with a law: not on the loop that takes reports.
            answer = await asyncio.to_thread(
                recommend, target, evidence.recorded, evidence.laws, heard=heard
            )
        except ImpossibleTarget as error:
            raise Refused(
                f"{error}.",
                code="IMPOSSIBLE_TARGET",
                hint="Loosen what is fixed of the schedule: its family, warm-up, steps, or that it can be extended.",
            ) from None
        if not keep:
            return answer
        kept = answer.model_copy(update={"id": f"rec_{secrets.token_hex(10)}"})
        await self._store.write(lambda tx: repository.insert_answer(tx, project, kept))
        return kept

    async def get(self, id_: str, project: str | None = None) -> StoredRecommendation:
        """Return a recommendation that was kept, of any project where none is named. Raises NotFound."""
        return await self._store.read(lambda tx: repository.get(tx, id_, project))

    async def page(
        self, project: str | None = None, page_size: int = 50, page_token: str = ""
    ) -> Page[StoredRecommendation]:
        """Return a page of recommendations, newest first. Raises Refused (``BAD_PAGE_TOKEN``)."""
        return await self._store.read(
            lambda tx: repository.list_answers(tx, project, page_size, page_token)
        )

    async def apply(
        self, id_: str, wish: Application, project: str | None = None
    ) -> OverrideResult:
        """Let a job follow a recommendation from where it stands. Raises NotFound, Conflict or Refused."""
        return await self._store.write(
            lambda tx: applying.apply(tx, id_, wish, project, self._registry)
        )
