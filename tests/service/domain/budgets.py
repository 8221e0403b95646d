"""Jobs whose budget changes, for the tests of it."""

from itertools import count
from typing import Any

from pacesetter.limits import Limits
from pacesetter.protocol import JobSpec, Segment
from pacesetter.schedules import Linear, Schedule
from pacesetter_service.controller import Controller
from pacesetter_service.views import EventView

from tests.service.domain.simulated import SimulatedJob, spec

LINEAR = Schedule(length=100, body=Linear())
ALLOWED = Limits(max_budget=400, allow_shorter_main=True)
HANDLING = ("fixed", "manual")
STARTS = count()


def job_spec(strategy: str = "fixed", **fields: Any) -> JobSpec:
    return spec(strategy=strategy, **{"base": LINEAR, "limits": ALLOWED, **fields})


async def started(
    controller: Controller, strategy: str = "fixed", *, until: int = 40, **fields: Any
) -> SimulatedJob:
    job = await SimulatedJob(controller, job_spec(strategy, **fields)).start()
    await job.run(until=until)
    return job


async def events(controller: Controller, job: str, *types: str) -> list[EventView]:
    return list((await controller.events(job, page_size=1000, types=types)).items)


async def restarted(
    controller: Controller, first: SimulatedJob, position: int, **changes: Any
) -> SimulatedJob:
    """Return a new process of the same run, from a checkpoint at ``position``."""
    again = first.spec.model_copy(update={"nonce": f"start-{next(STARTS)}", **changes})
    job = SimulatedJob(controller, again, position=position)
    if not changes and first.position > 0 and position >= first.position:
        job.total = first.total
    job.rates = {at: rate for at, rate in first.rates.items() if at < position}
    return await job.start()


def led_on(start: int, total: int, peak: float = 1.0) -> dict[int, float]:
    """Return the values of ``LINEAR``, times ``peak``, from ``start`` on, where it is led to another end."""
    level = peak * LINEAR.at(start)
    if total < 100:
        return {at: level * (total - at) / (total - start) for at in range(start, total)}
    # Back to the line over the whole new length, over a hundredth of what remains: one step here.
    return {start: level} | {at: peak * (total - at) / total for at in range(start + 1, total)}


def assert_led(segments: list[Segment], total: int) -> None:
    """Every main segment carries the budget, keeps within it and trains to its end."""
    for each in segments:
        if each.kind == "main":
            assert (each.budget, each.end <= total) == (total, True)
            assert each.policy.end >= total or each.policy.at(total) > 0.0
