"""Families of schedules by what a target may ask of them."""

from pacesetter.schedules import FAMILIES, Schedule, Warmup
from pacesetter.schedules.base import Extent
from pacesetter.schedules.families import AnyFamily
from pydantic import TypeAdapter, ValidationError

HORIZON_BOUND = frozenset(
    {
        *("cosine", "cosine_restarts", "exponential", "linear", "one_cycle", "polynomial"),
        *("refined", "rewarm", "rex", "step", "table", "triangular", "uba"),
    }
)
"""Families that feel their end from the start: they cannot be made longer as if that had been the plan."""

WARMS_UP_ITSELF = frozenset({"one_cycle", "rewarm"})
"""Families that rise by themselves and take no warm-up."""

_BODY: TypeAdapter[AnyFamily] = TypeAdapter(AnyFamily)


def by_name(family: str, batch: float = 1.0) -> AnyFamily:
    """Return a family with its own defaults.

    Args:
        family: Its name.
        batch: Tokens of a step, for the law that counts them.

    Raises:
        ValueError: There is no such family, or it has no defaults.
    """
    if family not in FAMILIES:
        raise ValueError(f"{family!r} is no family; families are {', '.join(FAMILIES)}")
    document: dict[str, object] = {"family": family}
    if family == "power":
        document |= {"batch_tokens": max(1, round(batch)), "clock": "steps"}
    try:
        return _BODY.validate_python(document)
    except ValidationError as error:
        missing = ", ".join(str(one["loc"][-1]) for one in error.errors())
        raise ValueError(
            f'{family} has no defaults for {missing}: give it as {{"family": "{family}", ...}} with these'
        ) from None


def laid_over(body: AnyFamily, steps: int, warmup: int, floor: float) -> Schedule:
    """Return a family's schedule over ``steps``; a law in learning rates stands at its published peak.

    Raises:
        ValueError: It does not fit.
    """
    rise = Warmup(length=warmup) if warmup and body.family not in WARMS_UP_ITSELF else None
    extent = Extent(steps, rise.length if rise else 0)
    if extent.body < 1:
        raise ValueError(f"a warm-up of {warmup} leaves nothing of {steps} steps")
    body.check_extent(extent)
    peak = body.published_peak(extent)
    if peak is None:
        return Schedule(length=steps, warmup=rise, floor=floor, body=body)
    return Schedule(length=steps, peak=peak, floor=floor, unit="absolute", warmup=rise, body=body)
