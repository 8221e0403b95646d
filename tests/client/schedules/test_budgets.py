"""Schedules of a main line whose budget changes while it runs."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pacesetter.errors import ScheduleError
from pacesetter.schedules import (
    WSD,
    Constant,
    Cosine,
    InverseSqrt,
    Joined,
    Linear,
    Schedule,
    Step,
    Table,
    Warmup,
)
from pacesetter.schedules.horizon import branch_decay, for_budget, join, shorten

from tests.client.schedules.drawn import schedules

RISE = Warmup(length=100, start=0.01)


def values(schedule: Schedule, *positions: float) -> list[float]:
    return [schedule.at(position) for position in positions]


# Shortening


@pytest.mark.parametrize("body", [Constant(), InverseSqrt(), WSD(cooldown=0.2), Cosine(), Linear()])
def test_in_the_warm_up_everything_is_laid_over_the_shorter_length(body: Constant) -> None:
    schedule = Schedule(length=1000, warmup=RISE, body=body)

    assert shorten(schedule, 600, 100) == Schedule(length=600, warmup=RISE, body=body)


@pytest.mark.parametrize("body", [Constant(), InverseSqrt()])
def test_what_has_no_horizon_ends_earlier(body: Constant) -> None:
    schedule = Schedule(length=1000, warmup=RISE, body=body)

    assert shorten(schedule, 800, 799) == Schedule(length=800, warmup=RISE, body=body)


def test_wsd_is_what_it_would_have_been_where_its_new_cooldown_is_still_to_come() -> None:
    schedule = Schedule(length=1000, warmup=RISE, body=WSD(cooldown=0.2))

    assert shorten(schedule, 600, 480) == Schedule(length=600, warmup=RISE, body=WSD(cooldown=0.2))


def test_wsd_past_that_place_leaves_its_plateau_earlier_if_it_is_long_enough() -> None:
    schedule = Schedule(length=1000, warmup=RISE, body=WSD(cooldown=0.2))
    earlier = shorten(schedule, 900, 710)

    # 720 is where the cooldown of a schedule of 900 begins; here it keeps its 200 and begins at 700.
    assert earlier.body == WSD(cooldown=0.2)
    late = shorten(schedule, 900, 725)
    assert late.end == 900
    assert values(late, 724, 725, 900) == [1.0, 1.0, 0.0]


def test_a_plateau_that_is_too_short_decays_by_one_less_the_root_from_where_it_stands() -> None:
    schedule = Schedule(length=1000, peak=2.0, warmup=RISE, body=WSD(cooldown=0.2))
    shorter = shorten(schedule, 800, 700)

    assert values(shorter, 699, 700, 725, 800) == pytest.approx([2.0, 2.0, 1.0, 0.0])


@pytest.mark.parametrize("body", [Cosine(), Linear(), WSD(cooldown=0.9, shape="square")])
def test_a_decay_under_way_falls_in_a_line_to_where_it_would_have_ended(body: Cosine) -> None:
    schedule = Schedule(zero=7, length=1000, peak=0.8, floor=0.1, warmup=RISE, body=body)
    shorter = shorten(schedule, 700, 507)
    before = np.arange(0.0, 508.0)
    level = schedule.at(507)

    np.testing.assert_allclose(shorter.over(before), schedule.over(before), rtol=1e-14)
    assert shorter.end == 707
    assert values(shorter, 607, 707) == pytest.approx([(level + 0.08) / 2, 0.08], rel=1e-14)


def test_steps_keep_the_milestones_passed_and_lay_the_others_over_what_is_left() -> None:
    schedule = Schedule(length=1000, body=Step(milestones=(0.3, 0.8, 0.9), factors=(0.5, 0.2, 0.1)))
    shorter = shorten(schedule, 500, 310)

    assert values(shorter, 299, 300, 399, 400, 449, 450) == [1.0, 0.5, 0.5, 0.2, 0.2, 0.1]


def test_a_table_is_compressed_over_what_is_left() -> None:
    body = Table(positions=(0.0, 0.5, 1.0), values=(1.0, 0.5, 0.0))
    shorter = shorten(Schedule(length=1000, body=body), 800, 500)

    assert values(shorter, 250, 500, 650, 800) == pytest.approx([0.75, 0.5, 0.25, 0.0])


def test_of_a_joined_schedule_the_last_piece_is_shortened() -> None:
    trunk = Schedule(length=1000, warmup=RISE, body=Constant())
    decayed = branch_decay(trunk, 400, 400, "linear")
    shorter = shorten(decayed, 600, 500)

    assert isinstance(shorter.body, Joined)
    assert values(shorter, 399, 450, 500, 550, 600) == pytest.approx([1.0, 0.875, 0.75, 0.375, 0.0])


@pytest.mark.parametrize("level", [1.0, 0.5])
def test_a_joined_schedule_is_cut_short_right_after_a_jump(level: float) -> None:
    first = Schedule(length=200, body=Linear())
    second = Schedule(zero=190, length=110, peak=level, body=Linear())
    third = Schedule(zero=250, length=200, body=Linear())
    restarts = join(join(first, second, 190, continuous=False), third, 250, continuous=False)

    cut = shorten(restarts, 200, 190)

    assert (cut.end, cut.at(200)) == (200, 0.0)
    assert values(cut, 189, 190, 195) == pytest.approx([11 / 200, level, level / 2])
    with pytest.raises(ScheduleError, match="pieces jump"):
        join(restarts, Schedule(zero=190, length=10, peak=0.75 * level), 190)


def test_a_joined_schedule_leaves_its_plateau_earlier() -> None:
    trunk = Schedule(length=1000, warmup=RISE, body=Constant())
    decayed = join(trunk, Schedule(zero=800, length=200, body=Linear()), 800)
    shorter = shorten(decayed, 700, 300)

    # The decay keeps its 200, and comes 300 earlier.
    assert values(shorter, 499, 600, 700) == pytest.approx([1.0, 0.5, 0.0], abs=0.006)


@pytest.mark.parametrize(
    ("new_length", "at", "message"),
    [(1200, 300, "make it so with extend"), (500, 500, "give a length above 500")],
)
def test_what_cannot_be_shortened_says_why(new_length: int, at: int, message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        shorten(Schedule(length=1000, body=Linear()), new_length, at)


# Budgets


def test_a_longer_budget_extends_and_a_shorter_one_shortens_what_is_bound_to_its_end() -> None:
    schedule = Schedule(length=1000, body=Linear())

    assert values(for_budget(schedule, 1500, 500, before=1000), 500, 1000, 1500) == pytest.approx(
        [0.5, 1 / 3, 0.0]
    )
    assert values(for_budget(schedule, 750, 500, before=1000), 500, 625, 750) == [0.5, 0.25, 0.0]
    assert for_budget(schedule, 1000, 500, before=1000) == schedule


def test_what_was_over_before_its_end_and_holds_is_left_alone() -> None:
    decayed = Schedule(length=300, floor=0.1, body=Linear())

    for total in (500, 1500):
        assert for_budget(decayed, total, 200, before=1000) == decayed


def test_what_would_have_gone_on_beyond_the_end_goes_on() -> None:
    long = Schedule(length=2000, body=Cosine())

    assert for_budget(long, 1500, 500, before=1000) == long
    flat = Schedule(length=2000, body=WSD(cooldown=0.2))
    assert for_budget(flat, 800, 500, before=1000) == flat
    shorter = for_budget(long, 800, 500, before=1000)
    # Of the old plan the first 1000 were to come: it ends where that would have ended.
    assert values(shorter, 500, 800) == pytest.approx([long.at(500), long.at(1000)], rel=1e-12)


def test_a_rate_of_zero_cannot_go_on() -> None:
    run_out = Schedule(length=400, body=Linear())

    with pytest.raises(ScheduleError, match="warm up again with resume_trunk"):
        for_budget(run_out, 1500, 600, before=1000)
    assert for_budget(run_out, 800, 600, before=1000) == run_out
    with pytest.raises(ScheduleError, match="not before the new end at 600"):
        for_budget(run_out, 600, 600, before=1000)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    drawn=schedules(longest=3000, shortest=60),
    start=st.integers(0, 100),
    changes=st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.05, 2.0)), min_size=1, max_size=5),
)
def test_any_sequence_of_budgets_keeps_the_past_and_is_defined_to_the_end(
    drawn: Schedule, start: int, changes: list[tuple[float, float]]
) -> None:
    schedule = drawn.model_copy(update={"zero": start})
    assume(schedule.peak > 0.0)
    top, position, total = schedule.highest, 0, schedule.end
    for moved, share in changes:
        position += round(moved * (total - position - 1))
        new = max(position + 1, round(share * total))
        try:
            changed = for_budget(schedule, new, position, before=total)
        except ScheduleError:  # there is nothing to extend
            assert (new > total, schedule.at(position)) == (True, 0.0)
            return
        past = np.arange(min(start, position), position + 1, dtype=np.float64)
        np.testing.assert_allclose(
            changed.over(past), schedule.over(past), rtol=1e-9, atol=1e-9 * top
        )
        ahead = changed.over(np.arange(position, new + 1, dtype=np.float64))
        assert np.isfinite(ahead).all()
        assert ahead.min() >= 0.0
        assert ahead.max() <= top * (1 + 1e-9)
        # Defined to the end: it ends there, or had ended and holds more than nothing.
        assert changed.end >= new or changed.at(new) > 0.0 or schedule.at(position) == 0.0
        schedule, total = changed, new
