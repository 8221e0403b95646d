"""The ways a job may go on from where it stands, none above the highest rate it was given."""

import math
from collections.abc import Iterator

import numpy as np
from pacesetter.schedules import WSD, Cosine, Linear, Schedule
from pacesetter.schedules.families import AnyFamily
from pacesetter.schedules.horizon import join

from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.horizon.candidates import (
    KEPT,
    Candidate,
    permitted,
    plan,
    shapes_are_free,
)
from pacesetter_search.strategies.horizon.memory import Memory
from pacesetter_search.strategies.law.parameters import LawParameters

ORIGIN = "law"
BASE = "base"

SHORTEST_TAIL = 0.05
"""Share of the budget over which the rate falls at the end, at the least: laws like shorter ones, and nobody measured
them."""

COOLDOWNS = (0.2, 0.4, 0.6, 0.8)
"""Shares of what is left."""

FACTORS = (1.0, 0.84, 0.71, 0.5)
"""Of the rate at which a new shape begins: the highest that the line has from here on, which is the present one unless
the budget was extended and the line warms up again. It may be lowered at once, and is never raised."""


def ways(
    job: JobFacts, memory: Memory, parameters: LawParameters, position: int
) -> list[Candidate]:
    """Return all ways to go on at ``position``, the first of them the schedule as it is."""
    line = memory.policy(job.base)
    found = [Candidate(1.0, KEPT, line)]
    free = shapes_are_free(job, parameters.choose_shape)
    for way in (*_back_to_base(job, line, position), *_anew(job, line, position, free)):
        if permitted(job, memory, plan(job, position, way.policy, ORIGIN)):
            found.append(way)
    return found


def _back_to_base(job: JobFacts, line: Schedule, position: int) -> Iterator[Candidate]:
    """Yield the base schedule from here, where the line has left it: its rates were allowed from the start."""
    places = np.linspace(position, job.budget.total - 1, 65)
    if not np.allclose(job.base.over(places), line.over(places), rtol=1e-9, atol=1e-15):
        yield Candidate(1.0, BASE, job.base)


def _anew(job: JobFacts, line: Schedule, position: int, free: bool) -> Iterator[Candidate]:
    """Yield the rest in other shapes, and the line itself lower."""
    end = job.budget.total
    if end <= position or line.at(position) <= 0.0:
        return
    crest = _crest(line, position, end)
    for factor in FACTORS:
        lower = line.model_copy(update={"peak": line.peak * factor})
        if factor < 1.0:
            yield Candidate(factor, KEPT, lower)
        if free:
            for name, body in _shapes((end - crest) / end):
                tail = Schedule(
                    zero=crest,
                    length=end - crest,
                    peak=lower.at(crest),
                    unit=line.unit,
                    body=body,
                )
                policy = tail if crest == position else join(lower, tail, crest)
                yield Candidate(factor, name, policy)


def _crest(line: Schedule, position: int, end: int) -> int:
    """Return where the line is highest from ``position`` on: there, unless it was extended and warms up again."""
    bends = (math.ceil(mark) for mark in line.breakpoints() if position < mark < end - 1)
    places = [position, *bends]
    return places[int(np.argmax(line.over(np.array(places, dtype=np.float64))))]


def _shapes(left: float) -> Iterator[tuple[str, AnyFamily]]:
    """Yield decays to zero over what is left, that share of the budget, whose tail is long enough."""
    yield "linear", Linear()
    yield "cosine", Cosine()
    for cooldown in COOLDOWNS:
        if cooldown * left >= SHORTEST_TAIL:
            yield f"hold, then linear over {cooldown:g}", WSD(cooldown=cooldown)
            yield f"hold, then 1-sqrt over {cooldown:g}", WSD(cooldown=cooldown, shape="sqrt")
