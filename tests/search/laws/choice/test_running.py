"""Decay now, or make it longer: by the truth behind the curves, and by the rules of the convex bound."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Cosine, Schedule, Warmup
from pacesetter_search.laws.choice import (
    SHRINK,
    compare_extensions,
    cooldown_for,
    decay_now,
    drop_for,
    learning_rates,
)

from tests.search.support.fitted_laws import ensemble
from tests.search.support.loss_curves import PEAK, STEPS, TRUE

WARMUP = STEPS // 20
PLAN = Schedule(length=STEPS, warmup=Warmup(length=WARMUP), body=WSD(cooldown=0.2))


@pytest.mark.parametrize(
    ("factor", "noted", "exact"),
    [(1.5, 0.438, 0.4460), (2.0, 0.634, 0.6327), (3.0, 0.887, 0.8763), (4.0, 1.0, 1.0)],
)
def test_a_longer_run_at_the_same_rate_wants_the_noted_cooldown(
    factor: float, noted: float, exact: float
) -> None:
    """The notes' figures come from a coarse search over shares; the root of the same equation is beside them."""
    assert cooldown_for(factor) == pytest.approx(noted, abs=0.012)
    assert cooldown_for(factor) == pytest.approx(exact, abs=2e-4)


@pytest.mark.parametrize(("factor", "noted"), [(1.5, 0.64), (2.0, 0.53), (3.0, 0.43), (4.0, 0.38)])
def test_a_second_stage_runs_at_the_noted_rate(factor: float, noted: float) -> None:
    assert drop_for(factor) == pytest.approx(noted, abs=0.006)


def test_nothing_longer_changes_nothing_and_more_changes_more() -> None:
    assert (cooldown_for(1.0), drop_for(1.0)) == (0.2, 1.0)
    shares = [cooldown_for(factor, 0.4) for factor in (1.0, 1.2, 1.5, 2.0, 5.0)]
    drops = [drop_for(factor, 0.4) for factor in (1.0, 1.2, 1.5, 2.0, 5.0)]
    assert shares == sorted(shares)
    assert drops == sorted(drops, reverse=True)


@pytest.mark.parametrize(
    ("factor", "cooldown"), [(0.9, 0.2), (2.0, 0.0), (2.0, 1.1), (np.nan, 0.2)]
)
def test_what_is_no_extension_is_refused(factor: float, cooldown: float) -> None:
    for rule in (cooldown_for, drop_for):
        with pytest.raises(ValueError, match="give a factor of at least 1"):
            rule(factor, cooldown)


def test_decaying_now_ends_where_the_truth_does() -> None:
    before = learning_rates(PLAN, PEAK)[:2500]
    lengths = [200, 500, 1000]
    found = decay_now(ensemble(), before, lengths)
    assert found.loss == pytest.approx(float(TRUE.predict(before).mean[0]), rel=1e-3)
    assert [way.length for way in found.ways] == lengths
    for way in found.ways:
        tail = PEAK * (1.0 - np.arange(way.length) / way.length)
        truth = float(TRUE.predict(np.append(before, tail)).mean[0])
        held = float(TRUE.predict(np.append(before, np.full(way.length, PEAK))).mean[0])
        assert abs(way.loss - truth) < 3.0 * way.loss_sd
        assert way.held == pytest.approx(held, rel=2e-3)
        assert way.gain == pytest.approx(SHRINK * (way.held - way.loss) / way.held)
        assert way.gain == pytest.approx(SHRINK * (held - truth) / held, abs=2e-3)
    assert found.ways[0].loss > found.ways[1].loss > found.ways[2].loss
    assert found.ways[0].loss < found.loss


def test_a_decay_shorter_than_any_measured_is_said() -> None:
    before = learning_rates(PLAN, PEAK)[:2500]
    warnings = decay_now(ensemble(), before, [50, 500]).warnings
    assert warnings == ("a decay over 50 steps is shorter than any that was measured",)
    far = decay_now(ensemble(), before, [3 * STEPS])
    assert any("more than twice as long" in each for each in far.warnings)


def test_the_shape_of_the_decay_is_the_one_that_was_asked_for() -> None:
    before = learning_rates(PLAN, PEAK)[:2500]
    (line,) = decay_now(ensemble(), before, [800]).ways
    (root,) = decay_now(ensemble(), before, [800], shape="sqrt").ways
    tail = PEAK * (1.0 - np.sqrt(np.arange(800) / 800))
    assert root.loss == pytest.approx(float(ensemble().predict(np.append(before, tail)).mean[0]))
    assert root.loss != line.loss
    assert root.held == line.held


@pytest.mark.parametrize(
    ("lrs", "lengths", "words"),
    [
        ([], [10], "the rate here is zero or unknown"),
        ([1e-4, 0.0], [10], "the rate here is zero or unknown"),
        ([1e-4], [], "give lengths above zero"),
        ([1e-4], [10, 0], "give lengths above zero"),
    ],
)
def test_a_decay_from_nowhere_is_refused(lrs: list[float], lengths: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decay_now(ensemble(), np.array(lrs), lengths)


def test_extensions_are_in_the_order_of_the_truth() -> None:
    (half, twice) = compare_extensions(ensemble(), PLAN, PEAK, 2000, (1.5, 2.0))
    for found in (half, twice):
        assert {one.name for one in found.ways} == {"as it is", "longer cooldown", "two stages"}
        truth = {
            name: float(TRUE.predict(learning_rates(each, PEAK)).mean[0])
            for name, each in found.schedules.items()
        }
        order = [one.name for one in found.ways]
        assert truth[order[0]] < min(truth.values()) + 2e-3
        (plain,) = [one for one in found.ways if one.name == "as it is"]
        assert plain.gain == 0.0
    assert twice.schedules["longer cooldown"].body == WSD(cooldown=cooldown_for(2.0))
    assert half.ways[0].loss > twice.ways[0].loss


def test_what_was_run_stays_as_it_was_and_what_follows_has_the_new_length() -> None:
    at = 2000
    for found in compare_extensions(ensemble(), PLAN, PEAK, at):
        for name, schedule in found.schedules.items():
            rates = learning_rates(schedule, PEAK)
            assert rates.size == round(found.factor * STEPS), name
            assert rates[:at] == pytest.approx(learning_rates(PLAN, PEAK)[:at], rel=1e-9), name
    (double,) = compare_extensions(ensemble(), PLAN, PEAK, at, (2.0,))
    stages = learning_rates(double.schedules["two stages"], PEAK)
    assert stages[int(0.8 * STEPS) - 1] == pytest.approx(PEAK)
    assert stages[int(0.8 * STEPS)] == pytest.approx(PEAK * drop_for(2.0))


def test_where_the_longer_cooldown_would_have_begun_it_begins_now() -> None:
    (found,) = compare_extensions(ensemble(), PLAN, PEAK, 3000, (3.0,))
    body = found.schedules["longer cooldown"].body
    assert isinstance(body, WSD)
    assert body.cooldown == pytest.approx((3 * STEPS - 3000) / (3 * STEPS))
    assert body.cooldown < cooldown_for(3.0)


def test_after_the_cooldown_has_begun_only_a_line_is_left_and_the_rest_says_why() -> None:
    (found,) = compare_extensions(ensemble(), PLAN, PEAK, 3600, (2.0,))
    assert [one.name for one in found.ways] == ["as it is"]
    assert "cooldown has begun" in found.refused["longer cooldown"]
    assert "the cooldown has begun at 3,200, before 3,600" in found.refused["two stages"]


def test_other_families_go_on_as_the_horizon_tools_say() -> None:
    cosine = Schedule(length=STEPS, warmup=Warmup(length=WARMUP), body=Cosine())
    (found,) = compare_extensions(ensemble(), cosine, PEAK, 1000, (1.5,))
    assert [one.name for one in found.ways] == ["as it is"]
    with pytest.raises(ValueError, match="give factors above 1"):
        compare_extensions(ensemble(), PLAN, PEAK, 1000, (1.0,))


def test_a_rate_may_stand_for_several_steps() -> None:
    before = learning_rates(PLAN, PEAK)[:2500]
    coarse = before.reshape(-1, 5).mean(axis=1)
    for fine, rough in zip(
        decay_now(ensemble(), before, [500, 50]).ways,
        decay_now(ensemble(), coarse, [500, 50], stride=5).ways,
        strict=True,
    ):
        assert rough.length == fine.length
        assert rough.loss == pytest.approx(fine.loss, rel=5e-4)
        assert rough.held == pytest.approx(fine.held, rel=5e-4)
    (fine_twice,) = compare_extensions(ensemble(), PLAN, PEAK, 2500, (2.0,))
    (rough_twice,) = compare_extensions(ensemble(), PLAN, PEAK, 2500, (2.0,), stride=5)
    assert rough_twice.schedules == fine_twice.schedules
    assert [way.name for way in rough_twice.ways] == [way.name for way in fine_twice.ways]
    for one, other in zip(rough_twice.ways, fine_twice.ways, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=5e-4)
    words = decay_now(ensemble(), coarse, [50], stride=5).warnings
    assert words == ("a decay over 50 steps is shorter than any that was measured",)


def test_what_was_run_counts_and_not_what_the_schedule_would_have_run() -> None:
    """A plateau at half of the rate that took over at 2000: its law sees the steps before it as they were."""
    at = 2500
    plan = Schedule(zero=2000, length=STEPS - 2000, peak=0.5, body=WSD(cooldown=0.4))
    before = np.append(learning_rates(PLAN, PEAK)[:2000], np.full(500, 0.5 * PEAK))
    (found,) = compare_extensions(
        ensemble(), plan, PEAK, at, (1.5,), total=STEPS, lrs_so_far=before
    )
    end = round(1.5 * STEPS)
    assert len(found.ways) == 3
    for way in found.ways:
        schedule = found.schedules[way.name]
        assert schedule.end == end
        rest = PEAK * schedule.over(np.arange(at, end, dtype=np.float64))
        assert way.loss == pytest.approx(float(ensemble().predict(np.append(before, rest)).mean[0]))
    # The cooldown was .2 of the whole run, so that it becomes what the rule says of the whole longer one.
    longer = found.schedules["longer cooldown"]
    assert isinstance(longer.body, WSD)
    assert longer.body.cooldown * longer.length == pytest.approx(cooldown_for(1.5) * end)


def test_a_schedule_without_an_end_goes_on_to_the_longer_one() -> None:
    held = Schedule(length=STEPS, body=WSD(cooldown=0.2)).model_copy(update={"length": 2 * STEPS})
    before = learning_rates(held, PEAK)[:1000]
    (found,) = compare_extensions(
        ensemble(), held, PEAK, 1000, (1.5,), total=STEPS, lrs_so_far=before
    )
    # It was to be cut off on its plateau: only how it goes on is known, and no cooldown to make longer.
    (way,) = found.ways
    rates = learning_rates(held, PEAK)[: round(1.5 * STEPS)]
    assert way.loss == pytest.approx(float(ensemble().predict(rates).mean[0]))
