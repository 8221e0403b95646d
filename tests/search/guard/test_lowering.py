"""Policies times a factor: exact where one factor holds everywhere, close where it changes."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Cosine, Linear, Schedule, Step, Warmup
from pacesetter_search.guard.lowering import dipped, lowered

TOTAL = 10_000
POINTS = ((2000.0, 0.5), (3000.0, 0.5), (4000.0, 1.0))
SCHEDULES = [
    Schedule(length=TOTAL, body=Cosine()),
    Schedule(length=TOTAL, body=Linear(), warmup=Warmup(length=3500)),
    Schedule(length=TOTAL, body=WSD(cooldown=0.3)),
    Schedule(length=TOTAL, body=Step(milestones=(0.25, 0.6), factors=(0.3, 0.1))),
    Schedule(length=TOTAL, peak=3e-4, unit="absolute", body=Cosine()),
]


@pytest.mark.parametrize("policy", SCHEDULES, ids=lambda each: each.body.family)
def test_a_dip_is_the_policy_times_its_factors(policy: Schedule) -> None:
    positions = np.arange(2000, TOTAL, dtype=np.float64)
    places, factors = zip(*POINTS, strict=True)
    expected = policy.over(positions) * np.interp(positions, places, factors)
    dip = dipped(policy, POINTS, 2000, TOTAL)
    assert np.max(np.abs(dip.over(positions) - expected)) <= 1e-4 * policy.peak
    assert (dip.unit, dip.end) == (policy.unit, TOTAL)


@pytest.mark.parametrize("policy", SCHEDULES, ids=lambda each: each.body.family)
def test_a_cut_is_exact(policy: Schedule) -> None:
    positions = np.arange(0, TOTAL, 7, dtype=np.float64)
    assert lowered(policy, 0.5).over(positions).tolist() == (0.5 * policy.over(positions)).tolist()
    assert lowered(policy, 1.0) is policy


def test_nothing_is_left_to_dip_in_the_last_step() -> None:
    policy = SCHEDULES[0]
    assert dipped(policy, POINTS, TOTAL - 1, TOTAL) is policy
