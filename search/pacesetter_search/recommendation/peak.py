"""Where the best peak lies for a target, how surely, and the rate on its safe side."""

import math
from dataclasses import dataclass, replace

from pacesetter.protocol import Source

from pacesetter_search.memory.kinds import Kind
from pacesetter_search.memory.prior import model_of
from pacesetter_search.recommendation.gathering import Gathered
from pacesetter_search.recommendation.kinds import BORROWED_SD, is_loss
from pacesetter_search.recommendation.target import Asked, Target
from pacesetter_search.transfer import Optimum, PeakPrediction
from pacesetter_search.transfer.hinge import FITTED_PARAMETERS, FITTED_TOKENS
from pacesetter_search.transfer.peak import Z50, Z90, PeakModel
from pacesetter_search.transfer.published import LAWS, PublishedLaw

SAFE_ABOVE = 0.3
SAFE_SHARE = 0.25
"""Too high a rate costs more than too low a one: where the sd is above so many octaves, the recommended peak lies a
quarter of an sd below the mean."""

DOUBT = 1.5
"""Octaves from a published law beyond which a warning says so."""

CROSS_CHECKED = frozenset({"hinge", "step_law", "deepseek", "power", "minicpm"})
"""Laws that fit optima, and were read first-hand."""

FAR, FAR_SD = 2.0, 0.5
"""Octaves outside of all that is known in parameters or tokens, and the sd that is admitted beyond them at the least
[mup-and-ray, decision 4]."""

FREE_EPOCHS, REPEATED_SD = 4.0, 0.25
"""Passes over the data up to which they are as good as new [Muennighoff2023], and octaves that each doubling beyond
them adds: best peaks fall, and by how much is in no law. Judgement."""

SHOWN = 50
"""Runs on record that an answer names."""

WORDS = {
    "anchor": "how labs and families differ",
    "family": "how families differ",
    "parameters": "the distance in parameters",
    "tokens": "the distance in tokens",
    "batch": "the slope in the batch",
    "width": "the distance in width",
    "depth": "the distance in depth",
    "hinge": "where the batch saturates",
    "model": "what the model itself gets wrong",
    "epochs": "data that repeat",
    "borrowed": "what two regimes have to do with each other",
    "shape": "how the schedule's shape moves the peak",
    "far": "the distance from all that was measured",
}


@dataclass(frozen=True, slots=True)
class Peak:
    """The best peak of a target: of a linear decay without momentum, as it is found.

    Attributes:
        found: log2 of it with its sd.
        weights: Octaves that it moves when each best peak that was told moves by one.
        far: Octaves outside of what is known, by name: ``parameters`` and ``tokens``, where it is outside.
        model: What it was worked out by.
        place: Where.
        extra: Variance beside that of the model, by what it comes from.
        momentum: Of the optimizer.
    """

    found: PeakPrediction
    weights: tuple[float, ...]
    far: dict[str, float]
    model: PeakModel
    place: Optimum
    extra: dict[str, float]
    momentum: float = 0.0

    @property
    def safe(self) -> float:
        """log2 of the rate to recommend, before what is known of stability."""
        found = self.found
        return found.mean - (SAFE_SHARE * found.sd if found.sd > SAFE_ABOVE else 0.0)

    def of_shape(self, octaves: float) -> "Peak":
        """Return that of another schedule, whose best peak lies ``octaves`` above that of a linear decay."""
        return self._at(replace(self.place, shape=octaves), self.momentum)

    def with_momentum(self, momentum: float) -> "Peak":
        """Return that of an optimizer with momentum."""
        return self._at(self.place, momentum)

    def intervals(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return rates between which the best peak lies with 50 and 90 %."""
        return self.found.interval(Z50), self.found.interval(Z90)

    def _at(self, place: Optimum, momentum: float) -> "Peak":
        found = _predicted(self.model, place, self.extra, self.far)
        found = replace(found, mean=found.mean + place.shape + math.log2(1.0 - momentum))
        return replace(self, found=found, place=place, momentum=momentum)


def find_peak(target: Target, batch: float, found: Gathered) -> Peak:
    """Return the best peak of ``target`` at ``batch`` tokens a step."""
    asked = target.asked()
    place = Optimum(
        asked.parameters,
        asked.tokens,
        batch,
        1.0,
        width=target.width_ratio,
        depth=target.depth_ratio,
        family=target.family,
    )
    model = model_of(Kind.of_target(target), found.optima, place)
    far = _far(target, asked, found)
    extra = {"epochs": (REPEATED_SD * doublings_beyond(target.epochs)) ** 2}
    if found.borrowed is not None:
        extra["borrowed"] = BORROWED_SD**2
    predicted = _predicted(model, place, extra, far)
    return Peak(predicted, tuple(model.influence(place)), far, model, place, extra)


def _predicted(
    model: PeakModel, place: Optimum, extra: dict[str, float], far: dict[str, float]
) -> PeakPrediction:
    """Return the best peak at a place as that of a linear decay, with all that widens it."""
    predicted = widened(model.predict(place), extra)
    if far and predicted.sd < FAR_SD:
        predicted = widened(predicted, {"far": FAR_SD**2 - predicted.sd**2})
    return predicted


def widened(found: PeakPrediction, extra: dict[str, float]) -> PeakPrediction:
    """Return a prediction with further variance, by what it comes from."""
    terms = {**found.terms, **{name: value for name, value in extra.items() if value > 0.0}}
    total = found.sd**2 + sum(max(value, 0.0) for value in extra.values())
    ordered = dict(sorted(terms.items(), key=lambda item: -item[1]))
    return PeakPrediction(found.mean, math.sqrt(total), ordered)


def doublings_beyond(epochs: float | None) -> float:
    """Return how often the passes over the data were doubled beyond those that are as good as new data."""
    return math.log2(max(epochs or 1.0, FREE_EPOCHS) / FREE_EPOCHS)


def dominant(found: PeakPrediction) -> str:
    """Return in words what widens the interval most."""
    name, variance = next(iter(found.terms.items()))
    return f"{WORDS[name]}: +-{math.sqrt(variance):.2f} octaves of +-{found.sd:.2f}"


def compared(target: Target, asked: Asked, batch: float) -> list[tuple[PublishedLaw, float]]:
    """Return the published laws that are about such a target, with the peak that each gives."""
    if not is_loss(target.objective):
        return []
    return [
        (law, law.peak(asked.parameters, asked.tokens, batch))
        for law in LAWS.values()
        if law.peak is not None
        and law.concerns(target.regime, target.optimizer, target.parametrization)
    ]


def sources(
    target: Target, asked: Asked, batch: float, found: Gathered, peak: Peak
) -> tuple[Source, ...]:
    """Return everything that the peak rests on or is compared with."""
    told = [
        source.model_copy(update={"weight": weight / len(each.sources)})
        for each, weight in zip(found.told, peak.weights, strict=True)
        for source in each.sources
    ]
    rest = min(1.0, max(0.0, 1.0 - sum(peak.weights)))
    published = [
        Source(
            kind="law",
            name=f"{law.name}: {law.source}",
            lr=lr,
            covers=law.covers(asked.parameters, asked.tokens),
            # The hinge law is the model's prior; the others are there to be compared with.
            weight=rest if law.name == "hinge" else 0.0,
            trust=law.trust,
            holds=law.holds,
        )
        for law, lr in compared(target, asked, batch)
    ]
    return (*_heaviest(_merged(told)), *published)


def warnings(target: Target, asked: Asked, batch: float, found: Gathered, peak: Peak) -> list[str]:
    """Return what has to be minded of the peak."""
    said = []
    kind = Kind.of_target(target)
    if not found.told:
        said.append(
            "published laws only: no best peak of yours is behind the rate; measure one and pass it as evidence"
        )
    for law, lr in compared(target, asked, batch):
        apart = peak.found.mean - math.log2(lr)
        if law.name in CROSS_CHECKED and abs(apart) > DOUBT:
            word = "above" if apart > 0 else "below"
            said.append(
                f"the answer lies {abs(apart):.1f} octaves {word} the law {law.name} ({law.source})"
            )
    hinge = LAWS["hinge"]
    if kind.lawful and not hinge.covers(asked.parameters, asked.tokens):
        (fewest, most), (shortest, longest) = hinge.parameters, hinge.tokens
        said.append(
            f"the target lies outside of what the law was fitted on ({fewest:.2g} to {most:.2g} parameters, "
            f"{shortest:.2g} to {longest:.2g} tokens)"
        )
    if peak.far:
        by = " and ".join(f"{octaves:.1f} octaves in {name}" for name, octaves in peak.far.items())
        said.append(
            f"the target lies {by} outside of all that was measured; what widens the interval most is "
            f"{dominant(peak.found)}"
        )
    if peak.model.between > 0.0:
        said.append(
            f"the best peaks that were told disagree by {math.sqrt(peak.model.between):.1f} octaves more than they say "
            "of themselves, so the next one may too; look for one in another unit, or name families apart"
        )
    if (target.epochs or 1.0) > FREE_EPOCHS:
        said.append(
            f"data that repeat {target.epochs:g} times are in none of the laws: the best peak may lie lower, and a "
            "weight decay several times as large pays in one report [arXiv 2605.01640]"
        )
    if found.told and target.regime != "pretrain":
        said.append(
            f"slopes in size, tokens and batch are those of pretraining; the regime is {target.regime!r}"
        )
    return said


def _far(target: Target, asked: Asked, found: Gathered) -> dict[str, float]:
    """Return how far the target lies outside of its evidence and of the law's range, where that is far."""
    values = {
        "parameters": (asked.parameters, [one.parameters for one in found.optima]),
        "tokens": (asked.tokens, [one.tokens for one in found.optima]),
    }
    if target.parametrization == "mup":
        del values["parameters"]  # width and depth carry the size
    ranges = {"parameters": FITTED_PARAMETERS, "tokens": FITTED_TOKENS}
    far = {}
    for name, (value, known) in values.items():
        if Kind.of_target(target).lawful:
            known = [*known, *ranges[name]]
        outside = max(0.0, math.log2(min(known) / value), math.log2(value / max(known)))
        if outside > FAR:
            far[name] = outside
    return far


def _heaviest(told: list[Source]) -> list[Source]:
    """Return the runs on record that weigh most, and all others of them as one."""
    runs = sorted(
        (one for one in told if one.kind == "run"), key=lambda one: (-abs(one.weight), one.id or "")
    )
    kept = [one for one in told if one.kind != "run"] + runs[:SHOWN]
    rest = runs[SHOWN:]
    if rest:
        weight = sum(one.weight for one in rest)
        kept.append(Source(kind="run", name=f"{len(rest)} further runs", weight=weight))
    return kept


def _merged(told: list[Source]) -> list[Source]:
    """Return sources once each: what one run tells in several places adds up."""
    found: dict[tuple[str, str | None, str], Source] = {}
    for place, source in enumerate(told):
        key = (source.kind, source.id, "" if source.id else f"{place}")
        if key in found:
            weight = found[key].weight + source.weight
            found[key] = found[key].model_copy(update={"weight": weight})
        else:
            found[key] = source
    return list(found.values())
