"""Schedules worth comparing: every family that is a shape, at one peak and one length."""

from collections.abc import Mapping

import numpy as np
from pacesetter.schedules import (
    REX,
    UBA,
    WSD,
    WSDC,
    WSDS,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Infinite,
    InverseSqrt,
    Linear,
    MiniCPMWSD,
    ModerateDecay,
    OneCycle,
    Polynomial,
    Power,
    Rewarm,
    Schedule,
    Step,
    Triangular,
    Warmup,
)
from pacesetter.schedules.families import AnyFamily
from pacesetter.schedules.horizon import branch_decay

from pacesetter_search.laws.base import FittedLaw
from pacesetter_search.laws.choice.ranking import Ranking, rank_under
from pacesetter_search.laws.curves import FloatArray

LEFT_OUT: Mapping[str, str] = {
    "joined": "it is made of others: the tails of power 1.5 are",
    "noam": "it is inverse_sqrt with a peak of its own",
    "refined": "it needs measured gradient norms",
    "table": "it has no shape of its own: optimise_free makes one",
}
"""Families that are no candidates by themselves, and why."""

SHARES = (0.1, 0.2, 0.4, 0.6, 0.8)
"""Cooldowns of WSD: the best grew from .1 to .8 with the peak on 124M runs."""

PUBLISHED_TAIL = 1.5
"""Power of the tail that the Multi-Power Law asks for: 1.48 to 1.53 in its authors' optimised schedules."""

FLOOR = 0.1
"""Of the cosine that many recipes have."""

TENTH_IN_HALF_LIVES = float(np.log2(10.0))
"""Half-lives in which MiniCPM's decay comes down to a tenth, as published (5000 steps of 16,610)."""

TOKENS = 4096
TOP = 1e-6
"""Batch and top of the power law, whose shape depends on neither where the knee is set."""


def usual_schedules(steps: int, warmup: int = 0) -> dict[str, Schedule]:
    """Return what is worth comparing at a length: decays that need no more than that, at a relative peak of 1.

    Raises:
        ValueError: The warm-up leaves nothing of the length.
    """
    shapes: dict[str, AnyFamily] = {
        "linear": Linear(),
        "cosine": Cosine(),
        "rex": REX(),
        "uba 0.5": UBA(phi=0.5),
        "uba 1": UBA(phi=1.0),
        **_wsd(steps, warmup),
    }
    rise = _rise(warmup)
    return {name: Schedule(length=steps, warmup=rise, body=body) for name, body in shapes.items()}


def zoo(steps: int, base_lr: float, warmup: int = 0) -> dict[str, Schedule]:
    """Return every family at its default or typical parameters, by a name that says them.

    The peak is 1, and ``base_lr`` for families that are laws in learning rates. A tail that would begin inside the
    warm-up is left out. :data:`LEFT_OUT` says which families are none of it.

    Raises:
        ValueError: The warm-up leaves nothing of the length.
    """
    rise = _rise(warmup)
    found = usual_schedules(steps, warmup)
    found["cosine to 0.1"] = Schedule(length=steps, warmup=rise, body=Cosine(), floor=FLOOR)
    for name, body in _bodies(steps, warmup).items():
        found[name] = Schedule(length=steps, warmup=rise, body=body)
    for name, body in (("one cycle", OneCycle()), ("rewarm", Rewarm())):
        found[name] = Schedule(length=steps, body=body)  # they rise by themselves
    for share in (0.1, 0.4):
        if fits(share, steps, warmup):
            name = f"wsd power {PUBLISHED_TAIL:g} {share:g}"
            found[name] = held_then(Polynomial(power=PUBLISHED_TAIL), share, steps, warmup)
    found["power"] = power_law(steps, base_lr, warmup)
    return found


def rank_zoo(
    law: FittedLaw, steps: int, base_lr: float, warmup: int = 0, *, reference: str = "linear"
) -> Ranking:
    """Return every family at one peak in the order of its final loss under a law.

    Args:
        law: In steps of the job.
        steps: Length of the runs.
        base_lr: Peak, in the unit of the fitted curves.
        warmup: Steps of the rise.
        reference: The candidate that gains are measured against.

    Raises:
        ValueError: The warm-up leaves nothing of the length, or ``reference`` is no name of the zoo.
    """
    rates = {
        name: learning_rates(schedule, base_lr)
        for name, schedule in zoo(steps, base_lr, warmup).items()
    }
    return rank_under(law, rates, reference=reference)


def learning_rates(schedule: Schedule, base_lr: float, stride: int = 1) -> FloatArray:
    """Return the learning rates of a schedule that counts in steps, (ceil(steps / stride),).

    Args:
        schedule: In steps.
        base_lr: Of what its multipliers are; ignored where it is in learning rates itself.
        stride: Steps that one rate stands for: the rate in the middle of them.
    """
    places = np.arange(0, schedule.length, stride, dtype=np.float64) + 0.5 * (stride - 1)
    values = schedule.over(schedule.zero + np.minimum(places, schedule.length - 1))
    rates: FloatArray = values if schedule.unit == "absolute" else values * base_lr
    return rates


def held_then(tail: AnyFamily, share: float, steps: int, warmup: int) -> Schedule:
    """Return a plateau, and ``tail`` over the last ``share`` of the steps."""
    length = max(1, round(share * steps))
    trunk = Schedule(length=steps, warmup=_rise(warmup), body=Constant())
    if steps - length <= warmup:
        return Schedule(length=steps, warmup=_rise(warmup), body=tail)
    return branch_decay(trunk, steps - length, length, tail)


def power_law(steps: int, base_lr: float, warmup: int, decay: float = 0.1) -> Schedule:
    """Return the power law with its top at ``base_lr``, which it leaves where the warm-up ends.

    As published it is below its top from about there on; without a warm-up the knee is at a hundredth of the run.
    """
    knee = max(warmup, steps // 100, 1)
    body = Power(
        batch_tokens=TOKENS,
        clock="steps",
        a=TOP * float(knee * TOKENS) ** 0.51,
        b=-0.51,
        max_lr=TOP,
        decay=decay,
    )
    rise = Warmup(length=warmup, start=0.0) if warmup else None
    return Schedule(length=steps, peak=base_lr, unit="absolute", warmup=rise, body=body)


def fits(share: float, steps: int, warmup: int) -> bool:
    """Return whether a tail over the last ``share`` of the steps begins after the warm-up."""
    return share * steps <= steps - warmup


def _rise(warmup: int) -> Warmup | None:
    return Warmup(length=warmup) if warmup else None


def _wsd(steps: int, warmup: int) -> dict[str, AnyFamily]:
    tails: dict[str, AnyFamily] = {
        f"wsd linear {share:g}": WSD(cooldown=share)
        for share in SHARES
        if fits(share, steps, warmup)
    }
    if fits(0.2, steps, warmup):
        tails["wsd sqrt 0.2"] = WSD(cooldown=0.2, shape="sqrt")
    return tails


def _bodies(steps: int, warmup: int) -> dict[str, AnyFamily]:
    """Return the families that follow a warm-up and are not among the usual ones."""
    bodies: dict[str, AnyFamily] = {
        "constant": Constant(),
        "polynomial 1.5": Polynomial(power=PUBLISHED_TAIL),
        "polynomial 2": Polynomial(power=2.0),
        "rex 0.9": REX(d=0.9),
        "exponential": Exponential(),
        "inverse sqrt": InverseSqrt(timescale=max(warmup, steps // 100, 1)),
        "cosine restarts": CosineRestarts(),
        "triangular": Triangular(),
    }
    tails: dict[str, tuple[float, AnyFamily]] = {
        "wsd mirror cosine 0.4": (0.4, WSD(cooldown=0.4, shape="mirror_cosine")),
        "wsd sqrt 0.4": (0.4, WSD(cooldown=0.4, shape="sqrt")),
        "wsd exponential 0.2": (0.2, WSD(cooldown=0.2, shape="exponential", end=0.01)),
        "wsdc": (0.2, WSDC()),
        "minicpm wsd": (
            0.1,
            MiniCPMWSD(half_life=max(1, round(0.1 * steps / TENTH_IN_HALF_LIVES))),
        ),
        "moderate decay": (0.2, ModerateDecay()),
        "step 8-1-1": (0.2, Step()),
        "infinite": (0.75, Infinite()),
        # At its default, a tenth of a last cycle of half the run, the tail is too short to be looked at.
        "wsd-s 0.2": (0.8, WSDS(decay=0.2)),
    }
    kept = {name: body for name, (share, body) in tails.items() if fits(share, steps, warmup)}
    return {**bodies, **kept}
