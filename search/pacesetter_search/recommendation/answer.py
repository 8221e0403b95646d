"""What to run: everything that is known of a target, put into one answer.

Nothing is made up where nothing is known: outside of what laws and evidence are about, the answer is ``no_evidence``
with the cheapest study that would give some.
"""

import math
from collections.abc import Collection, Sequence

from pacesetter.protocol import Recommendation

from pacesetter_search.memory import Recorded, RunRecord
from pacesetter_search.memory.kinds import SCALE, Kind
from pacesetter_search.recommendation.batch import Batch, choose_batch
from pacesetter_search.recommendation.gathering import Gathered, gather
from pacesetter_search.recommendation.kinds import is_loss
from pacesetter_search.recommendation.known import FitLosses, KnownLaw
from pacesetter_search.recommendation.laws import law_for
from pacesetter_search.recommendation.loss import expected_loss, fit_size_and_tokens
from pacesetter_search.recommendation.optimizer import beta2_of, warmup_of, weight_decay
from pacesetter_search.recommendation.peak import Peak, find_peak
from pacesetter_search.recommendation.schedules import plan
from pacesetter_search.recommendation.shapes import shape_octaves
from pacesetter_search.recommendation.study import cheapest_study
from pacesetter_search.recommendation.target import Target
from pacesetter_search.recommendation.writing import Parts, written
from pacesetter_search.transfer.published import LAWS

HIGHEST = 1e4
LOWEST = 1e-30
"""Learning rates that an answer may have, so that it stays a number."""


def recommend(
    target: Target,
    records: Recorded | Sequence[RunRecord] = (),
    laws: Sequence[KnownLaw] = (),
    *,
    heard: Collection[str] = (),
    fit_losses: FitLosses | None = fit_size_and_tokens,
) -> Recommendation:
    """Return what to run for ``target``.

    Args:
        target: What is to be trained, what is fixed of it, and what was measured for its family.
        records: Runs on record, of any kind: those that may not speak of the target are left out, and told. As
            :class:`Recorded`, what several questions share is worked out once.
        laws: Laws fitted to curves on record, of any workload.
        heard: Ids of runs on record whose best peaks the target's own evidence tells.
        fit_losses: Fits a law in size and tokens to final losses; None: the published one stands.

    Raises:
        ImpossibleTarget: No schedule fits what is asked for.
    """
    recorded = records if isinstance(records, Recorded) else Recorded(records)
    found = gather(target, recorded, heard)
    reason = _unknown(target, found)
    if reason is not None:
        return _no_evidence(target, reason, found)
    batch = choose_batch(target, found)
    return _answer(target, found, batch, laws, fit_losses)


def _answer(
    target: Target,
    found: Gathered,
    batch: Batch,
    laws: Sequence[KnownLaw],
    fit_losses: FitLosses | None,
) -> Recommendation:
    asked = target.asked()
    steps = asked.steps_at(batch.tokens)
    peak = find_peak(target, batch.tokens, found)
    beta2, minded = beta2_of(target, asked, batch.tokens)
    linear = peak.with_momentum(target.momentum)
    law, untold = law_for(target, laws, batch.tokens, steps, linear.found.mean)
    made = plan(target, steps, warmup_of(target, steps, beta2), batch.tokens, law)
    own = linear.of_shape(shape_octaves(made.schedule))
    # What a law ranks first at its peak is run there: it says nothing of the shape at another one.
    log2_lr, limited = _held_back(own, found, made.at if made.won else None)
    return written(
        Parts(
            target=target,
            asked=asked,
            found=found,
            batch=batch,
            peak=peak,
            own=own,
            log2_lr=log2_lr,
            limited=limited,
            plan=made,
            law=law,
            decay=weight_decay(target, asked, batch.tokens, math.exp2(log2_lr)),
            beta2=beta2,
            loss=expected_loss(target, found, made, law, own, log2_lr, fit_losses),
            warnings=(*minded, *untold, *_off_its_best(own, log2_lr, law if made.won else None)),
        )
    )


def _held_back(own: Peak, found: Gathered, ran: float | None) -> tuple[float, bool]:
    """Return log2 of the rate, no higher than what runs have held, and whether that held it back.

    Args:
        own: The best peak.
        found: With what is known of stability.
        ran: Peak of a law's curves that is to be run again; None: there is none.
    """
    (supported, _), _ = own.intervals()
    limit = found.stability.limit(supported)
    safe = own.safe if ran is None else math.log2(ran)
    if limit is None or safe <= math.log2(limit):
        return min(max(safe, math.log2(LOWEST)), math.log2(HIGHEST)), False
    return math.log2(limit), True


def _off_its_best(own: Peak, log2_lr: float, law: KnownLaw | None) -> tuple[str, ...]:
    """Return what is to be said where a law's peak, at which its winner is run, is hardly the winner's best one."""
    _, (low, high) = own.intervals()
    lr = math.exp2(log2_lr)
    if law is None or low <= lr <= high:
        return ()
    return (
        f"the schedule won under a law of curves at {law.peak:.3g} and is run there; its best peak lies between "
        f"{low:.3g} and {high:.3g}: curves at such a peak would tell",
    )


def _unknown(target: Target, found: Gathered) -> str | None:
    """Return why nothing is known, as no law is about the target and nothing was measured; else None."""
    lawful = Kind.of_target(target).lawful
    if found.told or (lawful and target.asked().parameters >= SCALE):
        return None
    if lawful:
        return (
            f"published laws are about language models of {SCALE:.0e} parameters and more, and this one has "
            f"{target.asked().parameters:.3g}"
        )
    if target.regime != "pretrain":
        return f"published laws are about pretraining, and the regime is {target.regime!r}"
    if not is_loss(target.objective):
        objective = target.objective
        return (
            f"published laws are about the loss, and the objective is {objective.name!r} ({objective.mode}): a best "
            "peak takes a sweep in it"
        )
    if not LAWS["hinge"].concerns("pretrain", target.optimizer, "standard"):
        return f"published laws are about Adam and AdamW, and the optimizer is {target.optimizer!r}"
    return "under muP the best peak belongs to your base model; no law fixes it"


def _no_evidence(target: Target, reason: str, found: Gathered) -> Recommendation:
    return Recommendation(
        status="no_evidence",
        target=target.target(),
        warnings=(reason, *found.warnings),
        study=cheapest_study(target),
    )
