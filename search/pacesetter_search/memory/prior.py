"""What the runs of a project say of the best peak of one to come."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pacesetter.protocol import Regime, Workload
from pydantic import BaseModel, ConfigDict, Field

from pacesetter_search.landscape import curvature_of
from pacesetter_search.memory.kinds import SCALE, Kind
from pacesetter_search.memory.offset import Ended, Offset, offset, tells
from pacesetter_search.memory.optima import Lead, Remembered, first_of, leads_of, place_of
from pacesetter_search.memory.records import RunRecord
from pacesetter_search.transfer.peak import PRIORS, Z90, PeakModel
from pacesetter_search.transfer.places import Optimum
from pacesetter_search.transfer.practice import FIELD_SD, field_default

PEAK = "peak"
"""Under which name a job's first event carries it."""

MOST = 100
"""Optima that one answer rests on: the nearest."""

SHOWN = 20
"""Runs that are named with it."""

FAMILIES_SD = 0.7
"""Octaves between families where no law is known; between labs that train language models it is .45."""

OWN_SD = 0.3
"""Octaves by which the best peak of a run is its own, whatever the others say: between the least and the most that the
model has for it."""

USUAL_DOUBLINGS = 4.0
"""Between a short run and the budget, where no short run is known."""

DOUBT = 2.5
"""How far the slopes of large language models are doubted elsewhere: small ones at one batch lose .5 octaves a doubling
of the steps (sd .25) and not .29, and where data repeat there is no rule."""

BELOW = math.sqrt(DOUBT**2 - 1.0) * math.hypot(*(PRIORS["standard"][place][1] for place in (0, 1)))
"""Octaves that best peaks of small models are off by, all to the same side, for each octave below :data:`SCALE`: the
same doubt of both slopes, where tokens grow with the size."""


class PeakSource(BaseModel):
    """A run that the answer rests on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    weight: float
    """Octaves that the answer moves when the best peak that this run shows moves by one, before final losses speak."""


class PeakPrior(BaseModel):
    """The best peak of a run to come, at the shape of a linear decay and without momentum."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    log2_lr: float
    sd: float = Field(gt=0.0)
    """Octaves."""
    drift: float
    drift_sd: float
    """Octaves that the best peak falls a doubling of the tokens at one batch."""
    steepness: float = Field(default=1.0, gt=0.0)
    """How much a wrong peak costs, over what is expected of a run of which nothing is known."""
    runs: int
    """Runs of the same family that it rests on."""
    of_kind: int = 0
    """Runs of the same kind, of any family."""
    sources: tuple[PeakSource, ...]
    """The heaviest, heaviest first."""


@dataclass(frozen=True, slots=True)
class Believed:
    """The best peak at a place, by what short runs found and by what runs ended with.

    Attributes:
        mean: log2 of it.
        sd: Octaves.
        told: What the final losses say beside the model.
        model: Of what short runs found.
    """

    mean: float
    sd: float
    told: Offset
    model: PeakModel

    def interval(self) -> tuple[float, float]:
        """Return rates between which it lies with 90 %."""
        return math.exp2(self.mean - Z90 * self.sd), math.exp2(self.mean + Z90 * self.sd)


def peak_prior(
    records: Sequence[RunRecord],
    workload: Workload,
    *,
    regime: Regime,
    optimizer: str,
    tokens: float,
) -> PeakPrior | None:
    """Return what ``records`` say of the best peak of a workload; None where none of them says anything of it.

    Args:
        records: Runs of the project, of any kind; those of another kind are not looked at.
        workload: With parameters and batch.
        regime: Of the run to come.
        optimizer: Of its first group, without momentum.
        tokens: Of its budget.
    """
    kind = Kind.of(workload, regime, optimizer)
    if workload.parameters is None or workload.batch_tokens is None:
        return None
    target = Optimum(
        workload.parameters,
        tokens,
        min(workload.batch_tokens, tokens),
        1.0,
        width=workload.width_ratio,
        depth=workload.depth_ratio,
        family=workload.family,
    )
    runs = kind.of_this(records)
    remembered = first_of(nearest(leads_of(runs), target), MOST)
    found = believed(kind, runs, remembered, target)
    if found is None:
        return None
    told, doublings = found.told, _doublings(runs)
    mean, sd = found.model.slopes()["tokens"]
    return PeakPrior(
        log2_lr=found.mean,
        sd=found.sd,
        # What is off at the budget is off by as much a doubling on the way there.
        drift=-mean - told.mean / doublings,
        drift_sd=math.hypot(sd, told.sd / doublings),
        steepness=told.steepness,
        runs=sum(one.workload.family == workload.family for one in runs),
        of_kind=len(runs),
        sources=_weighed(remembered, found.model.influence(target)),
    )


def believed(
    kind: Kind, runs: Sequence[RunRecord], remembered: Sequence[Remembered], target: Optimum
) -> Believed | None:
    """Return the best peak at ``target``; None where no run tells anything of it.

    Args:
        kind: Of the runs.
        runs: All of the kind, for what they ended with.
        remembered: The best peaks that the answer rests on.
        target: Where.
    """
    model = model_of(kind, [each.optimum for each in remembered], target)
    # A sweep has told by what its runs ended with, which is not to be heard twice.
    swept = {id_ for each in remembered if len(each.sources) > 1 for id_ in each.sources}
    ended = _ended([one for one in runs if one.id not in swept], model)
    if not remembered and not tells(ended):
        return None
    found, own = model.predict(target), math.hypot(OWN_SD, math.sqrt(model.between))
    shared = math.sqrt(max(found.sd**2 - own**2, OWN_SD**2))
    told = offset(ended, shared, curvature_of(kind.regime))
    return Believed(found.mean + told.mean, math.hypot(told.sd, own), told, model)


def _ended(runs: Sequence[RunRecord], model: PeakModel) -> list[Ended]:
    """Return the runs whose final losses say something, those that compare with most of the others."""
    validated = sum(one.validated for one in runs) * 2 >= len(runs)
    found = []
    for one in runs:
        place = place_of(one)
        if place is None or one.validated != validated or not one.completed:
            continue
        if one.final_loss is not None and one.final_loss > 0.0:
            found.append(Ended(place, math.log(one.final_loss), model.predict(place).mean))
    return found


def _doublings(runs: Sequence[RunRecord]) -> float:
    """Return how many doublings lie between short runs and the budgets of their jobs, on average."""
    shares = [each.share for one in runs for each in one.found]
    return max(1.0, -math.fsum(map(math.log2, shares)) / len(shares)) if shares else USUAL_DOUBLINGS


def model_of(kind: Kind, optima: Sequence[Optimum], target: Optimum) -> PeakModel:
    """Return the model of a kind: the published law and its slopes where they apply, else practice, and wide slopes.

    The target alone decides: what a small proxy says of a large model is held against the law, and counts for less the
    further below the law's range it lies.
    """
    if kind.lawful and target.parameters >= SCALE:
        below = [max(0.0, math.log2(SCALE / one.parameters)) for one in optima]
        return PeakModel(optima, shared=[BELOW * octaves for octaves in below])
    return PeakModel(
        optima,
        parametrization=kind.parametrization,
        anchor=(math.log2(field_default(kind.optimizer)), FIELD_SD),
        reference=target,
        family_sd=FAMILIES_SD,
        doubt=DOUBT,
    )


def nearest(leads: Sequence[Lead], target: Optimum) -> list[Lead]:
    """Return leads with those first that are nearest to the target, those of its family before all others."""

    def apart(lead: Lead) -> tuple[bool, float]:
        one = lead.place
        octaves = (
            math.log2(one.parameters / target.parameters),
            math.log2(one.tokens / target.tokens),
            math.log2(one.batch / target.batch),
        )
        return one.family != target.family, math.hypot(*octaves)

    return sorted(leads, key=apart)


def weights_of(remembered: Sequence[Remembered], weights: Sequence[float]) -> dict[str, float]:
    """Return what each run weighs, heaviest first; what several runs tell together is shared among them."""
    total: dict[str, float] = {}
    for each, weight in zip(remembered, weights, strict=True):
        for source in each.sources:
            total[source] = total.get(source, 0.0) + weight / len(each.sources)
    return dict(sorted(total.items(), key=lambda item: (-abs(item[1]), item[0])))


def _weighed(remembered: Sequence[Remembered], weights: Sequence[float]) -> tuple[PeakSource, ...]:
    ordered = list(weights_of(remembered, weights).items())
    return tuple(PeakSource(id=source, weight=weight) for source, weight in ordered[:SHOWN])
