"""Rules about the values of a policy: finite, within bounds, and without jumps."""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pacesetter.judgement.case import Case, Refusal
from pacesetter.limits import TRUSTED_ABOVE_PEAK, Limits
from pacesetter.protocol import Kind
from pacesetter.schedules import FloatArray, Schedule

_Mask: TypeAlias = npt.NDArray[np.bool_]

EXACT_STEPS = 200_000
"""Up to so many steps each one is judged; beyond, as many on a grid, with every breakpoint of the policy."""

NEGLIGIBLE = 0.05
"""Share of the base peak below which changes are not judged: a multiplier below it counts as if it stood there.

A ratio means nothing on the way to zero: a linear decay over n steps ends in 2/1 and 1/0 however large n is. With this
floor it passes any ``max_change_per_step`` of 1 + 20/n or more.
"""

ROUNDING = 1e-9
"""Relative slack of every comparison, for multipliers that went through a division by a base learning rate."""


def highest_multiplier(
    limits: Limits, base_schedule: Schedule, *, kind: Kind, origin: str, base_lr: float = 1.0
) -> float:
    """Return the largest multiplier that a segment of ``kind`` from ``origin`` may use; infinity if there is no bound.

    Args:
        limits: What the training code allows.
        base_schedule: The job's base schedule, whose peak is the bound where none is set.
        kind: The segment's kind; a probe may have a bound of its own.
        origin: Who decided the segment.
        base_lr: Base learning rate of the group; used only where the base schedule is in absolute learning rates.
    """
    if kind == "probe" and limits.probe_max_multiplier is not None:
        return limits.probe_max_multiplier
    if limits.max_multiplier is not None:
        return limits.max_multiplier
    if origin in TRUSTED_ABOVE_PEAK:
        return math.inf
    return base_schedule.peak / (base_lr if base_schedule.unit == "absolute" else 1.0)


def within_bounds(case: Case) -> Refusal | None:
    """Refuse values that are not finite, not within the limits, or too far from one step to the next."""
    if case.plan.kind == "stop":
        return None
    positions = _positions(case)
    values = case.plan.policy.over(positions)
    bad = ~(np.isfinite(values) & (values >= 0.0))
    if bad.any():
        where = int(np.argmax(bad))
        return Refusal(
            "NOT_FINITE",
            f"its policy is {values[where]:g} at {positions[where]:.0f}; a learning rate is finite and not negative",
        )
    for base_lr in _base_lrs(case):
        refusal = _judge(case, positions, values / case.policy_divisor(base_lr), base_lr)
        if refusal is not None:
            return refusal
    return _jump(case)


def _base_lrs(case: Case) -> tuple[float, ...]:
    """Return the base learning rates to judge with; the extremes stand for all, as every rule is monotone in them."""
    driven = [group.base_lr for group in case.groups if case.drives(group)]
    if not driven:
        return (1.0,)
    return tuple(sorted({min(driven), max(driven)}))


def _positions(case: Case) -> FloatArray:
    """Return the positions to judge: every step where they are few, else a grid with all breakpoints."""
    first, last = float(case.first), case.last
    steps = round((last - first) / case.step) + 1
    if steps <= EXACT_STEPS:
        return first + case.step * np.arange(steps, dtype=np.float64)
    marks = np.array(case.plan.policy.breakpoints() + case.base.breakpoints())
    around = np.concatenate([marks - case.step, marks, marks + case.step])
    inside = around[(around >= first) & (around <= last)]
    return np.union1d(np.linspace(first, last, EXACT_STEPS), inside)


def _judge(
    case: Case, positions: FloatArray, multipliers: FloatArray, base_lr: float
) -> Refusal | None:
    plan = case.plan
    highest = highest_multiplier(
        case.limits, case.base, kind=plan.kind, origin=plan.origin, base_lr=base_lr
    )
    top, feedback = int(np.argmax(multipliers)), plan.feedback
    # A rule that runs on the client is judged by the bounds that it states, as if it stood there all the time.
    reached = multipliers[top] * (feedback.highest if feedback is not None else 1.0)
    if reached > highest * (1.0 + ROUNDING):
        return Refusal(
            "ABOVE_LIMIT", f"multiplier {reached:g} at {positions[top]:.0f} is above {highest:g}"
        )
    if plan.kind != "main":
        return None
    exempt = _in_warmup(case, positions, multipliers, base_lr)
    judged = np.where(exempt, np.inf, multipliers)
    low = int(np.argmin(judged))
    reached = judged[low] * (feedback.lowest if feedback is not None else 1.0)
    if reached < case.limits.min_multiplier * (1.0 - ROUNDING):
        return Refusal(
            "BELOW_LIMIT",
            f"multiplier {reached:g} at {positions[low]:.0f} is below {case.limits.min_multiplier:g}",
        )
    return _changes(case, positions, multipliers, exempt, base_lr)


def _in_warmup(case: Case, positions: FloatArray, multipliers: FloatArray, base_lr: float) -> _Mask:
    """Return where the policy is the warm-up of the base schedule itself."""
    if case.base.warmup is None:
        return np.zeros_like(positions, dtype=np.bool_)
    base = case.base.over(positions) / case.base_divisor(base_lr)
    same: _Mask = np.isclose(multipliers, base, rtol=ROUNDING, atol=0.0)
    return same & (positions <= case.base.zero + case.base.extent.warmup)


def _changes(
    case: Case, positions: FloatArray, multipliers: FloatArray, exempt: _Mask, base_lr: float
) -> Refusal | None:
    """Judge the ratio of every step to the next one."""
    largest = case.limits.max_change_per_step
    if largest is None:
        return None
    following = np.minimum(positions + case.step, case.last)
    after = case.plan.policy.over(following) / case.policy_divisor(base_lr)
    ratios = _ratio(multipliers, after, NEGLIGIBLE * case.base_peak(base_lr))
    ratios[exempt & _in_warmup(case, following, after, base_lr)] = 1.0
    feedback = case.plan.feedback
    if feedback is not None:
        ratios *= feedback.max_change_per_step
    worst = int(np.argmax(ratios))
    if ratios[worst] > largest * (1.0 + ROUNDING):
        return _too_fast(multipliers[worst], after[worst], positions[worst], largest)
    return None


def _jump(case: Case) -> Refusal | None:
    """Judge the change from what runs now to the first step of a main segment, for every group that it drives."""
    largest = case.limits.max_change_per_step
    if largest is None or case.current is None or case.plan.kind != "main" or case.first == 0:
        return None
    value = case.plan.policy.at(case.first)
    if case.plan.feedback is not None:
        value *= case.plan.feedback.start
    positions = np.array([case.first - case.step, float(case.first)])
    for index, current in enumerate(case.current):
        group = case.groups[index] if case.groups else None
        if group is not None and not case.drives(group):
            continue
        base_lr = group.base_lr if group is not None else 1.0
        pair = np.array([current, value / case.policy_divisor(base_lr)])
        ratio = _ratio(pair[:1], pair[1:], NEGLIGIBLE * case.base_peak(base_lr))[0]
        within = ratio <= largest * (1.0 + ROUNDING)
        if not within and not _in_warmup(case, positions, pair, base_lr).all():
            return _too_fast(pair[0], pair[1], positions[0], largest)
    return None


def _ratio(before: FloatArray, after: FloatArray, negligible: float) -> FloatArray:
    """Return how many times two multipliers are apart, 1 or more, up or down alike."""
    floor = max(negligible, float(np.finfo(np.float64).tiny))
    one, other = np.maximum(before, floor), np.maximum(after, floor)
    ratio: FloatArray = np.maximum(one / other, other / one)
    return ratio


def _too_fast(before: float, after: float, position: float, largest: float) -> Refusal:
    return Refusal(
        "CHANGE_TOO_FAST",
        f"the multiplier goes from {before:g} to {after:g} in the step after {position:.0f}, by more than "
        f"max_change_per_step {largest:g}; ramp it",
    )
