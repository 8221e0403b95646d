"""Points of a curve as one binary value, packed as measurements are."""

import numpy as np
from pacesetter.curves import Points

from pacesetter_service.reports.packing import FloatArray, is_missing, missing, pack, unpack


def columns_of(points: Points) -> dict[str, FloatArray]:
    """Return the columns of a curve as measurements have them: a loss that was not measured is missing."""
    losses = points.losses.copy()
    absent = np.isnan(losses)
    losses[absent] = missing(int(absent.sum()))
    return {"step": points.steps, "lr": points.lrs, "loss": losses}


def packed(points: Points) -> bytes:
    """Return the columns of a curve as one value."""
    return pack(columns_of(points))


def unpacked(data: bytes) -> Points:
    """Return the curve in a packed value."""
    columns = unpack(data)
    losses = np.where(is_missing(columns["loss"]), np.nan, columns["loss"])
    return Points(columns["step"], columns["lr"], losses)
