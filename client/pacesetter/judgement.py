"""Judges a segment against what the training code allows and what the job can do: refuse, never clamp.

The client judges every segment when it arrives, whoever sent it, and the service may judge with the same function
before it sends one. A main segment is judged over its whole policy, from its start to the end of the budget: that is
what the job follows if nobody says anything more.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pacesetter.limits import TRUSTED_ABOVE_PEAK, Limits
from pacesetter.protocol import (
    CURRENT,
    INITIAL,
    Capabilities,
    Clock,
    Kind,
    ParameterGroup,
    SegmentPlan,
)
from pacesetter.schedules import FloatArray, Schedule

EXACT_STEPS = 200_000
"""Up to so many steps each one is judged; beyond, as many on a grid, with every breakpoint of the policy."""

NEGLIGIBLE = 0.05
"""Share of the base peak below which changes are not judged: a multiplier below it counts as if it stood there.

A ratio means nothing on the way to zero: a linear decay over n steps ends in 2/1 and 1/0 however large n is. With this
floor it passes any ``max_change_per_step`` of 1 + 20/n or more.
"""

ROUNDING = 1e-9
"""Relative slack of every comparison, for multipliers that went through a division by a base learning rate."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a segment is refused: a stable word and a sentence that says what would be accepted."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Case:
    """What every rule looks at."""

    plan: SegmentPlan
    limits: Limits
    current: tuple[float, ...] | None
    first: int
    budget_total: int
    clock: Clock
    base: Schedule
    capabilities: Capabilities
    groups: tuple[ParameterGroup, ...]
    step: float

    @property
    def judged_to(self) -> int:
        """End of what is judged, exclusive: the budget for a main segment, else the segment's own end."""
        return self.budget_total if self.plan.kind == "main" else self.plan.end


_Rule = Callable[[_Case], Refusal | None]


def check_segment(
    segment: SegmentPlan,
    limits: Limits,
    *,
    current_multiplier: float | Sequence[float] | None,
    budget_total: int,
    clock: Clock,
    base_schedule: Schedule,
    capabilities: Capabilities,
    groups: Sequence[ParameterGroup] = (),
    position: int | None = None,
    units_per_step: float = 1.0,
) -> Refusal | None:
    """Return why ``segment`` must be refused, or None if it may run.

    Args:
        segment: The segment, numbered or not.
        limits: What the training code allows.
        current_multiplier: Multiplier of the last main-line step before the segment takes over (one for all groups, or
            one per group in the order of ``groups``); None where there is none, and then no jump is judged.
        budget_total: End of the main line, in the job's clock.
        clock: The job's clock.
        base_schedule: The job's base schedule; its warm-up is exempt from ``min_multiplier`` and
            ``max_change_per_step`` wherever the policy repeats it.
        capabilities: What the job can do.
        groups: The job's parameter groups. Their base learning rates divide a policy in absolute learning rates.
        position: Main-line position at which it would be taken up, where that is later than its start.
        units_per_step: Clock units of one optimizer step: 1 in steps; in tokens the largest recent step.
    """
    case = _Case(
        plan=segment,
        limits=limits,
        current=_per_group(current_multiplier, len(groups)),
        first=segment.start if position is None else max(segment.start, position),
        budget_total=budget_total,
        clock=clock,
        base=base_schedule,
        capabilities=capabilities,
        groups=tuple(groups),
        step=units_per_step,
    )
    return next(filter(None, (rule(case) for rule in _RULES)), None)


def highest_multiplier(
    limits: Limits, base_schedule: Schedule, *, kind: Kind, origin: str, base_lr: float = 1.0
) -> float:
    """Return the largest multiplier that a segment of ``kind`` from ``origin`` may use; infinity if there is no bound.

    Args:
        limits: What the training code allows.
        base_schedule: The job's base schedule, whose peak is the bound where none is set.
        kind: The segment's kind; a probe may have a bound of its own.
        origin: Who decided the segment.
        base_lr: Base learning rate of the group, used only where the base schedule is in absolute learning rates.
    """
    if kind == "probe" and limits.probe_max_multiplier is not None:
        return limits.probe_max_multiplier
    if limits.max_multiplier is not None:
        return limits.max_multiplier
    return math.inf if origin in TRUSTED_ABOVE_PEAK else _base_peak(base_schedule, base_lr)


def _base_peak(base: Schedule, base_lr: float) -> float:
    return base.peak if base.unit == "relative" else base.peak / base_lr


def _per_group(multiplier: float | Sequence[float] | None, groups: int) -> tuple[float, ...] | None:
    if multiplier is None:
        return None
    if isinstance(multiplier, Sequence):
        return tuple(multiplier)
    return (float(multiplier),) * max(groups, 1)


def _known(case: _Case) -> Refusal | None:
    plan, families = case.plan, case.capabilities.families
    if families and plan.policy.body.family not in families:
        return Refusal(
            "UNKNOWN_POLICY",
            f"this client cannot evaluate {plan.policy.body.family!r}; it knows {', '.join(families)}",
        )
    controls = {group.control for group in case.groups}
    unknown = [] if plan.controls == "all" else sorted(set(plan.controls) - controls)
    if case.groups and unknown:
        return Refusal(
            "UNKNOWN_CONTROL",
            f"no parameter group belongs to {unknown}; the job has {sorted(controls)}",
        )
    for name in (plan.save_as, plan.save_end_as):
        if name in (CURRENT, INITIAL):
            return Refusal(
                "RESERVED_NAME", f"the name {name!r} is the job's own; save under another one"
            )
    return None


def _able(case: _Case) -> Refusal | None:
    plan, capabilities = case.plan, case.capabilities
    leaves_main = plan.kind in ("probe", "branch") or plan.source != CURRENT
    saves = plan.save_as or plan.save_end_as or plan.save_every
    if (leaves_main or saves) and capabilities.rollback == "none":
        return Refusal(
            "NO_ROLLBACK",
            f"a {plan.kind} segment from {plan.source!r} needs checkpoints, and the job registered rollback 'none'; "
            "send main segments from 'current' that save nothing",
        )
    if plan.data == "rewind" and capabilities.rewind_batches == 0:
        return Refusal(
            "NO_REWIND",
            "the job cannot rewind its data; send data 'continue', or give it a loader with a state_dict",
        )
    if plan.measure.validate_at_end and not capabilities.validate_:
        return Refusal(
            "NO_VALIDATION",
            "the job has no validate function; measure the training loss, or pass validate= to attach",
        )
    return None


def _allowed(case: _Case) -> Refusal | None:
    plan, limits = case.plan, case.limits
    if plan.kind == "probe" and not limits.allow_probes:
        return Refusal("PROBE_NOT_ALLOWED", "the training code set allow_probes=False")
    if (
        plan.kind == "probe"
        and limits.max_probe_length is not None
        and plan.length > limits.max_probe_length
    ):
        return Refusal(
            "PROBE_TOO_LONG",
            f"a probe of {plan.length} {case.clock} exceeds max_probe_length {limits.max_probe_length}",
        )
    if plan.kind == "main" and plan.source != CURRENT and not limits.allow_rollback:
        return Refusal(
            "ROLLBACK_NOT_ALLOWED",
            f"a main segment from {plan.source!r} is a rollback, and the training code set allow_rollback=False",
        )
    return None


def _whole_budget(case: _Case) -> Refusal | None:
    """The main line is exactly the budget: neither longer nor, unless allowed, shorter."""
    plan = case.plan
    if plan.kind == "main" and plan.end > case.budget_total:
        return Refusal(
            "BEYOND_BUDGET",
            f"it would end at {plan.end}, beyond the budget of {case.budget_total} {case.clock}",
        )
    if case.limits.allow_shorter_main:
        return None
    if plan.kind == "stop" and plan.start < case.budget_total:
        return Refusal(
            "SHORTER_MAIN",
            f"it would stop at {plan.start} of {case.budget_total} {case.clock}; set allow_shorter_main to accept that",
        )
    policy = plan.policy
    idle = case.budget_total - policy.end
    # A schedule that ends at zero on the very last step is the habit of some trainers, and costs one step.
    if plan.kind == "main" and idle > case.step and policy.at(policy.end) == 0.0:
        return Refusal(
            "SHORTER_MAIN",
            f"its policy is zero from {policy.end} on, so the last {idle} {case.clock} would train nothing; "
            "let it end with the budget, or set allow_shorter_main",
        )
    return None


def _within_bounds(case: _Case) -> Refusal | None:
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
    judged = (_bounds(case, positions, values / scale, scale) for scale in _scales(case))
    return next(filter(None, judged), None)


def _scales(case: _Case) -> tuple[float, ...]:
    """Divisors from policy values to multipliers; of all groups the extremes suffice, as the rules are monotone."""
    if case.plan.policy.unit == "relative" or not case.groups:
        return (1.0,)
    base_lrs = [group.base_lr for group in _driven(case)]
    return tuple({min(base_lrs), max(base_lrs)})


def _driven(case: _Case) -> Iterable[ParameterGroup]:
    controls = case.plan.controls
    return [group for group in case.groups if controls == "all" or group.control in controls]


def _positions(case: _Case) -> FloatArray:
    """Return the positions to judge: every step where they are few, else a grid with all breakpoints."""
    first, last = float(case.first), max(float(case.first), case.judged_to - case.step)
    steps = int((last - first) // case.step) + 1
    if steps <= EXACT_STEPS:
        return first + case.step * np.arange(steps, dtype=np.float64)
    marks = np.array(case.plan.policy.breakpoints() + case.base.breakpoints())
    around = np.concatenate([marks - case.step, marks, marks + case.step])
    inside = around[(around >= first) & (around <= last)]
    return np.union1d(np.linspace(first, last, EXACT_STEPS), inside)


def _bounds(
    case: _Case, positions: FloatArray, multipliers: FloatArray, scale: float
) -> Refusal | None:
    plan = case.plan
    base_lr = scale if plan.policy.unit == "absolute" else 1.0
    highest = highest_multiplier(
        case.limits, case.base, kind=plan.kind, origin=plan.origin, base_lr=base_lr
    )
    top = int(np.argmax(multipliers))
    if multipliers[top] > highest * (1.0 + ROUNDING):
        return Refusal(
            "ABOVE_LIMIT",
            f"multiplier {multipliers[top]:g} at {positions[top]:.0f} is above {highest:g}",
        )
    if plan.kind != "main":
        return None
    exempt = _repeats_warmup(case, positions, multipliers, base_lr)
    judged = np.where(exempt, np.inf, multipliers)
    low = int(np.argmin(judged))
    if judged[low] < case.limits.min_multiplier * (1.0 - ROUNDING):
        return Refusal(
            "BELOW_LIMIT",
            f"multiplier {judged[low]:g} at {positions[low]:.0f} is below {case.limits.min_multiplier:g}",
        )
    return _changes(case, positions, multipliers, base_lr)


def _repeats_warmup(
    case: _Case, positions: FloatArray, multipliers: FloatArray, base_lr: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return where the policy is the warm-up of the base schedule itself."""
    end = case.base.zero + case.base.extent.warmup
    divisor = base_lr if case.base.unit == "absolute" else 1.0
    base = case.base.over(positions) / divisor
    same: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = np.isclose(
        multipliers, base, rtol=ROUNDING, atol=0.0
    )
    return same & (positions <= end) & (case.base.warmup is not None)


def _changes(
    case: _Case, positions: FloatArray, multipliers: FloatArray, base_lr: float
) -> Refusal | None:
    """Judge the ratio of every step to the next, and of the running multiplier to the first."""
    largest = case.limits.max_change_per_step
    if largest is None:
        return None
    negligible = NEGLIGIBLE * _base_peak(case.base, base_lr)
    following = np.minimum(positions + case.step, max(case.judged_to - case.step, positions[-1]))
    divisor = base_lr if case.plan.policy.unit == "absolute" else 1.0
    after = case.plan.policy.over(following) / divisor
    exempt = _repeats_warmup(case, positions, multipliers, base_lr) & _repeats_warmup(
        case, following, after, base_lr
    )
    ratios = np.where(exempt, 1.0, _ratio(multipliers, after, negligible))
    worst = int(np.argmax(ratios))
    if ratios[worst] > largest * (1.0 + ROUNDING):
        return _too_fast(multipliers[worst], after[worst], positions[worst], largest)
    return _jump(case, largest)


def _jump(case: _Case, largest: float) -> Refusal | None:
    """Judge the jump at the segment's start, for every group that it drives."""
    if case.current is None or case.first == 0:
        return None
    absolute = case.plan.policy.unit == "absolute"
    value = case.plan.policy.at(case.first)
    for index, current in enumerate(case.current):
        base_lr = case.groups[index].base_lr if case.groups else 1.0
        first = value / base_lr if absolute else value
        before, start = np.array([current]), np.array([first])
        if bool(_ratio(before, start, NEGLIGIBLE * _base_peak(case.base, base_lr))[0] <= largest):
            continue
        inside_warmup = _repeats_warmup(
            case, np.array([case.first - case.step]), before, base_lr
        ) & _repeats_warmup(case, np.array([float(case.first)]), start, base_lr)
        if not inside_warmup[0]:
            return _too_fast(current, first, case.first, largest)
    return None


def _ratio(before: FloatArray, after: FloatArray, negligible: float) -> FloatArray:
    """Return how far two multipliers are apart, 1 or more, up or down alike."""
    floor = max(negligible, np.finfo(np.float64).tiny)
    one, other = np.maximum(before, floor), np.maximum(after, floor)
    return np.maximum(one / other, other / one)


def _too_fast(before: float, after: float, position: float, largest: float) -> Refusal:
    return Refusal(
        "CHANGE_TOO_FAST",
        f"the multiplier goes from {before:g} to {after:g} in one step at {position:.0f}, more than "
        f"max_change_per_step {largest:g}; ramp it",
    )


_RULES: tuple[_Rule, ...] = (_known, _able, _allowed, _whole_budget, _within_bounds)
