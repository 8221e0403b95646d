"""A recorded main line in forms that other programs read: a table of knots, as CSV or within a Python file.

Between two knots the line is straight to a millionth of its peak, which a float32 optimizer cannot tell apart; at every
jump two knots stand on neighbouring positions. So a file has no more than it needs, however long the job was.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal

import numpy as np
from pacesetter.protocol import JobSpec
from pacesetter.schedules import Schedule

from pacesetter_service.errors import Conflict
from pacesetter_service.jobs.templates import HF, SCHEDULER, TORCH
from pacesetter_service.views import MainLinePiece

Format = Literal["csv", "torch", "hf"]
Knot = tuple[int, float]

TOLERANCE = 1e-6
"""Of the peak; what a client takes for read back as written, too."""
SAMPLES = 16
"""Places at which a stretch between two knots is looked at."""


@dataclass(frozen=True, slots=True)
class Line:
    """Multipliers of one parameter group's base learning rate, over the main line."""

    group: str
    base_lr: float
    knots: tuple[Knot, ...]


def lines(spec: JobSpec, pieces: tuple[MainLinePiece, ...]) -> tuple[Line, ...]:
    """Return the main line of every parameter group, in the order that the job registered them."""
    found = []
    for group in spec.groups:
        driving = [
            piece for piece in pieces if piece.controls == "all" or group.control in piece.controls
        ]
        # Each gives way to the next one of the same group; the last goes on to the job's end, or to its budget.
        ends = [*(piece.start for piece in driving[1:]), pieces[-1].end or spec.budget.total]
        stretches = chain.from_iterable(
            _stretch(piece, end, group.base_lr) for piece, end in zip(driving, ends, strict=True)
        )
        found.append(Line(group.name, group.base_lr, tuple(stretches)))
    return tuple(found)


def _stretch(piece: MainLinePiece, end: int, base_lr: float) -> Iterator[Knot]:
    """Yield the knots of one piece over [start, end)."""
    last = end - 1
    if last < piece.start:
        return
    schedule = Schedule.model_validate(piece.policy)
    unit = base_lr if schedule.unit == "absolute" else 1.0
    marks = {piece.start, last}
    for kink in schedule.breakpoints():
        near = int(np.ceil(kink))
        marks |= {mark for mark in (near - 1, near) if piece.start < mark < last}
    yield piece.start, schedule.at(piece.start) / unit
    for left, right in pairwise(sorted(marks)):
        for position in _between(schedule, left, right):
            yield position, schedule.at(position) / unit


def _between(schedule: Schedule, left: int, right: int) -> Iterator[int]:
    """Yield the positions in (left, right] that straight lines need to follow the schedule."""
    stack = [(left, right)]
    while stack:
        left, right = stack.pop()
        seen = np.unique(np.linspace(left, right, SAMPLES + 2).round())
        values = schedule.over(seen)
        straight = np.interp(seen, (left, right), (values[0], values[-1]))
        if right - left < 2 or np.abs(straight - values).max() <= TOLERANCE * schedule.peak:
            yield right
        else:
            middle = (left + right) // 2
            stack += [(middle, right), (left, middle)]


def export(form: Format, name: str, spec: JobSpec, pieces: tuple[MainLinePiece, ...]) -> str:
    """Return the main line as a text: ``csv``, or a Python file with a scheduler of torch's (``torch``, ``hf``).

    Raises:
        Conflict: A feedback rule moved the rates of a stretch, so that its policy is not what the job ran at.
    """
    _refuse_regulated(pieces)
    found = lines(spec, pieces)
    if form == "csv":
        return _csv(found)
    template = TORCH if form == "torch" else HF
    return template.format(
        name=json.dumps(name)[1:-1],
        clock=spec.budget.clock,
        bases=[line.base_lr for line in found],
        knots="".join(f"    [\n{_rows(line)}    ],\n" for line in found),
        scheduler=SCHEDULER,
    )


def _refuse_regulated(pieces: tuple[MainLinePiece, ...]) -> None:
    regulated = next((piece for piece in pieces if piece.feedback is not None), None)
    if regulated is not None:
        raise Conflict(
            f"a feedback rule moved the rates of segment {regulated.seq}, so its schedule is not what the "
            "job ran at",
            code="MAIN_LINE_REGULATED",
            hint="take the rates that were realised from the curve of the job, columns position and lr",
        )


def _rows(line: Line) -> str:
    return "".join(f"        ({position}, {value!r}),\n" for position, value in line.knots)


def _csv(found: tuple[Line, ...]) -> str:
    """Return one row a knot and group."""
    rows = ["group,position,multiplier,lr"]
    for line in found:
        quoted = '"' + line.group.replace('"', '""') + '"'
        rows += [f"{quoted},{at},{value!r},{value * line.base_lr!r}" for at, value in line.knots]
    return "\n".join(rows) + "\n"
