"""What came of a run."""

from dataclasses import dataclass

from pacesetter.protocol import LedgerTotals


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run.

    Attributes:
        validation_loss: Of the main line's final state; None without ``validate``.
        completed: Whether the main line reached its budget, or the service stopped it.
        position: Where the main line ended, in the job's clock.
        steps: Optimizer steps of the main line, over all sessions.
        ledger: What this session spent.
        applied: Segments that ran.
        refused: Segments that the job's limits or abilities forbade.
        fallbacks: How often the service did not answer in time at the end of a probe.
        skipped_steps: Steps that a GradScaler skipped.
        clip_rate: Share of steps whose gradient was clipped; None if none was asked to be.
        unsent_records: Records that stayed in the journal, for ``pacesetter sync``.
        job: The job's id at the service; None if it never registered.
    """

    validation_loss: float | None
    completed: bool
    position: int
    steps: int
    ledger: LedgerTotals
    applied: int = 0
    refused: int = 0
    fallbacks: int = 0
    skipped_steps: int = 0
    clip_rate: float | None = None
    unsent_records: int = 0
    job: str | None = None
