"""What rungs say by themselves: right where they see the bottom, wide or nothing where they do not."""

import math

import pytest
from pacesetter.schedules import Linear, Schedule
from pacesetter_search.strategies.zero_tuning import shapes
from pacesetter_search.strategies.zero_tuning.evidence import Rung
from pacesetter_search.strategies.zero_tuning.finding import SAYS_SOMETHING, found_peaks

BEST = -8.0
SHIFT = shapes.octaves_from_rungs(Schedule(length=1000, body=Linear()))


def rungs(*log2_lrs: float, horizon: float = 1 / 16, best: float = BEST) -> list[Rung]:
    return [Rung(horizon, lr, 0.7 + 0.06 * (lr - best) ** 2) for lr in log2_lrs]


def test_rungs_around_the_best_rate_find_it() -> None:
    (only,) = found_peaks(rungs(-10.0, -9.0, -8.0, -7.0, -6.0), start=5.0)
    assert only.log2_lr - SHIFT == pytest.approx(BEST, abs=0.4)
    assert only.sd < 1.0
    assert only.share == 1 / 16


def test_each_length_is_told_by_itself() -> None:
    both = [*rungs(-9.0, -7.0, -5.0, best=-7.0, horizon=1 / 64), *rungs(-10.0, -8.0, -6.0)]
    first, second = found_peaks(both, start=5.0)
    assert (first.share, second.share) == (1 / 64, 1 / 16)
    assert first.log2_lr - second.log2_lr == pytest.approx(1.0, abs=0.5)


def test_one_rung_says_nothing() -> None:
    assert found_peaks(rungs(-8.0), start=5.0) == ()


def test_a_rung_that_diverged_alone_with_one_that_did_not_says_nothing() -> None:
    assert found_peaks([*rungs(-8.0), Rung(1 / 16, -3.0, None)], start=5.0) == ()


def test_what_is_found_does_not_know_what_was_believed() -> None:
    """Rungs far from anybody's prior are told as they are."""
    (only,) = found_peaks(rungs(-3.0, -2.0, -1.0, 0.0, 1.0, best=-1.0), start=5.0)
    assert only.log2_lr - SHIFT == pytest.approx(-1.0, abs=0.4)


def test_rungs_that_end_alike_say_little_or_nothing() -> None:
    flat = [Rung(1 / 16, lr, 0.7) for lr in (-8.1, -8.0, -7.9)]
    assert all(one.sd > 0.5 for one in found_peaks(flat, start=5.0))
    assert all(one.sd < SAYS_SOMETHING for one in found_peaks(flat, start=5.0))


def test_more_rungs_say_more() -> None:
    few = found_peaks(rungs(-9.0, -7.0), start=5.0)
    many = found_peaks(rungs(-10.0, -9.0, -8.0, -7.0, -6.0), start=5.0)
    assert many[0].sd < (few[0].sd if few else math.inf)
