"""From a curve and what is known of its run to the record that evidence is made of."""

from dataclasses import dataclass, field

import numpy as np
from pacesetter.curves import Points
from pacesetter.errors import CurveError
from pacesetter.protocol import Regime, Workload

from pacesetter_search.losses import is_loss
from pacesetter_search.memory.records import CurveSource, FoundPeak, RunRecord
from pacesetter_search.transfer.shape import octaves_over_linear

LAST = 0.05
"""Share of a run over whose end training losses are averaged: the last twentieth."""

CONTRADICTED = 0.05
"""Relative difference between tokens and steps times batch from which on they contradict each other. Logs end up to a
few per cent before their run does."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a run beside its curve.

    Attributes:
        id: Of its curve.
        tokens: Of the whole run; None: by steps and batch.
        validated: Whether the curve's losses are of a validation.
        completed: Whether it ended with its budget.
        final_loss: Of a validation at its end, beside the curve; None: there was none.
        found: What its own short runs say of its best peak.
    """

    id: str
    name: str
    source: CurveSource
    job: str | None = None
    workload: Workload = field(default_factory=Workload)
    regime: Regime = "other"
    optimizer: str = "adamw"
    tokens: float | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    validated: bool = False
    completed: bool = True
    final_loss: float | None = None
    found: tuple[FoundPeak, ...] = ()


def record_of(points: Points, known: Known) -> RunRecord:
    """Return the record of a run.

    A run whose losses end well before its learning rates counts up to its last loss, and as one that did not end with
    its budget.

    Raises:
        CurveError: Its tokens, steps and batch contradict each other (``CONTRADICTORY_UNITS``).
    """
    steps, tokens, workload = _counted(points, known)
    whole, last_loss = points.last, float(points.steps[~np.isnan(points.losses)][-1])
    cut = last_loss < (1.0 - LAST) * whole
    end = max(1, round(last_loss)) if cut else steps
    kept = points.steps <= (end if cut else np.inf)
    peak = float(points.lrs[kept].max())
    if peak <= 0.0:
        raise CurveError(
            f"every learning rate up to the last loss, at step {end}, is zero",
            code="BAD_LEARNING_RATE",
            hint="give the losses of the whole run",
        )
    final = _final(points, known)
    return RunRecord(
        id=known.id,
        name=known.name,
        source=known.source,
        job=known.job,
        workload=workload,
        regime=known.regime,
        optimizer=known.optimizer.lower(),
        steps=end,
        tokens=tokens * end / steps if tokens is not None else None,
        peak_lr=peak,
        shape_octaves=octaves_over_linear(points.steps[kept], points.lrs[kept], points.warmup),
        momentum=known.momentum,
        weight_decay=known.weight_decay,
        final_loss=final,
        validated=known.validated or known.final_loss is not None,
        completed=known.completed and not cut,
        found=known.found,
    )


def _final(points: Points, known: Known) -> float | None:
    """Return what a run ended with; None if it diverged."""
    if known.final_loss is not None:
        return known.final_loss if is_loss(known.final_loss) else None
    if points.diverged:
        return None
    steps, losses = points.steps[points.finite], points.losses[points.finite]
    if known.validated:
        return float(losses[-1])
    return float(losses[steps > (1.0 - LAST) * steps[-1]].mean())


def _counted(points: Points, known: Known) -> tuple[int, float | None, Workload]:
    """Return the steps of a run, its tokens, and its workload with the batch that they make.

    Raises:
        CurveError: They contradict each other.
    """
    steps, tokens, workload = points.last, known.tokens, known.workload
    batch = workload.batch_tokens
    if tokens is None:
        return steps, None if batch is None else batch * steps, workload
    if batch is None:
        if tokens < steps:
            raise _contradiction(f"{tokens:g} tokens are fewer than the curve's {steps:,} steps")
        return steps, tokens, workload.model_copy(update={"batch_tokens": tokens / steps})
    if abs(tokens / (steps * batch) - 1.0) > CONTRADICTED:
        raise _contradiction(
            f"{steps:,} steps of {batch:g} tokens are {steps * batch:.4g}, and tokens are {tokens:.4g}"
        )
    return steps, tokens, workload


def _contradiction(what: str) -> CurveError:
    return CurveError(
        what,
        code="CONTRADICTORY_UNITS",
        hint="give batch_tokens and tokens in one unit, over all ranks and accumulated micro-batches, and steps as "
        "optimizer steps; or leave out what you do not know",
    )
