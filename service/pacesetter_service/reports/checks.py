"""What can be said about a record from the record alone, before the database is asked."""

from dataclasses import dataclass

import numpy as np
from pacesetter.protocol import Measurements, Record, Report

from pacesetter_service.reports.packing import pack, to_array


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a record cannot be used."""

    code: str
    detail: str
    hint: str


@dataclass(frozen=True, slots=True)
class PreparedRecord:
    """A record ready to be stored. ``data`` and the steps are those of measurements."""

    record: Record
    data: bytes | None = None
    first_step: float = 0.0
    last_step: float = 0.0
    problem: Problem | None = None


def out_of_order(detail: str) -> Problem:
    """Return the problem of steps that do not rise."""
    return Problem(
        "STEP_OUT_OF_ORDER",
        detail,
        "count every optimizer step of the session once, upwards; a restart is a new session",
    )


def _prepare_rows(record: Measurements) -> PreparedRecord:
    columns = {name: to_array(values) for name, values in record.columns.items()}
    step, position = columns["step"], columns["position"]
    problem = None
    if not (np.isfinite(step).all() and np.isfinite(position).all()):
        problem = Problem(
            "BAD_POSITION",
            "a row lacks its step or position, or they are not finite",
            "give each row the step and the position it was measured at",
        )
    elif not (np.diff(step) > 0).all():
        row = int(np.argmin(np.diff(step) > 0)) + 1
        problem = out_of_order(f"step {step[row]:g} follows step {step[row - 1]:g}")
    elif (position < 0).any():
        problem = Problem("BAD_POSITION", "a position is negative", "count positions from 0")
    return PreparedRecord(record, pack(columns), float(step[0]), float(step[-1]), problem)


def prepare(report: Report) -> tuple[PreparedRecord, ...]:
    """Check and pack the records of a report."""
    return tuple(
        _prepare_rows(record) if isinstance(record, Measurements) else PreparedRecord(record)
        for record in report.records
    )
