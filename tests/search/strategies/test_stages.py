from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.protocol import Budget
from pacesetter.schedules import Schedule, Warmup
from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.autolrs import AutoLRSParameters
from pacesetter_search.strategies.autolrs.range import Range, base_multiplier, search_range
from pacesetter_search.strategies.autolrs.stages import (
    MOST_STAGES,
    layout,
    probe_length,
    shortest_probe,
)

from tests.search.support.simulator import job_facts

DEFAULT = AutoLRSParameters()


def facts(total: int, warmup: int = 0, clock: str = "steps") -> JobFacts:
    base = Schedule(length=total, warmup=Warmup(length=warmup) if warmup else None)
    budget = Budget.model_validate({"clock": clock, "total": total})
    return job_facts(total, base=base, budget=budget)


@pytest.mark.parametrize(
    ("total", "warmup", "lengths"),
    [
        (15_500, 500, [1000, 2000, 4000, 8000]),
        (23_500, 500, [1000, 2000, 4000, 8000, 8000]),
        (27_600, 500, [1000, 2000, 4000, 8000, 8000, 4100]),
        (27_000, 500, [1000, 2000, 4000, 8000, 11500]),
        (7_600, 100, [500, 1000, 2000, 4000]),
        (1_600, 100, [100, 200, 400, 800]),
        (800, 100, [100, 200, 400]),
        (200, 100, [100]),
        (190, 100, []),
    ],
)
def test_stages_of_budgets_in_steps(total: int, warmup: int, lengths: list[int]) -> None:
    assert [stage.length for stage in layout(facts(total, warmup), DEFAULT)] == lengths


def test_stages_of_a_token_budget_are_shares_of_it() -> None:
    stages = layout(facts(2_500_000_000, 100_000_000, "tokens"), DEFAULT)
    assert [stage.length for stage in stages] == [share * 160_000_000 for share in (1, 2, 4, 8)]


def test_the_first_stage_may_be_set() -> None:
    stages = layout(facts(1_600, 100), AutoLRSParameters(first_stage=300))
    assert [stage.length for stage in stages] == [300, 600, 600]


def test_without_a_warm_up_a_hundredth_of_the_budget_comes_first() -> None:
    assert layout(facts(2000), DEFAULT)[0].start == 20


@given(
    total=st.integers(1, 10**13),
    warmup=st.integers(0, 10**6),
    clock=st.sampled_from(["steps", "tokens"]),
)
def test_stages_cover_the_budget_without_gaps(total: int, warmup: int, clock: str) -> None:
    job = facts(total, min(warmup, total - 1), clock)
    stages = layout(job, DEFAULT)
    for stage, following in pairwise(stages):
        assert stage.end == following.start
    assert len(stages) <= MOST_STAGES + 3
    if stages:
        assert stages[-1].end == total
        assert all(probe_length(one, job, DEFAULT) >= 1 for one in stages)
        assert all(stage.length >= 10 * shortest_probe(job, DEFAULT) for stage in stages[:1])


def test_probe_is_a_tenth_of_its_stage_within_the_limits() -> None:
    job = facts(15_500, 500)
    lengths = [probe_length(stage, job, DEFAULT) for stage in layout(job, DEFAULT)]
    assert lengths == [100, 200, 400, 800]
    short = job_facts(15_500, limits={"max_probe_length": 150})
    assert probe_length(layout(job, DEFAULT)[3], short, DEFAULT) == 150


def test_range_is_log_uniform_and_closed() -> None:
    span = Range(0.01, 10.0)
    assert span.multiplier(1 / 3) == pytest.approx(0.1)
    assert (span.multiplier(0.0), span.multiplier(1.0)) == (0.01, 10.0)
    assert span.place(1.0) == pytest.approx(2 / 3)
    assert (span.place(0.0), span.place(1e9)) == (0.0, 1.0)


@given(st.floats(1e-12, 1e12), st.floats(1.05, 1e12), st.floats(-1, 2))
def test_no_rounding_leaves_the_range(lowest: float, ratio: float, x: float) -> None:
    span = Range(lowest, lowest * ratio)
    assert span.lowest <= span.multiplier(x) <= span.highest
    assert 0.0 <= span.place(span.multiplier(x)) <= 1.0


def test_default_limits_end_the_range_at_the_peak_of_the_base() -> None:
    job = job_facts(1000, limits={"max_multiplier": None, "min_multiplier": 0.1})
    assert search_range(job, DEFAULT) == Range(0.1, 1.0)


def test_a_base_in_absolute_rates_is_divided_by_the_first_group() -> None:
    base = Schedule(length=1000, peak=0.3, unit="absolute")
    job = job_facts(1000, base=base, limits={"max_multiplier": None})
    assert base_multiplier(job, 0) == pytest.approx(3.0)
    found = search_range(job, DEFAULT)
    assert found is not None
    assert found.highest == pytest.approx(3.0)
