"""Which fitted law speaks of a target: one of the same workload, at about the same peak, and long enough."""

import math
from collections.abc import Sequence

from pacesetter_search.laws.identification import DECAY_NOT_TOLD
from pacesetter_search.memory.kinds import Kind
from pacesetter_search.recommendation.kinds import is_loss
from pacesetter_search.recommendation.known import KnownLaw
from pacesetter_search.recommendation.target import Target

ALIKE = 0.02
"""Relative difference of sizes and batches up to which a workload counts as the same."""

SAME_PEAK = math.log2(1.5)
"""Octaves between a law's peak and the recommended one up to which it speaks: no law holds across peaks."""

LONGER = 2.0
"""Times its longest curve that a law may be asked about."""

UNTOLD = (
    "a law of your curves was left out, as it would give a confident number for what it has not seen: "
    f"{DECAY_NOT_TOLD}"
)
"""Of a constant run at 124M such a law puts a linear decay 1.7 % too high, with an interval of 1 % either way."""


def law_for(
    target: Target, laws: Sequence[KnownLaw], batch: float, steps: int, log2_lr: float
) -> tuple[KnownLaw | None, tuple[str, ...]]:
    """Return the law that speaks of ``target``, the nearest in its peak, and what is to be said; None where none does.

    A law of curves that do not tell decay from progress speaks of nothing: what is recommended decays.

    Args:
        target: What is asked for.
        laws: All that are known.
        batch: Tokens of a step.
        steps: Of the whole run.
        log2_lr: Of the best peak of a linear decay.
    """
    if not is_loss(target.objective):
        return None, ()
    fitting = [
        law
        for law in laws
        if _same_workload(target, law, batch)
        and abs(math.log2(law.peak) - log2_lr) <= SAME_PEAK
        and steps <= LONGER * law.longest
    ]

    def order(law: KnownLaw) -> tuple[float, int, str]:
        return abs(math.log2(law.peak) - log2_lr), -len(law.curves), law.id

    telling = [law for law in fitting if DECAY_NOT_TOLD not in law.law.warnings]
    said = (UNTOLD,) if fitting and not telling else ()
    return min(telling, key=order, default=None), said


def _same_workload(target: Target, law: KnownLaw, batch: float) -> bool:
    workload = law.workload
    if workload.parameters is None or workload.batch_tokens is None or target.parameters is None:
        return False
    return (
        Kind.of(workload, law.regime, law.optimizer) == Kind.of_target(target)
        and workload.family == target.family
        and math.isclose(law.momentum, target.momentum, abs_tol=1e-6)
        and math.isclose(workload.parameters, target.parameters, rel_tol=ALIKE)
        and math.isclose(workload.batch_tokens, batch, rel_tol=ALIKE)
    )
