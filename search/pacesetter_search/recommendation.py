"""What to run: a peak learning rate with its interval, batch, weight decay, warm-up, schedule, and what it rests on.

Nothing is made up where nothing is known: outside of what laws and evidence are about, the answer is ``no_evidence``
with the cheapest study that would give some.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pacesetter.protocol import Regime
from pacesetter.schedules import WSD, Linear, Schedule, Warmup
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pacesetter_search.transfer.hinge import hinge_batch
from pacesetter_search.transfer.peak import Z50, Z90, PeakModel, PeakPrediction
from pacesetter_search.transfer.places import Optimum
from pacesetter_search.transfer.published import (
    LAWS,
    PublishedLaw,
    best_batch,
    weight_decay_timescale,
)
from pacesetter_search.transfer.sweeps import Trial, best_peak, cost_of_an_octave, in_the_bowl

SAFE_ABOVE = 0.3
SAFE_SHARE = 0.25
"""Too high a rate costs more than too low a one: where the sd is above so many octaves, the recommended peak lies a
quarter of an sd below the mean."""

DOUBT = 1.5
"""Octaves from a published law beyond which a warning says so."""

WARMUP_SHARE = 0.02
BETA2 = 0.95
DECAY_SHARE = 0.2

ADAM = frozenset({"adam", "adamw"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Count = Annotated[float, Field(ge=1.0, le=1e15)]
Ratio = Annotated[float, Field(ge=1e-4, le=1e4)]


class _Measured(_Strict):
    """Where something was measured in the target's family: one size, one budget, one batch."""

    parameters: Count
    """Without embeddings."""
    tokens: Count
    batch_tokens: Count
    width_ratio: Ratio = 1.0
    depth_ratio: Ratio = 1.0
    name: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _batch_fits(self) -> Self:
        _check_batch(self.batch_tokens, self.tokens)
        return self

    def _at(self, lr: float, sd: float) -> Optimum:
        counts = (self.parameters, self.tokens, self.batch_tokens)
        return Optimum(*counts, lr, sd, self.width_ratio, self.depth_ratio)


class Evidence(_Measured):
    """A best peak that was measured, by a sweep."""

    lr: float = Field(ge=1e-12, le=1e4)
    sd_octaves: float = Field(default=0.15, ge=0, le=10)

    def optimum(self) -> Optimum:
        """Return it as the model takes it."""
        return self._at(self.lr, self.sd_octaves)


class SweptRun(_Strict):
    """A complete run of a sweep."""

    lr: float = Field(ge=1e-12, le=1e4)
    """Its peak."""
    loss: float = Field(gt=0.0, le=1e6)
    """What it ended with."""
    sd: float = Field(default=0.0, ge=0.0, le=1.0)
    """Relative sd of that loss, beyond seeds."""


class Sweep(_Measured):
    """Complete runs that differ in their peak alone: the best one is worked out from them."""

    runs: tuple[SweptRun, ...] = Field(min_length=2, max_length=50)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        in_the_bowl(self._trials())
        return self

    def _trials(self) -> list[Trial]:
        return [Trial(run.lr, run.loss, run.sd) for run in self.runs]

    def optimum(self) -> Optimum:
        """Return the best peak with its sd."""
        mean, sd = best_peak(self._trials(), self.tokens / self.parameters)
        return self._at(math.exp2(mean), sd)


class Query(_Strict):
    """What is to be trained."""

    parameters: Count
    """Without embeddings."""
    tokens: Count
    """Of the whole budget, all epochs."""
    batch_tokens: Count | None = None
    """Tokens of an optimizer step; None: to be chosen."""
    optimizer: str = Field(default="adamw", max_length=100)
    regime: Regime = "pretrain"
    parametrization: Literal["standard", "mup"] = "standard"
    width_ratio: Ratio = 1.0
    """Over the base width that the peak is given for, under muP."""
    depth_ratio: Ratio = 1.0
    extendable: bool = False
    """Whether the run may be made longer later: then the schedule is WSD."""
    epochs: float = Field(default=1.0, gt=0, le=1e9)

    @model_validator(mode="after")
    def _batch_fits(self) -> Self:
        if self.batch_tokens is not None:
            _check_batch(self.batch_tokens, self.tokens)
        return self


class Target(Query):
    """What is to be trained, with the optima that were measured for its family."""

    evidence: tuple[Evidence, ...] = Field(default=(), max_length=200)
    sweeps: tuple[Sweep, ...] = Field(default=(), max_length=20)
    """Runs whose best peak is not known yet."""

    @property
    def measured(self) -> tuple[Evidence | Sweep, ...]:
        """All that was measured."""
        return (*self.evidence, *self.sweeps)


def _check_batch(batch: float, tokens: float) -> None:
    if batch > tokens:
        raise ValueError(
            f"a batch of {batch:g} tokens is larger than the budget of {tokens:g}; give both in tokens"
        )


class Source(_Strict):
    """Something that the answer rests on."""

    kind: Literal["law", "optimum"]
    name: str
    lr: float | None
    """What it says by itself."""
    covers: bool
    """Whether the target lies inside of what it was fitted on."""
    weight: float
    """Octaves that the answer moves when this one moves by one: 0 for what it is only compared with."""


class Recommendation(_Strict):
    """The answer."""

    status: Literal["ok", "no_evidence"]
    lr: float | None = None
    lr_50: tuple[float, float] | None = None
    lr_90: tuple[float, float] | None = None
    sd_octaves: float | None = None
    dominant_uncertainty: str | None = None
    batch_tokens: float | None = None
    batch_90: tuple[float, float] | None = None
    weight_decay: float | None = None
    """For decoupled decay that is multiplied by the learning rate, as torch's AdamW."""
    steps: int | None = None
    schedule: Schedule | None = None
    """Relative to ``lr``, ready to be a job's base."""
    relative_loss_of_missing: float | None = None
    """Expected, because the best peak is known only so far."""
    evidence: tuple[Source, ...] = ()
    warnings: tuple[str, ...] = ()
    study: str | None = None
    """The cheapest study that would give evidence, where there is none."""


def recommend(target: Target) -> Recommendation:
    """Return what to run for ``target``."""
    reason = _unknown(target)
    if reason is not None:
        return _no_evidence(target, reason)
    batch = target.batch_tokens or best_batch(target.tokens)
    optima = [one.optimum() for one in target.measured]
    model = PeakModel(optima, parametrization=target.parametrization, anchor=_anchor(target))
    place = Optimum(
        target.parameters,
        target.tokens,
        batch,
        1.0,
        width=target.width_ratio,
        depth=target.depth_ratio,
    )
    found = model.predict(place)
    safe = found.mean - (SAFE_SHARE * found.sd if found.sd > SAFE_ABOVE else 0.0)
    lr, steps = math.exp2(safe), max(1, round(target.tokens / batch))
    return Recommendation(
        status="ok",
        lr=lr,
        lr_50=found.interval(Z50),
        lr_90=found.interval(Z90),
        sd_octaves=found.sd,
        dominant_uncertainty=_dominant(found),
        batch_tokens=batch,
        batch_90=None if target.batch_tokens else (batch * 2.0**-0.5, batch * 2.0**0.5),
        weight_decay=_weight_decay(target, batch, lr),
        steps=steps,
        schedule=_schedule(target, steps),
        relative_loss_of_missing=cost_of_an_octave(target.tokens / target.parameters)
        * (found.sd**2 + (safe - found.mean) ** 2),
        evidence=_sources(target, batch, optima, model.influence(place)),
        warnings=tuple(_warnings(target, batch, found)),
    )


def _unknown(target: Target) -> str | None:
    """Return why nothing is known, as no law is about the target and it brings no evidence of its own; else None."""
    if target.measured:
        return None
    if target.regime != "pretrain":
        return f"published laws are about pretraining, and the regime is {target.regime!r}"
    if target.optimizer.lower() not in ADAM:
        return f"published laws are about Adam and AdamW, and the optimizer is {target.optimizer!r}"
    if target.parametrization == "mup":
        return "under muP the best peak belongs to your base model; no law fixes it"
    return None


def _no_evidence(target: Target, reason: str) -> Recommendation:
    tokens = target.tokens / 16.0
    study = (
        f"sweep the peak over 5 rates a factor of 2 apart, as complete runs of {tokens:.3g} tokens with the decay that "
        f"you will use, at {target.batch_tokens or best_batch(tokens):.3g} tokens a step; pass the best one as evidence"
    )
    return Recommendation(
        status="no_evidence", warnings=(f"{reason}: nothing is recommended",), study=study
    )


def _anchor(target: Target) -> tuple[float, float] | None:
    """Without a law for it the anchor is open: the target's own optima alone place it."""
    lawful = (
        target.regime == "pretrain"
        and target.optimizer.lower() in ADAM
        and target.parametrization == "standard"
    )
    return None if lawful else (-9.0, 6.0)


def _dominant(found: PeakPrediction) -> str:
    name, variance = next(iter(found.terms.items()))
    words = {
        "anchor": "how labs and families differ",
        "parameters": "the distance in parameters",
        "tokens": "the distance in tokens",
        "batch": "the slope in the batch",
        "width": "the distance in width",
        "depth": "the distance in depth",
        "hinge": "where the batch saturates",
        "model": "what the model itself gets wrong",
    }[name]
    return f"{words}: +-{math.sqrt(variance):.2f} octaves of +-{found.sd:.2f}"


def _weight_decay(target: Target, batch: float, lr: float) -> float | None:
    """Return the decay whose timescale is the published one, for AdamW; None for others."""
    if target.optimizer.lower() != "adamw":
        return None
    timescale = weight_decay_timescale(target.tokens / target.parameters)
    return batch / (lr * target.tokens * timescale)


def _schedule(target: Target, steps: int) -> Schedule:
    warmup = min(max(round(WARMUP_SHARE * steps), round(2.0 / (1.0 - BETA2))), steps // 4)
    body = WSD(cooldown=DECAY_SHARE, shape="sqrt") if target.extendable else Linear()
    return Schedule(length=steps, warmup=Warmup(length=warmup) if warmup else None, body=body)


def _sources(
    target: Target, batch: float, optima: Sequence[Optimum], weights: Sequence[float]
) -> tuple[Source, ...]:
    data = [
        Source(
            kind="optimum",
            name=one.name or f"optimum {place}",
            lr=optimum.lr,
            covers=True,
            weight=weight,
        )
        for place, (one, optimum, weight) in enumerate(
            zip(target.measured, optima, weights, strict=True), 1
        )
    ]
    rest = min(1.0, max(0.0, 1.0 - sum(weights)))
    published = [
        Source(
            kind="law",
            name=f"{law.name}: {law.source}",
            lr=None if law.peak is None else law.peak(target.parameters, target.tokens, batch),
            covers=law.covers(target.parameters, target.tokens),
            # The hinge law is the model's prior; the others are there to be compared with.
            weight=rest if law.name == "hinge" else 0.0,
        )
        for law in LAWS.values()
        if _applies(law, target)
    ]
    return (*data, *published)


def _applies(law: PublishedLaw, target: Target) -> bool:
    lawful = target.regime == "pretrain" and target.optimizer.lower() in ADAM
    return lawful and law.parametrization == target.parametrization


def _warnings(target: Target, batch: float, found: PeakPrediction) -> list[str]:
    said = []
    if not target.measured:
        said.append(
            "published laws only: no run of yours is behind this; measure one optimum and pass it as evidence"
        )
    for name in ("hinge", "step_law", "deepseek"):
        law = LAWS[name]
        if law.peak is None or not _applies(law, target):
            continue
        apart = found.mean - math.log2(law.peak(target.parameters, target.tokens, batch))
        if abs(apart) > DOUBT:
            word = "above" if apart > 0 else "below"
            said.append(
                f"the answer lies {abs(apart):.1f} octaves {word} the law {name} ({law.source})"
            )
    hinge = LAWS["hinge"]
    if _applies(hinge, target) and not hinge.covers(target.parameters, target.tokens):
        (fewest, most), (shortest, longest) = hinge.parameters, hinge.tokens
        said.append(
            f"the target lies outside of what the law was fitted on ({fewest:.2g} to {most:.2g} parameters, "
            f"{shortest:.2g} to {longest:.2g} tokens)"
        )
    if target.batch_tokens is not None and target.batch_tokens > 4.0 * hinge_batch(target.tokens):
        said.append(
            "the batch is more than four times the one above which steps are hardly saved: samples are wasted"
        )
    if target.epochs > 4.0:
        said.append(
            f"data that repeat {target.epochs:g} times are in none of the laws: the best peak may lie lower"
        )
    if target.measured and target.regime != "pretrain":
        said.append(
            f"slopes in size, tokens and batch are those of pretraining; the regime is {target.regime!r}"
        )
    return said
