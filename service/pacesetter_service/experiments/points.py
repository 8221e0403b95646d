"""What trials measured: stored by heartbeat, read as one curve."""

from collections.abc import Sequence

import numpy as np
from pacesetter.protocol import TrialPoint
from sqlalchemy import select

from pacesetter_service.database.models import TrialPointsRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.reports.packing import FloatArray, missing, pack, to_array, unpack

COLUMNS = ("step", "lr", "loss")


def store(
    tx: Transaction, trial: str, lease: int, through: int, points: Sequence[TrialPoint]
) -> int:
    """Store the points of a heartbeat beyond step ``through``; return the step of the last one stored.

    Steps rise within a lease, so a heartbeat that is sent again stores nothing again.
    """
    new = []
    for point in points:
        if point.step > through:
            new.append(point)
            through = point.step
    if not new:
        return through
    columns = {
        "step": np.array([point.step for point in new], dtype=np.float64),
        "lr": to_array([point.lr for point in new]),
        "loss": to_array([point.loss for point in new]),
    }
    tx.execute(
        tx.insert_into(TrialPointsRow).values(
            trial=trial, lease=lease, first=new[0].step, data=pack(columns)
        )
    )
    return through


def read(tx: Transaction, trial: str) -> dict[str, FloatArray]:
    """Return what a trial measured, by rising steps: ``step``, ``lr`` and ``loss``, missing where it did not.

    A later lease may have begun at a checkpoint: from its first step on it takes the place of the earlier ones.
    """
    rows = tx.execute(
        select(TrialPointsRow.lease, TrialPointsRow.first, TrialPointsRow.data)
        .where(TrialPointsRow.trial == trial)
        .order_by(TrialPointsRow.lease, TrialPointsRow.first)
    ).all()
    return joined([(row.lease, unpack(row.data)) for row in rows])


def joined(parts: Sequence[tuple[int, dict[str, FloatArray]]]) -> dict[str, FloatArray]:
    """Return the columns of a trial from those of its leases, which come in order, each by rising steps."""
    kept: list[dict[str, FloatArray]] = []
    last = 0
    for lease, part in parts:
        if lease != last:
            _cut(kept, part["step"][0])
            last = lease
        kept.append(part)
    # Once, and not part by part: a trial of a day has tens of thousands of heartbeats.
    return {name: np.concatenate([missing(0), *(part[name] for part in kept)]) for name in COLUMNS}


def _cut(parts: list[dict[str, FloatArray]], first: float) -> None:
    """Take away what lies at a step or beyond."""
    while parts and parts[-1]["step"][0] >= first:
        parts.pop()
    if parts:
        end = int(np.searchsorted(parts[-1]["step"], first))
        parts[-1] = {name: column[:end] for name, column in parts[-1].items()}
