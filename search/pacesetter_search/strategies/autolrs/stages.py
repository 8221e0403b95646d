"""The stages of a run: 1000, 2000, 4000, 8000, 8000, ... steps, or the same proportions of a short budget."""

from dataclasses import dataclass

from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.autolrs.parameters import (
    LARGEST_STAGE,
    PROBES_A_STAGE,
    PUBLISHED_FIRST_STAGE,
    AutoLRSParameters,
)

FULL_SET = 15  # 1 + 2 + 4 + 8

MOST_STAGES = 100
"""Stages of a very long budget, which then are longer than published: the state of a job stays small."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the main line with one learning rate."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """Position at which the next stage begins."""
        return self.start + self.length


def first_stage_start(job: JobFacts) -> int:
    """Return where the first stage begins: at the end of the base schedule's warm-up, which is never searched.

    Without a warm-up a hundredth of the budget runs on the base schedule first. It covers the time until the first
    segment arrives, and gives the first probe a loss to be compared with.
    """
    warmup = job.base.zero + job.base.extent.warmup if job.base.warmup is not None else 0
    return max(warmup, 1, job.budget.total // 100)


def shortest_probe(job: JobFacts, parameters: AutoLRSParameters) -> int:
    """Return the shortest probe worth running, in the job's clock."""
    if parameters.min_probe is not None:
        return parameters.min_probe
    return 10 if job.budget.clock == "steps" else max(1, job.budget.total // 5000)


def layout(job: JobFacts, parameters: AutoLRSParameters) -> tuple[Stage, ...]:
    """Return the stages, without gaps, the last ending with the budget; none where the budget is too short.

    In steps the first is 1000 long where four stages fit behind the warm-up. In a shorter budget, and in tokens, as
    many of 1:2:4:8 as leave room for probes share it. A rest of less than half a stage joins the stage before.
    """
    start, total = first_stage_start(job), job.budget.total
    first = _first_length(job, parameters, total - start)
    if first <= 0:
        return ()
    stages: list[Stage] = []
    begin, size = 0.0, 1
    while total - start - begin > 1e-6:
        nominal = first * size
        left = total - start - begin
        length = left if left < 1.5 * nominal else nominal
        stages.append(_rounded(start, begin, begin + length))
        begin, size = begin + length, min(2 * size, LARGEST_STAGE)
    return tuple(stages)


def reaching(stages: tuple[Stage, ...], total: int) -> tuple[Stage, ...]:
    """Return stages that end with a budget that was changed meanwhile: those before its end, the last cut or longer."""
    kept = [stage for stage in stages if stage.start < total]
    if kept:
        kept[-1] = Stage(kept[-1].start, total - kept[-1].start)
    return tuple(kept)


def probe_length(stage: Stage, job: JobFacts, parameters: AutoLRSParameters) -> int:
    """Return how long a probe of ``stage`` is: a tenth of it, within the bounds that the job sets."""
    length = max(stage.length // PROBES_A_STAGE, shortest_probe(job, parameters))
    allowed = job.limits.max_probe_length
    return min(length, stage.length, allowed if allowed is not None else length)


def _first_length(job: JobFacts, parameters: AutoLRSParameters, span: int) -> float:
    shortest = PROBES_A_STAGE * shortest_probe(job, parameters)
    if span < shortest:
        return 0.0
    shortest_first = span / (LARGEST_STAGE * MOST_STAGES)
    if parameters.first_stage is not None:
        return max(float(min(parameters.first_stage, span)), shortest_first)
    if job.budget.clock == "steps" and span >= FULL_SET * PUBLISHED_FIRST_STAGE:
        return max(float(PUBLISHED_FIRST_STAGE), shortest_first)
    shares = next((share for share in (FULL_SET, 7, 3) if span >= share * shortest), 1)
    return span / shares


def _rounded(start: int, begin: float, end: float) -> Stage:
    first, last = start + round(begin), start + round(end)
    return Stage(first, last - first)
