"""From runs on record to the final losses that a law in size and tokens is fitted to: those of well-tuned runs.

The law is about runs at about their best peak that decay. What a run ended with is taken down by what it is expected to
have missed, and counts for less the less that is known: four runs at a tenth of the best peak are no measurement of
what the size can do.
"""

import math
from collections.abc import Sequence

import numpy as np

from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.laws.scaling import FinalLoss
from pacesetter_search.memory import RunRecord
from pacesetter_search.memory.optima import PLATEAU, effective_log2_lr
from pacesetter_search.recommendation.gathering import Gathered
from pacesetter_search.recommendation.target import Asked, Target
from pacesetter_search.transfer import Optimum
from pacesetter_search.transfer.peak import PeakModel
from pacesetter_search.transfer.published import effective_tokens
from pacesetter_search.transfer.sweeps import CURVATURE_SD, DEPARTURE, cost_of_an_octave

FINAL_SD = 0.005
"""Relative sd of a final loss around that of a tuned run: seeds, what is left of the peak's misses, another shape."""

FINALS = 100
"""Final losses that one fit takes: the nearest."""

NEVER_DECAYED, NEVER_DECAYED_SD = 0.03, 0.02
"""Relative loss by which a run that never came down ends above one that did: 2.1 and 2.8 % at 25M and 100M over a decay
to a tenth [Luo2025, arXiv 2503.12811], more where the decay goes to zero."""


def finals_of(target: Target, found: Gathered, model: PeakModel) -> list[FinalLoss]:
    """Return what well-tuned runs of the family would end with, the nearest ones in the order of their ids.

    Args:
        target: What is asked for.
        found: With the best run of each size and budget.
        model: Of the best peak.
    """
    asked = target.asked()
    runs = sorted(found.finals, key=lambda one: (_apart(one, asked), one.id))[:FINALS]
    if not runs:
        return []
    missed, sds = missed_of(runs, model)
    finals = [_final(*each) for each in zip(runs, missed, sds, strict=True)]
    return sorted(finals, key=lambda one: one.name)


def missed_of(runs: Sequence[RunRecord], model: PeakModel) -> tuple[FloatArray, FloatArray]:
    """Return the relative loss that runs missed by their peak and shape, (n,), and the sd of that, (n,).

    By the peak it is ``c (x - theta)^2`` with theta known only so far; of its sd the part that comes from theta is
    exact, the rest a share of it.
    """
    means, sds = model.expect([_place(one) for one in runs])
    lrs = [effective_log2_lr(one.peak_lr, one.momentum, one.shape_octaves) for one in runs]
    apart = np.array(lrs) - means
    costs = np.array([cost_of_an_octave(_ratio(one)) for one in runs])
    by_peak = costs * (apart**2 + sds**2)
    from_theta = costs * np.sqrt(4.0 * apart**2 * sds**2 + 2.0 * sds**4)
    share = math.hypot(CURVATURE_SD, 2.0 * DEPARTURE)
    plateau = np.array([one.shape_octaves < PLATEAU for one in runs], dtype=np.float64)
    sd = np.hypot(np.hypot(from_theta, share * by_peak), NEVER_DECAYED_SD * plateau)
    return by_peak + NEVER_DECAYED * plateau, sd


def _final(run: RunRecord, missed: float, sd: float) -> FinalLoss:
    parameters, tokens, loss = _numbers(run)
    tuned = loss / (1.0 + missed)
    own = FINAL_SD * loss, sd * tuned, run.workload.objective.noise or 0.0
    return FinalLoss(
        parameters=parameters,
        tokens=effective_tokens(tokens, run.workload.epochs or 1.0),
        loss=tuned,
        sd=math.hypot(*own),
        name=run.id,
    )


def _place(run: RunRecord) -> Optimum:
    parameters, tokens, _ = _numbers(run)
    workload = run.workload
    # Where the batch is not known it is that of one step: as large as can be, where the hinge takes over.
    batch = min(workload.batch_tokens or tokens, tokens)
    return Optimum(
        parameters,
        tokens,
        batch,
        1.0,
        width=workload.width_ratio,
        depth=workload.depth_ratio,
        family=workload.family,
        shape=run.shape_octaves,
    )


def _ratio(run: RunRecord) -> float:
    parameters, tokens, _ = _numbers(run)
    return tokens / parameters


def _numbers(run: RunRecord) -> tuple[float, float, float]:
    """Return parameters, tokens and final loss of a run that tells what its size ends with."""
    assert run.workload.parameters is not None
    assert run.tokens is not None
    assert run.final_loss is not None
    return run.workload.parameters, run.tokens, run.final_loss


def _apart(run: RunRecord, asked: Asked) -> float:
    """Return the octaves between a run and the target."""
    parameters, tokens, _ = _numbers(run)
    return math.hypot(math.log2(parameters / asked.parameters), math.log2(tokens / asked.tokens))
