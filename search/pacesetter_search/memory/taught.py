"""What the runs of a project teach, for a person to look at: best peaks, slopes, and how much each run weighs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pacesetter.protocol import Parametrization, Regime
from pydantic import BaseModel, ConfigDict

from pacesetter_search.memory.kinds import SCALE, Kind, class_of
from pacesetter_search.memory.optima import Remembered, first_of
from pacesetter_search.memory.prior import MOST, Believed, believed, nearest, weights_of
from pacesetter_search.memory.recorded import Recorded
from pacesetter_search.memory.records import RunRecord
from pacesetter_search.transfer.places import Optimum
from pacesetter_search.transfer.published import LAWS, weight_decay_timescale

KINDS = 50
"""That are told, those of the most runs."""

SHOWN = 100
"""Runs of a kind that are named: the heaviest, then the newest."""


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slope(_Told):
    """Octaves that the best peak moves where a number doubles, the others as they are."""

    mean: float
    sd: float


class Place(_Told):
    """What the best peak is told of."""

    family: str
    parameters: float
    tokens: float
    batch_tokens: float
    width_ratio: float
    depth_ratio: float


class TaughtOptimum(_Told):
    """A best peak that runs measured."""

    place: Place
    lr: float
    """At the shape of a linear decay, of an optimizer without momentum."""
    sd_octaves: float
    weight: float
    """Octaves that the best peak of the reference moves when this one moves by one."""
    curves: tuple[str, ...]
    """Ids of the curves of the runs that tell it."""


class TaughtRun(_Told):
    """A run on record. To leave it out, set ``excluded`` of its curve."""

    curve: str
    """Id of its curve."""
    name: str
    job: str | None
    family: str
    peak_lr: float
    weight: float
    """Octaves that the best peak of the reference moves when all that this run tells moves by one."""
    timescale: float | None
    """Of its weight decay, as a share of the run; None: there was none, or the batch is not known."""
    published_timescale: float | None
    """The best one at its tokens a parameter, where a law is about such runs."""


class TaughtPeak(_Told):
    """The best peak of the reference."""

    lr: float
    lr_90: tuple[float, float]
    sd_octaves: float
    from_law: bool
    """Whether the published law is behind it, beside the runs; else practice, known to three octaves."""
    disagreement: float
    """Octaves by which the best peaks disagree beyond what they say of themselves."""
    by_final_losses: float
    """Octaves that what the runs ended with moved it by."""
    steepness: float
    """How much a wrong peak costs these runs, over what is expected of a run of which nothing is known."""
    slopes: Mapping[str, Slope]
    """In parameters, tokens (the horizon exponent), batch, width, depth, and the share of a shape's octaves."""


class TaughtKind(_Told):
    """What the runs of one kind teach: nothing of it crosses to another one."""

    regime: Regime
    optimizer: str
    """Class of optimizers whose best rates are alike: ``adam`` is AdamW as well."""
    parametrization: Parametrization
    objective: str
    """Mode and name: ``min loss``."""
    runs: int
    families: Mapping[str, int]
    """Runs by family, the most first."""
    reference: Place | None
    """What the peak and the weights are of: as asked for, else like the newest run; None: no run's size, budget and
    batch are known."""
    peak: TaughtPeak | None
    """None: no run tells a best peak."""
    optima: tuple[TaughtOptimum, ...]
    """The nearest to the reference, those of its family first."""
    told_by: tuple[TaughtRun, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which kinds are asked about, and for which reference; what is None is any, or as the newest run has it."""

    regime: Regime | None = None
    optimizer: str | None = None
    parametrization: Parametrization | None = None
    family: str | None = None
    parameters: float | None = None
    tokens: float | None = None
    batch_tokens: float | None = None

    def takes(self, kind: Kind, runs: Sequence[RunRecord]) -> bool:
        """Return whether a kind is asked about."""
        return (
            self.regime in (None, kind.regime)
            and (self.optimizer is None or class_of(self.optimizer) == kind.optimizer)
            and self.parametrization in (None, kind.parametrization)
            and (self.family is None or any(one.workload.family == self.family for one in runs))
        )


def taught(recorded: Recorded, wanted: Wanted) -> tuple[TaughtKind, ...]:
    """Return what runs teach, the kind of the most runs first.

    Args:
        recorded: Runs of one project, newest first.
        wanted: Which kinds, for which reference.
    """
    kinds = [kind for kind, runs in recorded.kinds.items() if wanted.takes(kind, runs)]
    kinds.sort(key=lambda kind: -len(recorded.of(kind)))
    return tuple(_taught(kind, recorded, wanted) for kind in kinds[:KINDS])


def _taught(kind: Kind, recorded: Recorded, wanted: Wanted) -> TaughtKind:
    runs, leads = recorded.of(kind), recorded.leads(kind)
    target = _reference(runs, wanted)
    remembered = [] if target is None else first_of(nearest(leads, target), MOST)
    found, influence = None, []
    if target is not None:
        found = believed(kind, runs, remembered, target)
    if target is not None and found is not None:
        influence = found.model.influence(target)
    weights = weights_of(remembered, influence)
    families = Counter(one.workload.family for one in runs)
    return TaughtKind(
        regime=kind.regime,
        optimizer=kind.optimizer,
        parametrization=kind.parametrization,
        objective=kind.objective,
        runs=len(runs),
        families=dict(families.most_common()),
        reference=None if target is None else _place(target),
        peak=None if found is None or target is None else _peak(kind, found, target),
        optima=tuple(map(_optimum, remembered, influence)),
        told_by=tuple(_run(kind, one, weights) for one in _heaviest(runs, weights)),
    )


def _reference(runs: Sequence[RunRecord], wanted: Wanted) -> Optimum | None:
    """Return where the best peak is told of; None where neither the question nor a run says it."""
    family = [one for one in runs if wanted.family in (None, one.workload.family)]
    like = next((one for one in family if None not in _numbers(one)), family[0])
    given = wanted.parameters, wanted.tokens, wanted.batch_tokens
    parameters, tokens, batch = (
        own if asked is None else asked for asked, own in zip(given, _numbers(like), strict=True)
    )
    if parameters is None or tokens is None or batch is None:
        return None
    workload = like.workload
    return Optimum(
        parameters,
        tokens,
        min(batch, tokens),
        1.0,
        width=workload.width_ratio,
        depth=workload.depth_ratio,
        family=workload.family,
    )


def _numbers(run: RunRecord) -> tuple[float | None, float | None, float | None]:
    return run.workload.parameters, run.tokens, run.workload.batch_tokens


def _peak(kind: Kind, found: Believed, target: Optimum) -> TaughtPeak:
    slopes = {name: Slope(mean=mean, sd=sd) for name, (mean, sd) in found.model.slopes().items()}
    return TaughtPeak(
        lr=math.exp2(found.mean),
        lr_90=found.interval(),
        sd_octaves=found.sd,
        from_law=kind.lawful and target.parameters >= SCALE,
        disagreement=math.sqrt(found.model.between),
        by_final_losses=found.told.mean,
        steepness=found.told.steepness,
        slopes=slopes,
    )


def _optimum(each: Remembered, weight: float) -> TaughtOptimum:
    one = each.optimum
    return TaughtOptimum(
        place=_place(one), lr=one.lr, sd_octaves=one.sd, weight=weight, curves=each.sources
    )


def _place(one: Optimum) -> Place:
    return Place(
        family=one.family,
        parameters=one.parameters,
        tokens=one.tokens,
        batch_tokens=one.batch,
        width_ratio=one.width,
        depth_ratio=one.depth,
    )


def _heaviest(runs: Sequence[RunRecord], weights: Mapping[str, float]) -> list[RunRecord]:
    return sorted(runs, key=lambda one: -abs(weights.get(one.id, 0.0)))[:SHOWN]


def _run(kind: Kind, run: RunRecord, weights: Mapping[str, float]) -> TaughtRun:
    parameters, tokens, batch = _numbers(run)
    timescale = published = None
    if tokens is not None and batch is not None and run.weight_decay > 0.0:
        timescale = batch / (run.peak_lr * run.weight_decay * tokens)
        law = LAWS["weight_decay_timescale"]
        about = law.concerns(kind.regime, run.optimizer, kind.parametrization)
        if about and parameters is not None and kind.of_language:
            published = weight_decay_timescale(tokens / parameters)
    return TaughtRun(
        curve=run.id,
        name=run.name,
        job=run.job,
        family=run.workload.family,
        peak_lr=run.peak_lr,
        weight=weights.get(run.id, 0.0),
        timescale=timescale,
        published_timescale=published,
    )
