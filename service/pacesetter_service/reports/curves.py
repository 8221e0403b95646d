"""Recorded curves, downsampled without losing a spike."""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from pacesetter_service.database.models import EventRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.jobs.reading import require_job
from pacesetter_service.planning.requests import resume_limits
from pacesetter_service.reports.packing import FloatArray, unpack
from pacesetter_service.segments.repository import segment_kinds
from pacesetter_service.views import CurveView

ALWAYS = ("position", "step")


def keep_extremes(series: Sequence[FloatArray], max_points: int) -> npt.NDArray[np.intp]:
    """Return sorted indices of at most ``max_points`` rows that keep each bucket's extremes.

    Rows are cut into equal buckets; of each bucket the first row and, for every series, the rows of its smallest and
    largest finite value are kept.

    Args:
        series: Columns of n values each.
        max_points: Most rows to keep.
    """
    rows = len(series[0])
    if rows <= max_points:
        return np.arange(rows)
    buckets = max(1, max_points // (2 * len(series) + 1))
    edges = np.linspace(0, rows, buckets + 1).astype(np.intp)
    kept: set[int] = set()
    for start, end in itertools.pairwise(edges):
        kept.add(int(start))
        for column in series:
            part = column[start:end]
            if np.isfinite(part).any():
                kept.add(int(start + np.argmin(np.where(np.isfinite(part), part, np.inf))))
                kept.add(int(start + np.argmax(np.where(np.isfinite(part), part, -np.inf))))
    return np.array(sorted(kept)[:max_points], dtype=np.intp)


def curve(tx: Transaction, job_id: str, columns: Sequence[str], max_points: int) -> CurveView:
    """Return the measured columns of the kept history, in the order they were measured. Raises NotFound."""
    require_job(tx, job_id)
    names = list(dict.fromkeys((*ALWAYS, *columns)))
    limits = resume_limits(tx, job_id)
    kinds = segment_kinds(tx, job_id)
    rows = tx.execute(
        select(EventRow.session, EventRow.segment, EventRow.data)
        .where(EventRow.job == job_id, EventRow.type == "measurements")
        .order_by(EventRow.number)
    )
    parts: dict[str, list[FloatArray]] = {name: [] for name in names}
    kind_of_row: list[str] = []
    for row in rows:
        data = unpack(row.data)
        kept = data["position"] < limits.get(row.session, np.inf)
        count = int(kept.sum())
        for name in names:
            column = data.get(name)
            parts[name].append(np.full(count, np.nan) if column is None else column[kept])
        kind_of_row += [kinds.get(row.segment, "main")] * count
    if not kind_of_row:
        return CurveView({name: [] for name in names}, [], 0)
    joined = {name: np.concatenate(part) for name, part in parts.items()}
    chosen = keep_extremes([joined[name] for name in columns or ALWAYS], max(1, max_points))
    return CurveView(
        {name: column[chosen].tolist() for name, column in joined.items()},
        [kind_of_row[index] for index in chosen],
        len(kind_of_row),
    )
