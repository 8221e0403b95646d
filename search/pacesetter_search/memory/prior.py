"""What the runs of a project say of the best peak of one to come."""

import math
from collections.abc import Collection, Sequence
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

MOST_ENDED = 300
"""Runs whose final losses are asked: the nearest."""

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
        runs: All that it rests on.
    """

    mean: float
    sd: float
    told: Offset
    model: PeakModel
    runs: tuple[RunRecord, ...]

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
        drift_sd=math.hypot(sd, told.sd / doublings if told.runs else 0.0),
        steepness=told.steepness,
        runs=sum(one.workload.family == workload.family for one in found.runs),
        of_kind=len(found.runs),
        sources=_weighed(found, remembered, target),
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
    swept = {id_ for each in remembered if len(each.sources) > 1 for id_ in each.sources}
    told_by = _ended(kind, runs, swept, target)
    places = [place for _, place in told_by]
    expected = model.expect(places)[0] if places else ()
    ended = [
        Ended(place, math.log(one.final_loss or math.inf), float(mean))
        for (one, place), mean in zip(told_by, expected, strict=True)
    ]
    if not remembered and not tells(ended):
        return None
    found, own = model.predict(target), math.hypot(OWN_SD, math.sqrt(model.between))
    shared = math.sqrt(max(found.sd**2 - own**2, OWN_SD**2))
    told = offset(ended, shared, curvature_of(kind.regime))
    speak = {id_ for each in remembered for id_ in each.sources}
    if told.runs:
        speak |= {one.id for one, _ in told_by}
    heard = tuple(one for one in runs if one.id in speak)
    return Believed(found.mean + told.mean, math.hypot(told.sd, own), told, model, heard)


def _ended(
    kind: Kind, runs: Sequence[RunRecord], swept: Collection[str], target: Optimum
) -> list[tuple[RunRecord, Optimum]]:
    """Return the runs whose final losses say something, the nearest ones, with their places.

    They compare with most of the others. A sweep has told by what its runs ended with, which is not heard twice; and
    what small proxies ended with says nothing of where the law of large models is off.
    """
    validated = sum(one.validated for one in runs) * 2 >= len(runs)
    least = SCALE if _by_law(kind, target) else 0.0
    found = []
    for one in runs:
        place = place_of(one)
        if place is None or one.id in swept or one.validated != validated or not one.completed:
            continue
        if one.final_loss is not None and one.final_loss > 0.0 and place.parameters >= least:
            found.append((one, place))
    return sorted(found, key=lambda each: _apart(each[1], target))[:MOST_ENDED]


def _doublings(runs: Sequence[RunRecord]) -> float:
    """Return how many doublings lie between short runs and the budgets of their jobs, on average."""
    shares = [each.share for one in runs for each in one.found]
    return max(1.0, -math.fsum(map(math.log2, shares)) / len(shares)) if shares else USUAL_DOUBLINGS


def model_of(kind: Kind, optima: Sequence[Optimum], target: Optimum) -> PeakModel:
    """Return the model of a kind: the published law and its slopes where they apply, else practice, and wide slopes.

    The target alone decides: what a small proxy says of a large model is held against the law, and counts for less the
    further below the law's range it lies.
    """
    if _by_law(kind, target):
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


def _by_law(kind: Kind, target: Optimum) -> bool:
    """Whether the published law is behind what is believed of a target."""
    return kind.lawful and target.parameters >= SCALE


def nearest(leads: Sequence[Lead], target: Optimum) -> list[Lead]:
    """Return leads with those first that are nearest to the target, those of its family before all others."""
    return sorted(leads, key=lambda lead: _apart(lead.place, target))


def _apart(one: Optimum, target: Optimum) -> tuple[bool, float]:
    """Return whether a place is of another family than the target, and how many octaves lie between them."""
    octaves = (
        math.log2(one.parameters / target.parameters),
        math.log2(one.tokens / target.tokens),
        math.log2(one.batch / target.batch),
    )
    return one.family != target.family, math.hypot(*octaves)


def weights_of(remembered: Sequence[Remembered], weights: Sequence[float]) -> dict[str, float]:
    """Return what each run weighs, heaviest first; what several runs tell together is shared among them."""
    total: dict[str, float] = {}
    for each, weight in zip(remembered, weights, strict=True):
        for source in each.sources:
            total[source] = total.get(source, 0.0) + weight / len(each.sources)
    return dict(sorted(total.items(), key=lambda item: (-abs(item[1]), item[0])))


def _weighed(
    found: Believed, remembered: Sequence[Remembered], target: Optimum
) -> tuple[PeakSource, ...]:
    """Return the runs that are named: those that weigh most, then those that only ended."""
    weights = weights_of(remembered, found.model.influence(target))
    weights |= {one.id: 0.0 for one in found.runs if one.id not in weights}
    named = list(weights.items())[:SHOWN]
    return tuple(PeakSource(id=source, weight=weight) for source, weight in named)
