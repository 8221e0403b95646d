"""What a project's runs teach, as the controller tells it."""

import asyncio

from pacesetter_search.memory.taught import TaughtKind, Wanted, taught

from pacesetter_service.recommendations.evidence import EvidenceCache


class Memory:
    """What a controller remembers.

    Args:
        evidence: What projects know.
    """

    def __init__(self, evidence: EvidenceCache) -> None:
        self._evidence = evidence

    async def ask(self, wanted: Wanted, project: str) -> tuple[TaughtKind, ...]:
        """Return what the runs of a project teach, those that a person left out excepted."""
        evidence = await self._evidence.of(project)
        # Some milliseconds a kind, and more where best peaks have to be worked out first.
        return await asyncio.to_thread(taught, evidence.recorded, wanted)
