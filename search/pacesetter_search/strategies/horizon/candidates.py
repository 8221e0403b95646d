"""The ways a job may go on, bounded around its base schedule and judged by the job's own limits."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pacesetter.judgement import check_segment
from pacesetter.protocol import Reason, SegmentPlan
from pacesetter.schedules import WSD, Cosine, Linear, Schedule

from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.horizon.memory import Memory
from pacesetter_search.strategies.horizon.parameters import HorizonParameters

OCTAVE_PARTS = 4
"""Multipliers a quarter of an octave apart: within one the loss hardly moves (.25 % of it at half an octave)."""

KEPT = "kept"
SHAPES = {"cosine": Cosine(), "linear": Linear(), "wsd": WSD(cooldown=0.5)}
"""Decays over the rest of the budget. A cooldown of half is the middle of what is best at a tuned rate (.4 to .6)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to go on from a position: ``multiplier`` times what the line would do, in its shape or in another one."""

    multiplier: float
    shape: str
    policy: Schedule

    @property
    def stays(self) -> bool:
        """Whether this is the schedule as it is."""
        return self.shape == KEPT and self.multiplier == 1.0


def candidates(
    job: JobFacts, memory: Memory, parameters: HorizonParameters, position: int
) -> list[Candidate]:
    """Return all ways to go on at ``position``, the first of them the schedule as it is."""
    line = memory.policy(job.base)
    found = [Candidate(1.0, KEPT, line)]
    for multiplier in multipliers(job, line, parameters, position):
        found += [
            candidate
            for candidate in _with(line, multiplier, position, job, parameters)
            if not candidate.stays and permitted(job, memory, plan(job, position, candidate.policy))
        ]
    return found


def multipliers(
    job: JobFacts, line: Schedule, parameters: HorizonParameters, position: int
) -> list[float]:
    """Return the multipliers of the line that keep it within the span around the base schedule."""
    base = job.base.at(position)
    ratio = line.at(position) / base if base > 0.0 else 1.0
    widest = int(np.floor(np.log2(parameters.span) * OCTAVE_PARTS + 1e-9))
    octaves = np.arange(-widest, widest + 1) / OCTAVE_PARTS
    slack = 1.0 + 1e-9
    return [
        float(2.0**one)
        for one in octaves
        if 1.0 / (parameters.span * slack) <= ratio * 2.0**one <= parameters.span * slack
    ]


def shapes_are_free(job: JobFacts, choose_shape: str) -> bool:
    """Whether the strategy may choose the decay: as it was told, or (``auto``) because nobody else did."""
    if choose_shape != "auto":
        return choose_shape == "always"
    return job.base == Schedule.default_base(job.budget.total, clock=job.budget.clock)


def plan(job: JobFacts, position: int, policy: Schedule, origin: str = "autolrs") -> SegmentPlan:
    """Return a main segment under ``policy`` from ``position`` to the end of the budget."""
    return SegmentPlan(
        kind="main",
        when="now",
        start=position,
        length=max(job.budget.total - position, 1),
        policy=policy,
        reason=Reason(text="a candidate"),
        origin=origin,
    )


def permitted(job: JobFacts, memory: Memory, segment: SegmentPlan) -> bool:
    """Whether the client will accept ``segment``: asked of the judge that it asks."""
    before = memory.policy(job.base).at(segment.start)
    absolute = memory.policy(job.base).unit == "absolute"
    refusal = check_segment(
        segment,
        job.limits,
        current_multiplier=[before / group.base_lr if absolute else before for group in job.groups],
        budget_total=job.budget.total,
        clock=job.budget.clock,
        base_schedule=job.base,
        capabilities=job.capabilities,
        groups=job.groups,
    )
    return refusal is None


def _with(
    line: Schedule,
    multiplier: float,
    position: int,
    job: JobFacts,
    parameters: HorizonParameters,
) -> Iterable[Candidate]:
    yield Candidate(multiplier, KEPT, line.model_copy(update={"peak": line.peak * multiplier}))
    peak, rest = line.at(position) * multiplier, job.budget.total - position
    if not shapes_are_free(job, parameters.choose_shape) or peak <= 0.0 or rest <= 0:
        return
    for name, body in SHAPES.items():
        policy = Schedule(zero=position, length=rest, peak=peak, unit=line.unit, body=body)
        yield Candidate(multiplier, name, policy)
