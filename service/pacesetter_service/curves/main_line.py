"""The main line of a job as a curve by optimizer steps."""

from collections.abc import Mapping

import numpy as np
from pacesetter.curves import Points
from pacesetter.errors import CurveError

from pacesetter_service.reports.packing import FloatArray, is_missing


def points_of_rows(
    rows: Mapping[str, FloatArray],
    *,
    tokens_per_step: float | None = None,
    below: float = np.inf,
    warmup: int = 0,
) -> Points:
    """Return the curve of what a main line measured, the last row of each step where one was made again.

    Args:
        rows: ``position``, ``loss`` and ``lr``, in the order they were measured.
        tokens_per_step: Of the job, where its positions count tokens; None: they count steps.
        below: Main-line position that the job stands at: what a rollback took back lies beyond it.
        warmup: Steps of the base schedule's warm-up.

    Raises:
        CurveError: There is no curve in them.
    """
    position, loss, lr = (rows[name] for name in ("position", "loss", "lr"))
    with np.errstate(invalid="ignore"):
        kept = np.isfinite(position) & (position < below) & np.isfinite(lr) & (lr >= 0.0)
    if not kept.any():
        raise CurveError(
            "no row of the main line has a learning rate",
            code="NO_CURVE",
            hint="report loss and lr of a job that has trained",
        )
    # Rows carry the position before their step.
    done = position[kept] / (tokens_per_step or 1.0) + 1.0
    # The last report of a step comes first here, and `unique` keeps the first.
    steps, places = np.unique(np.rint(done)[::-1], return_index=True)
    rates, losses = lr[kept][::-1][places], loss[kept][::-1][places]
    return Points.of(
        steps,
        rates,
        losses,
        measured=~is_missing(losses),
        warmup=min(warmup, max(0, int(steps[-1]) - 1)),
    )
