"""Figures of the fleet: what is compared with what, and how sure it is."""

import math

import numpy as np
import pytest

from benchmarks.fleet.figures import Entry, clustered, entries, log_loss_at, report_on
from benchmarks.fleet.generator import draw
from benchmarks.fleet.running import Order
from benchmarks.quality.score import Score
from benchmarks.reporting import Report


def score(loss: float, steps: int) -> Score:
    return Score(A=loss, B=loss, lost=False, steps=steps, main_steps=steps, seconds={})


def entry(
    job: int, above: float, *, order: int = 0, number: int = 30, search: float = 0.0
) -> Entry:
    return Entry(order, number, job, search, 0.1, above, above)


def test_the_prior_is_read_at_the_steps_that_search_and_training_took() -> None:
    short, long = score(2.0, 1000), score(1.8, 1150)
    assert math.exp(log_loss_at(1000, short, long)) == pytest.approx(2.0)
    assert math.exp(log_loss_at(1150, short, long)) == pytest.approx(1.8)
    halfway = round(math.sqrt(1000 * 1150))
    assert math.exp(log_loss_at(halfway, short, long)) == pytest.approx(math.sqrt(3.6), rel=1e-3)


def test_a_job_is_compared_with_itself_in_the_other_arms() -> None:
    order = [(1, score(1.1, 110)), (0, score(3.0, 200))]
    off = [score(3.3, 220), score(1.0, 115)]
    prior = [(score(3.6, 200), score(3.5, 230)), (score(1.21, 100), score(1.2, 115))]
    first, second = entries([order], off, prior, [200, 100])
    assert (first.number, first.job, second.number, second.job) == (1, 1, 2, 0)
    assert first.search == pytest.approx(0.1)
    assert first.search_off == pytest.approx(0.15)
    assert first.above_off == pytest.approx(math.log(1.1))
    assert second.search == 0.0
    assert second.above_prior == pytest.approx(math.log(3.0 / 3.6))


def test_orders_of_the_same_jobs_are_no_more_evidence() -> None:
    """Five orders repeat a job: its interval is that of the jobs, not of the runs."""
    generator = np.random.default_rng(3)
    jobs = [entry(job, float(above)) for job, above in enumerate(generator.normal(0.0, 0.1, 20))]
    again = [entry(one.job, one.above_off, order=order) for order in range(1, 5) for one in jobs]
    once, repeated = clustered(jobs, of_entry), clustered([*jobs, *again], of_entry)
    assert repeated == pytest.approx(once)
    assert once[1] < once[0] < once[2]


def of_entry(one: Entry) -> float:
    return one.above_off


@pytest.mark.parametrize(
    ("above", "search", "met"),
    [
        (-0.05, 0.02, [True, True, True]),
        (0.02, 0.02, [True, False, False]),
        (-0.05, 0.04, [False, True, True]),
    ],
)
def test_bars_are_about_settled_jobs_alone(above: float, search: float, met: list[bool]) -> None:
    report = Report("fleet", seeds=[0])
    early = [entry(job, 0.5, number=job + 1, search=0.15) for job in range(19)]
    late = [entry(job, above, number=job + 1, search=search) for job in range(19, 40)]
    report_on(report, [*early, *late], 20)
    assert [row.met for row in report.rows if row.met is not None] == met


def test_the_first_order_is_as_drawn_and_the_others_are_permutations() -> None:
    jobs = draw(1000, 12)
    first, second, third = (Order(jobs, number).places() for number in range(3))
    assert first == list(range(12))
    assert first != second != third
    assert sorted(second) == sorted(third) == first
