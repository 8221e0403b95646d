"""The segments that carry out what a person asked for."""

from pacesetter.feedback import AnyFeedback
from pacesetter.protocol import (
    PERSON,
    UNLIMITED,
    JobSpec,
    Measure,
    Reason,
    Segment,
    SegmentPlan,
)
from pacesetter.protocol.segments import DataSource
from pacesetter.schedules import WSD, Linear, Schedule

from pacesetter_service.errors import Refused
from pacesetter_service.overrides.schemas import (
    BranchOff,
    Controls,
    DecayNow,
    SetLearningRate,
    SetMultiplier,
    SetSchedule,
    Steering,
)


def plans_for(
    wish: Steering, spec: JobSpec, start: int, driving: dict[str, Segment | None]
) -> tuple[SegmentPlan, ...]:
    """Return the segments of ``wish``, from the main-line position ``start`` on.

    Args:
        wish: What a person asked for.
        spec: The job.
        start: In the job's clock.
        driving: For each control set the segment that drives it at ``start``; None is the base schedule.

    Raises:
        Refused: No one schedule can do it (``MIXED_POLICIES``).
    """
    if isinstance(wish, DecayNow):
        return _decay(wish, spec, start, driving)
    if isinstance(wish, BranchOff):
        return _branch(wish, spec, start, driving)
    policy, controls = _policy(wish, spec.budget.total)
    return (_main(start, spec.budget.total - start, policy, controls, _sentence(wish)),)


def _policy(
    wish: SetMultiplier | SetLearningRate | SetSchedule, total: int
) -> tuple[Schedule, Controls]:
    match wish:
        case SetMultiplier():
            return Schedule(length=total, peak=wish.multiplier), "all"
        case SetLearningRate():
            return Schedule(length=total, peak=wish.lr, unit="absolute"), wish.controls
        case SetSchedule():
            return wish.schedule, wish.controls


def _sentence(wish: Steering) -> str:
    match wish:
        case SetMultiplier():
            text = f"{wish.by} set the multiplier to {wish.multiplier:g}"
        case SetLearningRate():
            text = f"{wish.by} set the learning rate{_of(wish.controls)} to {wish.lr:g}"
        case SetSchedule():
            text = f"{wish.by} gave a schedule{_of(wish.controls)}: {wish.schedule.describe()}"
        case DecayNow():
            text = f"{wish.by} asked for a decay over {wish.over}"
        case BranchOff():
            text = f"{wish.by} asked for a branch that decays over {wish.over}"
    return f"{text}: {wish.reason}" if wish.reason else text


def _of(controls: Controls) -> str:
    return "" if controls == "all" else f" of {', '.join(controls)}"


def _decay(
    wish: DecayNow, spec: JobSpec, start: int, driving: dict[str, Segment | None]
) -> tuple[SegmentPlan, ...]:
    present = one_policy(spec, driving)
    policy = Schedule(
        zero=start,
        length=wish.over,
        peak=present.at(start),
        floor=wish.floor,
        unit=present.unit,
        body=Linear(),
    )
    text, total = _sentence(wish), spec.budget.total
    if not spec.limits.allow_shorter_main or start + wish.over >= total:
        # The main line goes on to its budget on what the decay ends with.
        return (_main(start, total - start, policy, "all", text),)
    stop = SegmentPlan(
        kind="stop",
        start=start + wish.over,
        length=0,
        policy=policy,
        reason=Reason(text=f"{text}; it ends here"[:2000]),
        origin=PERSON,
    )
    return (_main(start, wish.over, policy, "all", text), stop)


def _branch(
    wish: BranchOff, spec: JobSpec, start: int, driving: dict[str, Segment | None]
) -> tuple[SegmentPlan, ...]:
    present, text, total = one_policy(spec, driving), _sentence(wish), spec.budget.total
    if present.at(start) == 0.0:
        raise Refused(
            f"the rate at {start} is zero: there is nothing to decay",
            code="NOTHING_TO_DECAY",
            hint="branch where the main line still trains",
        )
    decay = Schedule(
        zero=start,
        length=wish.over,
        peak=present.at(start),
        floor=wish.floor,
        unit=present.unit,
        body=WSD(cooldown=1.0, shape=wish.shape),
    )
    branch = SegmentPlan(
        kind="branch",
        when="now",
        start=start,
        length=wish.over,
        policy=decay,
        data=_data(spec, wish.over),
        measure=Measure(validate_at_end=spec.capabilities.validate_),
        reason=Reason(text=text[:2000]),
        origin=PERSON,
    )
    rest = _main(start, total - start, present, "all", f"{text}; the main line goes on as before")
    return branch, rest.model_copy(update={"when": "end", "feedback": feedback_of(driving)})


def feedback_of(driving: dict[str, Segment | None]) -> AnyFeedback | None:
    """Return the feedback rule that multiplies what drives a job, if there is one."""
    rules = (each.feedback for each in driving.values() if each is not None)
    return next((rule for rule in rules if rule is not None), None)


def _data(spec: JobSpec, length: int) -> DataSource:
    """A branch sees the batches that the main line will see, where the job can go back so far."""
    reach = spec.capabilities.rewind_batches
    rewinds = reach == UNLIMITED or (spec.budget.clock == "steps" and length <= reach)
    return "rewind" if rewinds else "continue"


def one_policy(spec: JobSpec, driving: dict[str, Segment | None]) -> Schedule:
    """Return what drives all control sets of a job. Raises Refused (``MIXED_POLICIES``) where they differ."""
    policies = [spec.base if each is None else each.policy for each in driving.values()]
    if any(policy != policies[0] for policy in policies):
        raise Refused(
            f"the control sets {', '.join(sorted(driving))} follow schedules of their own, "
            "and what is asked for has one schedule for all",
            code="MIXED_POLICIES",
            hint="send each set a schedule of its own (kind 'schedule' with controls), or set them all first",
        )
    return policies[0]


def _main(start: int, length: int, policy: Schedule, controls: Controls, text: str) -> SegmentPlan:
    return SegmentPlan(
        kind="main",
        when="now",
        start=start,
        length=length,
        policy=policy,
        controls=controls,
        reason=Reason(text=text[:2000]),
        origin=PERSON,
    )
