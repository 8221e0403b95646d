"""Recorded curves, downsampled without losing a spike."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from pacesetter_service.database.models import EventRow, SessionRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.jobs.reading import require_job
from pacesetter_service.planning.requests import resume_limits
from pacesetter_service.reports.packing import FloatArray, is_missing, missing, to_lists, unpack
from pacesetter_service.segments.repository import segment_kinds
from pacesetter_service.views import CurveView

ALWAYS = ("position", "step")


def keep_extremes(series: Sequence[FloatArray], max_points: int) -> npt.NDArray[np.intp]:
    """Return sorted indices of at most ``max_points`` rows that keep each bucket's extremes.

    Rows are cut into equal buckets; of each bucket the first row and, for every series, the rows of its smallest and
    largest finite value and of the first one that was measured and is not finite are kept.

    Args:
        series: Columns of n values each, as packing has them.
        max_points: Most rows to keep.
    """
    rows = len(series[0])
    if rows <= max_points:
        return np.arange(rows)
    buckets = max(1, max_points // (3 * len(series) + 1))
    edges = np.linspace(0, rows, buckets + 1).astype(np.intp)
    kept: set[int] = set()
    for start, end in itertools.pairwise(edges):
        kept.add(int(start))
        for column in series:
            kept |= {int(start + row) for row in _extremes(column[start:end])}
    return np.array(sorted(kept)[:max_points], dtype=np.intp)


def _extremes(part: FloatArray) -> list[np.intp]:
    """Return where its smallest, its largest and its first value that is not a number stand, as far as it has them."""
    finite = np.isfinite(part)
    found = []
    if finite.any():
        found.append(np.argmin(np.where(finite, part, np.inf)))
        found.append(np.argmax(np.where(finite, part, -np.inf)))
    broken = ~finite & ~is_missing(part)
    if broken.any():
        found.append(np.argmax(broken))
    return found


@dataclass(slots=True)
class _Rows:
    """What the stored records hold of the wanted columns, record by record."""

    columns: dict[str, list[FloatArray]]
    segments: list[npt.NDArray[np.int64]]
    sessions: list[npt.NDArray[np.int64]]

    def add(self, data: dict[str, FloatArray], below: float, segment: int, session: int) -> None:
        """Take the rows of a record at positions below ``below``."""
        kept = data["position"] < below
        count = int(kept.sum())
        for name, parts in self.columns.items():
            column = data.get(name)
            parts.append(missing(count) if column is None else column[kept])
        self.segments.append(np.full(count, segment))
        self.sessions.append(np.full(count, session))


def curve(
    tx: Transaction,
    job_id: str,
    columns: Sequence[str],
    max_points: int,
    *,
    all_sessions: bool = False,
) -> CurveView:
    """Return the measured columns, in the order they were measured. Raises NotFound.

    Args:
        tx: Where to read.
        job_id: The job.
        columns: Names beside ``position`` and ``step``.
        max_points: Most rows to return.
        all_sessions: Whether to show what a session trained beyond the place where a later one resumed, too.
    """
    require_job(tx, job_id)
    names = list(dict.fromkeys((*ALWAYS, *columns)))
    limits = {} if all_sessions else resume_limits(tx, job_id)
    numbers = _session_numbers(tx, job_id)
    found = _Rows({name: [] for name in names}, [], [])
    records = tx.execute(
        select(EventRow.session, EventRow.segment, EventRow.data)
        .where(EventRow.job == job_id, EventRow.type == "measurements")
        .order_by(EventRow.number)
    )
    for record in records:
        below = limits.get(record.session, np.inf)
        found.add(unpack(record.data), below, record.segment, numbers[record.session])
    if not found.segments:
        return CurveView({name: [] for name in names}, [], [], [], 0)
    joined = {name: np.concatenate(parts) for name, parts in found.columns.items()}
    chosen = keep_extremes([joined[name] for name in columns or ALWAYS], max(1, max_points))
    segments: list[int] = np.concatenate(found.segments)[chosen].tolist()
    kinds = segment_kinds(tx, job_id)
    return CurveView(
        columns=to_lists({name: column[chosen] for name, column in joined.items()}),
        kinds=[kinds.get(seq, "main") for seq in segments],
        segments=segments,
        sessions=np.concatenate(found.sessions)[chosen].tolist(),
        rows_total=len(joined["position"]),
    )


def main_rows(tx: Transaction, job_id: str, columns: Sequence[str]) -> dict[str, FloatArray]:
    """Return the measured columns of the main line, in the order they were measured; what was superseded is left out.

    Args:
        tx: Where to read.
        job_id: The job.
        columns: Names beside ``position``.
    """
    names = ("position", *columns)
    limits, kinds = resume_limits(tx, job_id), segment_kinds(tx, job_id)
    parts: dict[str, list[FloatArray]] = {name: [] for name in names}
    records = tx.execute(
        select(EventRow.session, EventRow.segment, EventRow.data)
        .where(EventRow.job == job_id, EventRow.type == "measurements")
        .order_by(EventRow.number)
    )
    for record in records:
        if kinds.get(record.segment) != "main":
            continue
        data = unpack(record.data)
        kept = data["position"] < limits.get(record.session, np.inf)
        for name in names:
            column = data.get(name)
            parts[name].append(missing(int(kept.sum())) if column is None else column[kept])
    return {
        name: np.concatenate(arrays) if arrays else missing(0) for name, arrays in parts.items()
    }


def _session_numbers(tx: Transaction, job_id: str) -> dict[str, int]:
    rows = tx.execute(select(SessionRow.id, SessionRow.number).where(SessionRow.job == job_id))
    return {row.id: row.number for row in rows}
