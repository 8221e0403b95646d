"""Why a job cannot look for its peak by probes of its own."""

from collections.abc import Iterator

from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies import probing
from pacesetter_search.strategies.zero_tuning import range_test
from pacesetter_search.strategies.zero_tuning.knowledge import bounds
from pacesetter_search.strategies.zero_tuning.prior import SHORTEST_BUDGET


def obstacles(job: JobFacts) -> Iterator[str]:
    """Yield why ``job`` cannot look by itself, one sentence each."""
    limits, budget = job.limits, job.budget
    yield from probing.obstacles(job)
    if budget.clock == "steps" and budget.total < SHORTEST_BUDGET:
        yield f"a budget of {budget.total} steps is too short for it; it takes {SHORTEST_BUDGET} or more"
    if limits.max_probe_length is not None and budget.clock == "steps":
        allowed, shortest = limits.max_probe_length, range_test.SHORTEST
        if allowed < shortest:
            yield f"its shortest probe is {shortest} steps, and max_probe_length is {allowed}"
    yield from no_rate(job)


def no_rate(job: JobFacts) -> Iterator[str]:
    """Yield why the main line of ``job`` has no rate to choose, if it has none."""
    if bounds(job, "main").highest <= bounds(job, "main").lowest:
        yield "the limits leave no learning rate to choose; raise max_multiplier or lower min_multiplier"
