"""What is known of a job: its memory and its description, turned into a posterior and the price of steps."""

import math
from dataclasses import dataclass, replace

import numpy as np
from pacesetter.judgement import highest_multiplier
from pacesetter.schedules import Cosine, Linear, Schedule

from pacesetter_search.contract import JobFacts
from pacesetter_search.laws import step_law_peak
from pacesetter_search.memory.prior import PeakPrior
from pacesetter_search.strategies.zero_tuning import prior as priors
from pacesetter_search.strategies.zero_tuning import range_test, shapes
from pacesetter_search.strategies.zero_tuning.evidence import RangeEvidence
from pacesetter_search.strategies.zero_tuning.memory import Memory
from pacesetter_search.strategies.zero_tuning.parameters import ZeroTuningParameters
from pacesetter_search.strategies.zero_tuning.posterior import Posterior
from pacesetter_search.strategies.zero_tuning.scores import scored

ORIGIN = "zero_tuning"


@dataclass(frozen=True, slots=True)
class Bounds:
    """``log2`` of the lowest and highest rate of the first group that the limits allow."""

    lowest: float
    highest: float

    def clip(self, log2_lr: float) -> float:
        """Return the nearest rate within the bounds."""
        return min(max(log2_lr, self.lowest), self.highest)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The posterior, and what belongs to it."""

    posterior: Posterior
    ladder: tuple[float, ...]
    """Horizons at which rungs can be bought."""
    start: float | None
    """Score of the untrained model."""
    slope: float
    """Fall of the score per doubling of the steps."""
    spent: float
    """Share of the budget that went into probes, or was given up by starting over."""

    def cost(self, share: float) -> float:
        """Return what ``share`` of the budget would lower the score by if it were trained instead."""
        return self.slope * math.log2((1.0 + self.spent + share) / (1.0 + self.spent))


def gather(
    job: JobFacts,
    memory: Memory,
    parameters: ZeroTuningParameters,
    told: priors.Component | None = None,
) -> Knowledge:
    """Return what memory and registration say together, and what was ``told`` of the best rate at the budget."""
    total, places = job.budget.total, ladder(job)
    rungs, start = scored(memory.measured, memory.start, total)
    before = prior_of(job, parameters, memory.remembered)
    if told is not None:
        before = replace(before, optimum=priors.updated(before.optimum, told))
    nearest = min(places, key=lambda place: abs(place - before.range_horizon), default=None)
    before = replace(before, range_horizon=nearest or before.range_horizon)
    turn, evidence = memory.turn, None
    if turn is not None:
        evidence = RangeEvidence(turn.log2_lr, turn.sd, turn.turned)
    chain = (*places, before.range_horizon)
    posterior = Posterior.from_rungs(
        rungs, before, range_test=evidence, horizons=chain, start=start
    )
    spent = (memory.spent + memory.lost) / total
    return Knowledge(posterior, places, start, _slope(posterior), spent)


def prior_of(
    job: JobFacts, parameters: ZeroTuningParameters, remembered: PeakPrior | None = None
) -> priors.Prior:
    """Return the prior of a job, with the rate that was given if somebody chose it, and what other jobs said."""
    given = shapes.given(job)
    chosen = not priors.is_torch_default(job.groups[0].optimizer, math.exp2(given))
    hint = given - shapes.octaves_from_rungs(job.base) if chosen else None
    return priors.prior_for(
        job,
        trust=parameters.trust,
        trust_octaves=parameters.trust_octaves,
        hint=hint,
        law=published(job),
        remembered=None if remembered is None else _at_rungs(job, remembered),
    )


def _at_rungs(job: JobFacts, remembered: PeakPrior) -> priors.Remembered:
    """Return what is remembered as the job's optimizer takes it, at the rungs' shape."""
    shift = shapes.octaves_from_rungs(Schedule(length=1000, body=Linear()))
    return priors.Remembered(
        log2_lr=remembered.log2_lr - shift + math.log2(1.0 - job.groups[0].momentum),
        sd=remembered.sd,
        weight=priors.likeness(remembered.of_kind),
        drift=remembered.drift,
        drift_sd=remembered.drift_sd,
        steepness=remembered.steepness,
    )


def published(job: JobFacts) -> float | None:
    """Return what a published law says of the best rate, as ``log2`` at the rungs' shape; None outside its range.

    Step Law was fitted on AdamW, pretraining, counted in tokens; it says nothing of other jobs.
    """
    fits = job.regime == "pretrain" and job.budget.clock == "tokens"
    if not fits or job.groups[0].optimizer != "AdamW":
        return None
    parameters = sum(group.parameters for group in job.groups)
    peak = step_law_peak(parameters, job.budget.total)
    if peak is None:
        return None
    return math.log2(peak) - shapes.octaves_from_rungs(Schedule(length=1000, body=Cosine()))


def ladder(job: JobFacts) -> tuple[float, ...]:
    """Return the horizons of rungs that the job can run, as exact shares of its budget, shortest first."""
    total, longest = job.budget.total, job.limits.max_probe_length
    in_steps = job.budget.clock == "steps"
    lengths = [
        round(share * total)
        for share, fewest in priors.HORIZONS
        # In tokens nobody knows the steps, and the shortest horizon is left out.
        if (share * total >= fewest if in_steps else share > 1 / 256)
    ]
    return tuple(
        length / total
        for length in lengths
        if length > 1 and (longest is None or length <= longest)
    )


def bounds(job: JobFacts, kind: str) -> Bounds:
    """Return the bounds of the rates of probes (``probe``) or of the main line (``main``)."""
    lr = job.groups[0].base_lr
    top = highest_multiplier(
        job.limits,
        job.base,
        kind="probe" if kind == "probe" else "main",
        origin=ORIGIN,
        base_lr=lr,
    )
    highest = range_test.HIGHEST if math.isinf(top) else math.log2(top * lr * (1.0 - 1e-12))
    low = job.limits.min_multiplier if kind == "main" else 0.0
    lowest = math.log2(low * lr) if low > 0.0 else range_test.LOWEST
    return Bounds(min(lowest, highest), min(highest, range_test.HIGHEST))


def _slope(posterior: Posterior) -> float:
    """Return the fall of the score per doubling of the steps, from the best rungs of two horizons.

    The measured slope is shrunk to the prior: each best rung has noise, and the slope flattens towards the budget.
    """
    lowest: dict[float, float] = {}
    for rung in posterior.rungs:
        if rung.score is not None:
            lowest[rung.horizon] = min(lowest.get(rung.horizon, rung.score), rung.score)
    if len(lowest) < 2:
        return priors.SLOPE_MEAN
    first, last = min(lowest), max(lowest)
    doublings = math.log2(last / first)
    measured = (lowest[first] - lowest[last]) / doublings
    noise = float(posterior.joint.sum(axis=(0, 1)) @ posterior.cells.noise)
    share = priors.SLOPE_SD**2 / (priors.SLOPE_SD**2 + 2.0 * (noise / doublings) ** 2)
    slope = priors.SLOPE_MEAN + 0.5 * share * (measured - priors.SLOPE_MEAN)
    return float(np.clip(slope, priors.SLOPE_MEAN / 4.0, 4.0 * priors.SLOPE_MEAN))
