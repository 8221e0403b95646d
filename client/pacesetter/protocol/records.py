"""Records: everything a job ever tells the service.

A session numbers its records 1, 2, 3, ... and sends them in that order, so a record that arrives twice is recognised
by its number alone and counts once.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from pacesetter.protocol.base import Message, Name

MAX_ROWS = 10_000
"""Rows in one measurements record."""

AckStatus = Literal["applied", "refused", "stale", "superseded", "unpaired", "expired"]
Verification = Literal["verified", "unverifiable", "mismatch", "exempt", "pending"]
Outcome = Literal["completed", "stopped", "interrupted"]


class GroupReadback(Message):
    """The learning rate of one parameter group around the first step of a segment."""

    group: Name
    lr_before: float
    lr_announced: float
    lr_after: float
    """Read back from the optimizer after writing."""
    lr_applied: float | None = None
    """Derived from the change of the weights, where the optimizer has a closed form."""
    verification: Verification = "unverifiable"
    rounding_bound: float | None = None
    """Relative error that floating point allows ``lr_applied``: eps |w| / |dw|."""


class LedgerTotals(Message):
    """What a session has spent so far, cumulative."""

    main_steps: int = 0
    probe_steps: int = 0
    branch_steps: int = 0
    main_tokens: int = 0
    probe_tokens: int = 0
    discarded_steps: int = 0
    """Main-line steps that a rollback took back; ``main_steps`` no longer counts them."""
    discarded_tokens: int = 0
    main_seconds: float = 0.0
    probe_seconds: float = 0.0
    validation_seconds: float = 0.0
    snapshot_seconds: float = 0.0
    waiting_seconds: float = 0.0


class RecordBase(Message):
    """Number and place of a record."""

    number: int = Field(ge=1)
    segment: int = Field(ge=0)
    """``seq`` of the segment that ran; 0 is the base schedule before the first segment."""
    position: int = Field(ge=0)
    """Position in the job's clock when the record was made (of the main line, plus progress inside a probe)."""


class Measurements(RecordBase):
    """Rows measured in one segment, as columns of equal length.

    ``position`` and ``step`` are required in ``columns`` (``step`` counts every optimizer step of the session and rises
    strictly). Known others: ``tokens, loss, lr, multiplier, grad_norm, grad_norm_l1, parameter_norm, clipped``.
    A value that was not measured is null.
    """

    type: Literal["measurements"] = "measurements"
    columns: dict[Name, list[float | None]]

    @model_validator(mode="after")
    def _columns_fit(self) -> "Measurements":
        missing = {"position", "step"} - self.columns.keys()
        if missing:
            raise ValueError(
                f"columns lack {sorted(missing)}; each row needs its position and step"
            )
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) != 1:
            raise ValueError(
                f"columns have different lengths {sorted(lengths)}; give each one value a row"
            )
        if not 1 <= min(lengths) <= MAX_ROWS:
            raise ValueError(f"{min(lengths)} rows; send 1 to {MAX_ROWS} rows a record")
        return self


class Acknowledgement(RecordBase):
    """What the job did with a segment, and what its optimizer showed afterwards."""

    type: Literal["acknowledgement"] = "acknowledgement"
    status: AckStatus
    groups: tuple[GroupReadback, ...] = ()
    code: str | None = None
    """Why it was refused, as a stable word: ``ABOVE_LIMIT``, ``NO_CHECKPOINT``, ``UNKNOWN_POLICY``, ..."""
    detail: str | None = None


class SegmentEnded(RecordBase):
    """A segment is over. The job flushes at once, so this is the last record about it."""

    type: Literal["segment_ended"] = "segment_ended"
    kind: Literal["main", "probe", "branch"]
    outcome: Outcome
    code: str | None = None
    """Which stop clause fired (``NON_FINITE``, ``ABOVE_FIRST``, ``AVERAGE_ABOVE``), or why it was interrupted."""
    steps: int = Field(ge=0)
    tokens: int = Field(default=0, ge=0)
    main_position: int = Field(ge=0)
    """Main-line position that the job stands at now: where a probe left the main line, or the segment's own end."""
    validation_loss: float | None = None
    unpaired: bool = False
    """The probe needed more batches than the rewind buffer holds, so it did not see the same data as its siblings."""


class SessionBegan(RecordBase):
    """The first record of a session: where on the main line this process starts."""

    type: Literal["session_began"] = "session_began"
    resumed: bool = False
    world_size: int = Field(default=1, ge=1)


class FellBack(RecordBase):
    """No segment came within the waiting bound: the job follows its newest main policy again."""

    type: Literal["fell_back"] = "fell_back"
    follows: int = Field(ge=0)
    """``seq`` of the main segment whose policy it follows now; plan the next segment ``after`` this one."""
    waited_seconds: float


class Notice(RecordBase):
    """Something a person should know: a conflict over the learning rate, a mismatch, a batch-size change."""

    type: Literal["notice"] = "notice"
    level: Literal["info", "warning", "alert"]
    code: Name
    """``LR_CONFLICT``, ``LR_NOT_APPLIED``, ``BATCH_CHANGED``, ``RECORDS_DROPPED``, ..."""
    detail: str = Field(max_length=4000)
    numbers: dict[str, JsonValue] = Field(default_factory=dict)


class Finished(RecordBase):
    """The job left any probe, restored its main line and is done."""

    type: Literal["finished"] = "finished"
    validation_loss: float | None = None
    completed: bool = True
    """False when the training code ended before the budget, by itself: the job is ``failed`` until it is resumed."""
    detail: str | None = Field(default=None, max_length=4000)
    """Why it ended early, if the client knows: the type of the exception that ended the training."""


Record = Annotated[
    Measurements | Acknowledgement | SegmentEnded | SessionBegan | FellBack | Notice | Finished,
    Field(discriminator="type"),
]


class Report(Message):
    """The body of ``POST /v1/jobs/{id}/reports``: consecutive records of one session."""

    session: Name
    records: tuple[Record, ...] = Field(max_length=1000)
    ledger: LedgerTotals | None = None
    seen: int = Field(default=0, ge=0)
    """The highest ``seq`` the job has received; the reply carries what is newer."""
