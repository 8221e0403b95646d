"""What to do with a run that stands somewhere: decay it now, or make it longer, and what either would end with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pacesetter.errors import ScheduleError
from pacesetter.schedules import WSD, CooldownShape, Schedule, convex_bound
from pacesetter.schedules.cooldowns import cooldown_over
from pacesetter.schedules.horizon import extend, for_budget, join

from pacesetter_search.laws.base import FittedLaw
from pacesetter_search.laws.choice.ranking import (
    SHORTEST_TAIL,
    SHRINK,
    Ranked,
    doubts,
    final,
    outside,
    placed,
)
from pacesetter_search.laws.curves import FloatArray

FACTORS = (1.5, 2.0, 3.0)
"""Extensions that are compared."""

BOUND_STEPS = 4000
"""Length of the run whose convex bound the rules are made from; they move by .002 from 1000 to 20,000 steps."""

EXPONENTIAL_END = 0.1
AS_IT_IS, LONGER, TWO_STAGES = "as it is", "longer cooldown", "two stages"


@dataclass(frozen=True, slots=True)
class DecayNow:
    """What a decay to zero over so many more steps would end with.

    Attributes:
        length: Steps of the decay.
        loss: Expected loss at its end.
        loss_sd: Its standard deviation.
        held: Expected loss where the rate is held over the same steps instead.
        gain: Shrunken relative gain of decaying over holding: what a model handed out then would be better by.
    """

    length: int
    loss: float
    loss_sd: float
    held: float
    gain: float


@dataclass(frozen=True, slots=True)
class DecayOutlook:
    """The present, and each way to decay from it."""

    loss: float
    """Expected at the present."""
    loss_sd: float
    ways: tuple[DecayNow, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extension:
    """All ways to make a run so many times as long, best first."""

    factor: float
    ways: tuple[Ranked, ...]
    schedules: Mapping[str, Schedule]
    refused: Mapping[str, str]
    """Why a way is none here, by its name."""
    warnings: tuple[str, ...]


def decay_now(
    law: FittedLaw,
    lrs_so_far: ArrayLike,
    lengths: Sequence[int],
    *,
    shape: CooldownShape = "linear",
    stride: int = 1,
) -> DecayOutlook:
    """Return what decaying to zero from here on would give, for each length of the decay.

    Args:
        law: In steps of the job.
        lrs_so_far: (ceil(steps / stride),) learning rates that were run, in the unit of the fitted curves.
        lengths: Steps of each decay.
        shape: Of the decay.
        stride: Steps that one of these rates stands for: of a long run not every one is looked at.

    Raises:
        ValueError: Nothing was run, the rate is zero here, or a length is not above zero.
    """
    before = np.asarray(lrs_so_far, dtype=np.float64)
    if before.ndim != 1 or not before.size or before[-1] <= 0.0:
        raise ValueError(
            "the rate here is zero or unknown; give the rate of every step that was run"
        )
    if not lengths or min(lengths) <= 0:
        raise ValueError(f"decays over {list(lengths)} steps are none; give lengths above zero")
    level = float(before[-1])
    coarse = law.thinned(stride)
    now = final(coarse, before)
    ways: list[DecayNow] = []
    warnings: dict[str, None] = {}
    for length in lengths:
        count = max(1, round(length / stride))
        tail = level * cooldown_over(shape, EXPONENTIAL_END)(np.arange(count) / count)
        decayed = np.concatenate([before, tail])
        end = final(coarse, decayed)
        held = float(final(coarse, np.append(before, np.full(count, level))).mean[0])
        gain = SHRINK * (held - float(end.mean[0])) / held
        ways.append(DecayNow(length, float(end.mean[0]), float(end.sd[0]), held, gain))
        for doubt in doubts(coarse, {f"a decay over {length:,} steps": decayed}):
            warnings[doubt] = None
        if count < SHORTEST_TAIL * decayed.size:
            warnings[f"a decay over {length:,} steps is shorter than any that was measured"] = None
    return DecayOutlook(
        float(now.mean[0]), float(now.sd[0]), tuple(ways), (*law.warnings, *warnings)
    )


def compare_extensions(
    law: FittedLaw,
    schedule: Schedule,
    base_lr: float,
    at: int,
    factors: Sequence[float] = FACTORS,
    *,
    total: int | None = None,
    lrs_so_far: ArrayLike | None = None,
    stride: int = 1,
) -> tuple[Extension, ...]:
    """Return what a longer budget would end with, by every way to get there from where the run stands.

    A WSD schedule before its cooldown may keep its rate and cool down for longer (:func:`cooldown_for`, or from here on
    where that would have begun), or drop its rate where the old cooldown would have begun and keep the share
    (:func:`drop_for`). Any schedule may go on as :func:`pacesetter.schedules.horizon.for_budget` says by itself.

    Args:
        law: In steps of the job.
        schedule: The plan so far, in steps.
        base_lr: Of what its multipliers are, in the unit of the fitted curves.
        at: Where the run stands.
        factors: How many times as long.
        total: Position at which the run is to end; None: with the schedule.
        lrs_so_far: (ceil(at / stride),) learning rates that were run from position 0 on; None: those of the schedule,
            from its zero on.
        stride: Steps that one rate stands for.

    Raises:
        ValueError: A factor is not above 1.
    """
    first = schedule.zero if lrs_so_far is None else 0
    end = schedule.end if total is None else total
    scale = 1.0 if schedule.unit == "absolute" else base_lr
    before = (
        scale * values_over(schedule, first, at, stride)
        if lrs_so_far is None
        else np.asarray(lrs_so_far, dtype=np.float64)
    )
    coarse = law.thinned(stride)
    found = []
    for factor in factors:
        if not factor > 1.0:
            raise ValueError(f"{factor:g} times the length is no extension; give factors above 1")
        later = first + round(factor * (end - first))
        schedules, refused = _ways(schedule, at, first, (end, later))
        rates = {
            name: np.append(before, scale * values_over(each, at, later, stride))
            for name, each in schedules.items()
        }
        found.append(_extension(coarse, factor, schedules, rates, refused))
    return tuple(found)


def _extension(
    law: FittedLaw,
    factor: float,
    schedules: Mapping[str, Schedule],
    rates: Mapping[str, FloatArray],
    refused: Mapping[str, str],
) -> Extension:
    """Return the ways to one longer budget in their order, those outside of what was fitted refused."""
    beyond = {name: why for name, each in rates.items() if (why := outside(law, each)) is not None}
    kept = {name: each for name, each in rates.items() if name not in beyond}
    finals = {name: final(law, each) for name, each in kept.items()}
    losses = {name: (float(f.mean[0]), float(f.sd[0])) for name, f in finals.items()}
    return Extension(
        factor,
        placed(losses, AS_IT_IS),
        {name: schedules[name] for name in kept},
        {**refused, **beyond},
        (*law.warnings, *doubts(law, kept)),
    )


def values_over(schedule: Schedule, start: int, end: int, stride: int) -> FloatArray:
    """Return the values of a schedule from ``start`` to before ``end``, one for every ``stride`` positions."""
    places = np.arange(start, end, stride, dtype=np.float64) + 0.5 * (stride - 1)
    return schedule.over(np.minimum(places, end - 1.0))


def cooldown_for(factor: float, cooldown: float = 0.2) -> float:
    """Return the share of the cooldown at which a WSD run so many times as long wants the same base rate.

    By the convex bound [Schaipp2025, arXiv 2501.18965]: from .2, .45 for 1.5 times, .63 for twice, .88 for three times,
    and all of it from about four times on.

    Raises:
        ValueError: ``factor`` is below 1, or ``cooldown`` is no share.
    """
    _check(factor, cooldown)
    wanted = _best_rate(_wsd(1.0, cooldown))
    steps = round(factor * BOUND_STEPS)

    def off(share: float) -> float:
        return _best_rate(_wsd(steps / BOUND_STEPS, share)) / wanted - 1.0

    return _root(off, cooldown, 1.0)


def drop_for(factor: float, cooldown: float = 0.2) -> float:
    """Return the factor on the rate, from where the old cooldown would have begun, at which its share may stay.

    By the convex bound: from .2, .64 for 1.5 times as long, .53 for twice, .43 for three and .38 for four times.

    Raises:
        ValueError: ``factor`` is below 1, or ``cooldown`` is no share.
    """
    _check(factor, cooldown)
    wanted = _best_rate(_wsd(1.0, cooldown))
    begin = round((1.0 - cooldown) * BOUND_STEPS)
    longer = _wsd(factor, cooldown)

    def off(rate: float) -> float:
        # A lower rate wants a larger factor in front of all.
        return 1.0 - _best_rate(np.append(longer[:begin], rate * longer[begin:])) / wanted

    # Far below it the first stage alone counts, and the bound turns round; the rate that is meant is the higher one.
    lowest = float(min(np.linspace(0.05, 1.0, 20), key=off))
    return _root(off, lowest, 1.0)


def _ways(
    schedule: Schedule, at: int, first: int, ends: tuple[int, int]
) -> tuple[dict[str, Schedule], dict[str, str]]:
    """Return schedules to the later of two ends by how they were made, and why others could not be."""
    end, later = ends
    made: dict[str, Callable[[], Schedule]] = {
        AS_IT_IS: lambda: for_budget(schedule, later, at, before=end)
    }
    body = schedule.body
    if isinstance(body, WSD) and schedule.end == end:
        length, factor = later - schedule.zero, (later - first) / (end - first)
        # The rule is about the whole run, and the share about what a schedule covers of it.
        share = body.cooldown * schedule.length / (end - first)
        wanted = cooldown_for(factor, share) * (later - first) / length
        left = later - max(at, schedule.zero + schedule.extent.warmup)
        made[LONGER] = lambda: extend(schedule, length, at, cooldown=min(wanted, left / length))
        made[TWO_STAGES] = lambda: _two_stages(schedule, body, length, at, factor)
    found: dict[str, Schedule] = {}
    refused: dict[str, str] = {}
    for name, make in made.items():
        try:
            found[name] = make()
        except ScheduleError as error:
            refused[name] = str(error)
    return found, refused


def _two_stages(schedule: Schedule, body: WSD, length: int, at: int, factor: float) -> Schedule:
    """Return the plan until its cooldown would have begun, and a lower plateau with a cooldown of the same share.

    Raises:
        ScheduleError: The cooldown has begun.
    """
    begin = round(schedule.zero + (1.0 - body.cooldown) * schedule.length)
    if at > begin:
        raise ScheduleError(f"the cooldown has begun at {begin:,}, before {at:,}; drop no rate now")
    lower = schedule.model_copy(
        update={
            "length": length,
            "peak": schedule.peak * drop_for(factor, body.cooldown),
            "warmup": None,
        }
    )
    return join(schedule, lower, begin, continuous=False)


def _check(factor: float, cooldown: float) -> None:
    if not (factor >= 1.0 and 0.0 < cooldown <= 1.0):
        raise ValueError(
            f"a cooldown of {cooldown:g} of a run {factor:g} times as long is none; "
            "give a factor of at least 1 and a share of at most 1"
        )


def _wsd(factor: float, cooldown: float) -> FloatArray:
    steps = round(factor * BOUND_STEPS)
    left: FloatArray = 1.0 - np.arange(steps) / steps
    return np.minimum(1.0, left / cooldown)


def _best_rate(rates: FloatArray) -> float:
    return convex_bound(rates).best_base_lr


def _root(off: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function crosses zero; an end of the range where it does not."""
    from scipy.optimize import brentq

    if off(low) >= 0.0:
        return low
    if off(high) <= 0.0:
        return high
    return float(brentq(off, low, high, xtol=1e-5))
