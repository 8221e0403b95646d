"""What the arms of the fleet come to: search share and loss by the number of a job, with intervals over jobs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.score import Score
from benchmarks.reporting import Report

DRAWS = 4000
BLOCK = 5
"""Jobs in a row that one line of the curve is of."""

MOST_SEARCH, MOST_WORSE = 0.03, 0.01


@dataclass(frozen=True)
class Entry:
    """A job at its place in an order, with the arms that it is compared with.

    Attributes:
        order: Which order.
        number: Its place in it, from 1 on.
        job: Which job.
        search: Steps of search, as a share of the budget.
        search_off: The same without memory.
        above_off: Log of its loss over that without memory.
        above_prior: Log of its loss over that of the zero-probe prior at as many steps.
    """

    order: int
    number: int
    job: int
    search: float
    search_off: float
    above_off: float
    above_prior: float


def entries(
    orders: Sequence[Sequence[tuple[int, Score]]],
    off: Sequence[Score],
    prior: Sequence[tuple[Score, Score]],
    steps: Sequence[int],
) -> list[Entry]:
    """Return every job of every order.

    Args:
        orders: Jobs with their scores, in the order in which they ran.
        off: Scores without memory, by job.
        prior: Scores of the prior alone at the budget, and at what the cap allows, by job.
        steps: Budgets, by job.
    """
    found = []
    for order, ran in enumerate(orders):
        for number, (job, score) in enumerate(ran, start=1):
            found.append(
                Entry(
                    order=order,
                    number=number,
                    job=job,
                    search=score.steps / steps[job] - 1.0,
                    search_off=off[job].steps / steps[job] - 1.0,
                    above_off=math.log(score.B / off[job].B),
                    above_prior=math.log(score.B) - log_loss_at(score.steps, *prior[job]),
                )
            )
    return found


def log_loss_at(steps: int, short: Score, long: Score) -> float:
    """Return the log loss between two runs of one rate, on a line in the log of the steps."""
    span = math.log(long.steps / short.steps)
    share = math.log(steps / short.steps) / span
    return math.log(short.B) + share * (math.log(long.B) - math.log(short.B))


def report_on(report: Report, found: Sequence[Entry], settled: int) -> None:
    """Add the curve by job number, and the bars from job ``settled`` on."""
    last = max(entry.number for entry in found)
    for first in range(1, last + 1, BLOCK):
        here = [entry for entry in found if first <= entry.number < first + BLOCK]
        words = f"jobs {first} to {min(first + BLOCK - 1, last)}"
        report.row(f"{words}: search", 100.0 * _mean(here, _search), "% of the budget")
        report.row(f"{words}: loss over the prior's", *_interval(here, _above_prior))
        report.row(f"{words}: loss over that without memory", *_interval(here, _above_off))
    late = [entry for entry in found if entry.number >= settled]
    words = f"from job {settled} on"
    search = _mean(late, _search)
    report.row(
        f"{words}: search",
        100.0 * search,
        "% of the budget",
        f"<= {100 * MOST_SEARCH:g}",
        search <= MOST_SEARCH,
    )
    report.row(
        f"{words}: search without memory", 100.0 * _mean(late, _search_off), "% of the budget"
    )
    mean, low, high = clustered(late, _above_off)
    report.row(
        f"{words}: loss over that without memory (95 % from {low:+.2f} to {high:+.2f})",
        mean,
        "%",
        "interval below 0",
        high < 0.0,
    )
    worst = max(late, key=_above_prior)
    report.row(
        f"{words}: worst job over its prior (job {worst.job}, order {worst.order})",
        100.0 * math.expm1(worst.above_prior),
        "%",
        f"<= {100 * MOST_WORSE:g}",
        math.expm1(worst.above_prior) <= MOST_WORSE,
    )
    worse = [math.expm1(entry.above_prior) > MOST_WORSE for entry in late]
    report.row(f"{words}: jobs more than 1 % above their prior", 100.0 * float(np.mean(worse)), "%")


def clustered(
    found: Sequence[Entry], value: Callable[[Entry], float]
) -> tuple[float, float, float]:
    """Return mean and 95 % interval of a log ratio, in per cent; whole jobs are drawn, as orders repeat them."""
    by_job: dict[int, list[float]] = {}
    for entry in found:
        by_job.setdefault(entry.job, []).append(value(entry))
    sums = np.array([(sum(each), len(each)) for each in by_job.values()])
    drawn = np.random.default_rng(0).integers(0, len(sums), (DRAWS, len(sums)))
    totals = sums[drawn].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    mean = sums[:, 0].sum() / sums[:, 1].sum()
    return tuple(100.0 * math.expm1(each) for each in (mean, low, high))  # type: ignore[return-value]


def families(
    found: Sequence[Entry], names: Mapping[int, str]
) -> dict[str, tuple[int, float, float]]:
    """Return count, mean log ratio to the prior and to the arm without memory, by family."""
    grouped: dict[str, list[Entry]] = {}
    for entry in found:
        grouped.setdefault(names[entry.job], []).append(entry)
    return {
        name: (len(each), _mean(each, _above_prior), _mean(each, _above_off))
        for name, each in sorted(grouped.items())
    }


def _interval(found: Sequence[Entry], value: Callable[[Entry], float]) -> tuple[str, str]:
    mean, low, high = clustered(found, value)
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})", "%"


def _mean(found: Sequence[Entry], value: Callable[[Entry], float]) -> float:
    return float(np.mean([value(entry) for entry in found]))


def _search(entry: Entry) -> float:
    return entry.search


def _search_off(entry: Entry) -> float:
    return entry.search_off


def _above_off(entry: Entry) -> float:
    return entry.above_off


def _above_prior(entry: Entry) -> float:
    return entry.above_prior
