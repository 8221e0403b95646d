"""Schedules when the horizon changes."""

import numpy as np
import pytest
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
    convex_bound,
)
from pacesetter.schedules.horizon import branch_decay, extend, join, resume_trunk

RISE = Warmup(length=100, start=0.01)
TRUNK = Schedule(length=1000, warmup=RISE, body=Constant())


def values(schedule: Schedule, *positions: float) -> list[float]:
    return [schedule.at(position) for position in positions]


def families_in_force(schedule: Schedule) -> list[str]:
    assert isinstance(schedule.body, Joined)
    return [piece.schedule.body.family for piece in schedule.body.pieces]


# Joining


def test_a_join_follows_the_first_and_then_the_second() -> None:
    first = Schedule(zero=50, length=1000, peak=2.0, body=Linear())
    second = Schedule(zero=300, length=500, peak=1.5, body=Cosine())
    joined = join(first, second, 300)

    assert (joined.zero, joined.length, joined.peak) == (50, 750, 2.0)
    assert values(joined, 50, 299, 300, 550, 800) == pytest.approx(
        [2.0, first.at(299), 1.5, 0.75, 0.0], rel=1e-15
    )


def test_a_join_that_jumps_says_from_where_to_where() -> None:
    low = Schedule(zero=500, length=500, peak=0.4)

    with pytest.raises(ScheduleError, match=r"jump from 1 to 0.4 at 500"):
        join(TRUNK, low, 500)
    assert values(join(TRUNK, low, 500, continuous=False), 499, 500) == [1.0, 0.4]


@pytest.mark.parametrize("at", [0, -5, 1000, 2000])
def test_a_join_at_which_nothing_of_one_is_left_is_refused(at: int) -> None:
    with pytest.raises(ScheduleError, match=r"choose it after 0 and before 1,000"):
        join(TRUNK, TRUNK, at)


def test_relative_and_absolute_schedules_do_not_join() -> None:
    with pytest.raises(ScheduleError, match="a relative and a absolute schedule cannot be joined"):
        join(TRUNK, Schedule(length=2000, unit="absolute"), 500)


def test_joins_of_joins_list_the_pieces_in_force_and_keep_their_values() -> None:
    first = branch_decay(TRUNK.model_copy(update={"peak": 0.5, "zero": 10}), 400, 100)
    second = branch_decay(Schedule(zero=450, length=900, peak=first.at(450)), 600, 200, "linear")
    joined = join(first, second, 450)

    assert families_in_force(joined) == ["constant", "wsd", "constant", "wsd"]
    before, after = np.arange(0.0, 450.0), np.arange(450.0, 900.0)
    np.testing.assert_allclose(joined.over(before), first.over(before), rtol=1e-14)
    np.testing.assert_allclose(joined.over(after), second.over(after), rtol=1e-14)


def test_the_floor_and_peak_around_a_join_are_kept_when_it_is_joined_again() -> None:
    raised = branch_decay(TRUNK, 400, 100).model_copy(update={"floor": 0.2, "peak": 3.0})
    again = join(raised, Schedule(zero=480, length=20, peak=raised.at(480)), 480)
    positions = np.arange(0.0, 480.0)

    np.testing.assert_allclose(again.over(positions), raised.over(positions), rtol=1e-14)


# Extending


@pytest.mark.parametrize("body", [Constant(), InverseSqrt(), WSD(cooldown=0.2), Cosine(), Linear()])
def test_in_the_warm_up_everything_is_laid_over_the_new_length(body: Constant) -> None:
    schedule = Schedule(length=1000, warmup=RISE, body=body)

    assert extend(schedule, 3000, 100) == Schedule(length=3000, warmup=RISE, body=body)


@pytest.mark.parametrize("body", [Constant(), InverseSqrt()])
def test_what_has_no_horizon_goes_on(body: Constant) -> None:
    schedule = Schedule(length=1000, warmup=RISE, body=body)

    assert extend(schedule, 3000, 1000) == Schedule(length=3000, warmup=RISE, body=body)


def test_wsd_stays_on_its_plateau_and_keeps_the_share_of_its_cooldown() -> None:
    longer = extend(Schedule(length=1000, warmup=RISE, body=WSD(cooldown=0.2)), 2000, 800)

    assert longer == Schedule(length=2000, warmup=RISE, body=WSD(cooldown=0.2))
    assert values(longer, 800, 1600, 1800, 2000) == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_wsd_takes_another_cooldown_that_begins_after_the_present_position() -> None:
    schedule = Schedule(length=1000, warmup=RISE, body=WSD(cooldown=0.2))

    assert extend(schedule, 2000, 800, cooldown=0.6).body == WSD(cooldown=0.6)
    with pytest.raises(ScheduleError, match=r"begun at 700, before 800; .* at most 0.6"):
        extend(schedule, 2000, 800, cooldown=0.65)
    with pytest.raises(ScheduleError, match=r"begun at 800, before 801"):
        extend(schedule, 2000, 801, cooldown=0.1)
    with pytest.raises(ScheduleError, match="is for wsd, not for constant"):
        extend(TRUNK, 2000, 800, cooldown=0.2)


DECAYS = (Cosine(), Linear(), WSD(cooldown=0.9, shape="square"))


@pytest.mark.parametrize("body", DECAYS)
def test_without_a_re_warm_up_a_decay_falls_in_a_line_to_where_it_would_have_ended(
    body: Cosine,
) -> None:
    schedule = Schedule(zero=7, length=1000, peak=0.8, floor=0.1, warmup=RISE, body=body)
    longer = extend(schedule, 2000, 507, rewarmup=0)
    before = np.arange(0.0, 508.0)
    level = schedule.at(507)

    np.testing.assert_allclose(longer.over(before), schedule.over(before), rtol=1e-14)
    assert longer.end == 2007
    assert values(longer, 1257, 2007) == pytest.approx([(level + 0.08) / 2, 0.08], rel=1e-14)


@pytest.mark.parametrize("body", [Cosine(), Linear()])
def test_a_decay_under_way_goes_back_to_a_line_over_the_whole_new_length(body: Cosine) -> None:
    schedule = Schedule(zero=7, length=1000, peak=0.8, floor=0.1, warmup=RISE, body=body)
    longer = extend(schedule, 2000, 507)
    whole = Schedule(zero=7, length=2000, peak=0.8, floor=0.1, warmup=RISE, body=Linear())
    before, after = np.arange(0.0, 508.0), np.arange(522.0, 2008.0)

    np.testing.assert_allclose(longer.over(before), schedule.over(before), rtol=1e-14)
    np.testing.assert_allclose(longer.over(after), whole.over(after), rtol=1e-12)
    # It rises over a hundredth of the 1500 that remain.
    assert longer.at(514.5) == pytest.approx((schedule.at(507) + whole.at(522)) / 2, rel=1e-12)


def test_a_decay_that_stands_higher_than_that_line_falls_from_where_it_stands() -> None:
    schedule = Schedule(length=1000, body=WSD(cooldown=0.2))
    longer = extend(schedule, 1500, 850)

    assert values(longer, 850, 1175, 1500) == pytest.approx([0.75, 0.375, 0.0])


def test_the_re_warm_up_takes_as_long_as_it_is_told() -> None:
    schedule = Schedule(length=1000, body=Linear())

    assert values(extend(schedule, 2000, 500, rewarmup=100), 500, 550, 600, 1300) == pytest.approx(
        [0.5, 0.6, 0.7, 0.35]
    )


def test_steps_keep_the_milestones_passed_and_lay_the_others_anew() -> None:
    schedule = Schedule(length=1000, body=Step(milestones=(0.5, 0.8, 0.9), factors=(0.5, 0.2, 0.1)))
    longer = extend(schedule, 2000, 500)

    assert values(longer, 499, 500, 1599, 1600, 1799, 1800) == [1.0, 0.5, 0.5, 0.2, 0.2, 0.1]


def test_a_table_stretches_what_remains() -> None:
    points = {"positions": (0.0, 0.25, 0.5, 1.0), "values": (0.2, 1.0, 0.6, 0.0)}
    schedule = Schedule(length=400, warmup=None, body=Table.model_validate(points))
    longer = extend(schedule, 1000, 150)

    # 150 of 400 stands half way down to .6 at 200; the 250 that remained become 850: times 3.4.
    assert values(longer, 50, 100, 150, 320, 660, 1000) == pytest.approx(
        [0.6, 1.0, 0.8, 0.6, 0.3, 0.0], rel=1e-14, abs=1e-15
    )


def test_a_held_table_keeps_what_is_passed_at_the_step() -> None:
    points = {"positions": (0.0, 0.3, 0.7, 1.0), "values": (1.0, 0.5, 0.2, 0.1)}
    body = Table.model_validate({**points, "interpolation": "hold"})
    longer = extend(Schedule(length=7, body=body), 14, 3)

    old = Schedule(length=7, body=body)
    assert values(longer, 0, 1, 2, 3) == values(old, 0, 1, 2, 3) == [1.0, 1.0, 1.0, 0.5]
    assert values(longer, 8, 9, 13, 14) == [0.5, 0.2, 0.2, 0.1]


def test_a_held_table_keeps_a_step_passed_where_shares_round_beyond_it() -> None:
    points = {"positions": (0.0, 7 / 25, 1.0), "values": (1.0, 0.5, 0.1)}
    body = Table.model_validate({**points, "interpolation": "hold"})
    longer = extend(Schedule(length=25, body=body), 75, 20)

    # 7 / 25 * 25 is a little above 7 in floating point.
    assert values(longer, 6, 7) == [1.0, 0.5]


def test_a_second_plateau_is_held_for_longer_and_its_end_comes_later() -> None:
    phases = {"family": "wsdc", "decay": 0.2, "constant": 0.4, "end": 0.5}
    schedule = Schedule.model_validate({"length": 1000, "body": phases})
    longer = extend(schedule, 1500, 700)

    assert values(longer, 400, 500, 600, 700, 1499, 1500) == pytest.approx(
        [1.0, 0.75, 0.5, 0.5, 0.5, 0.5], rel=1e-14
    )


def test_of_a_join_the_last_piece_is_extended() -> None:
    decayed = branch_decay(TRUNK, 600, 200, "linear")
    longer = extend(decayed, 1200, 700)

    # Back to the line from 600 on, over a hundredth of the 500 that remain.
    assert values(longer, 600, 650, 700, 705, 900, 1200) == pytest.approx(
        [1.0, 0.75, 0.5, 0.825, 0.5, 0.0]
    )
    assert values(extend(decayed, 1200, 300), 600, 900, 1200) == pytest.approx([1.0, 0.5, 0.0])


def test_a_join_whose_last_piece_was_cut_off_goes_on_with_it() -> None:
    trunk = Schedule(length=2000, body=Linear())
    first = Schedule(length=500, body=Linear(), floor=0.5)
    cut = join(first, trunk.model_copy(update={"zero": 500, "peak": 0.5}), 500)
    shorter = cut.model_copy(update={"length": 1000})

    assert extend(shorter, 2000, 900) == cut.model_copy(update={"length": 2000})


def test_the_same_length_changes_nothing() -> None:
    schedule = Schedule(length=1000, body=Cosine())

    assert extend(schedule, 1000, 1000) == schedule


@pytest.mark.parametrize(
    ("length", "at", "message"),
    [
        (999, 10, "shorter than the present 1,000; make it so with shorten"),
        (2000, 1001, "past the end at 1,000"),
        (2000, 1000, "is zero and would stay there; go back to an earlier checkpoint"),
    ],
)
def test_an_extension_that_cannot_be_is_refused(length: int, at: int, message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        extend(Schedule(length=1000, body=Cosine()), length, at)


# Branching and resuming


def test_a_branch_decays_from_the_trunk_by_one_minus_the_root() -> None:
    branch = branch_decay(TRUNK, 600, 100, floor=0.2)

    assert branch.end == 700
    assert values(branch, 50, 600, 625, 700) == pytest.approx([0.505, 1.0, 0.6, 0.2], rel=1e-14)


def test_a_branch_takes_any_family_that_starts_at_one() -> None:
    assert branch_decay(TRUNK, 600, 100, Cosine()).at(650) == pytest.approx(0.5)
    rising = Table(positions=(0.0, 1.0), values=(0.5, 1.0))
    with pytest.raises(ScheduleError, match=r"jump from 1 to 0.5 at 600"):
        branch_decay(TRUNK, 600, 100, rising)


def test_a_trunk_that_ended_at_zero_has_no_branch() -> None:
    with pytest.raises(ScheduleError, match="branch where the trunk still trains"):
        branch_decay(Schedule(length=1000, body=Linear()), 1000, 100)


def test_from_the_checkpoint_the_trunk_goes_on_as_if_no_decay_had_been() -> None:
    branch = branch_decay(TRUNK, 600, 100)

    assert resume_trunk(branch, 600) == TRUNK
    assert resume_trunk(branch, 550, length=5000) == TRUNK.model_copy(update={"length": 5000})


def test_from_the_decayed_state_the_rate_rises_in_a_line_to_the_trunk() -> None:
    branch = branch_decay(TRUNK, 600, 100, floor=0.2)
    resumed = resume_trunk(branch, 700, rewarmup=20)

    assert values(resumed, 650, 700, 710, 720, 1000) == pytest.approx(
        [branch.at(650), 0.2, 0.6, 1.0, 1.0], rel=1e-14
    )
    assert resumed.end == 1000
    # By default over a hundredth of the 300 that are left.
    assert values(resume_trunk(branch, 700), 702, 703) == pytest.approx([0.2 + 0.8 * 2 / 3, 1.0])


def test_without_re_warming_the_rate_jumps_as_published_for_wsd_s() -> None:
    resumed = resume_trunk(branch_decay(TRUNK, 600, 100), 700, rewarmup=0)

    assert values(resumed, 699, 700) == pytest.approx([1.0 - 0.99**0.5, 1.0])


def test_a_trunk_below_the_decayed_rate_is_reached_from_above() -> None:
    trunk = Schedule(length=10_000, warmup=RISE, body=InverseSqrt())
    branch = branch_decay(trunk, 400, 1000, "linear", floor=0.9)
    resumed = resume_trunk(branch, 1400, rewarmup=200)

    assert values(resumed, 1400, 1600) == pytest.approx([0.45, 0.25])


def test_cycles_of_one_trunk_are_branches_and_resumptions_in_turn() -> None:
    """WSD-S of three budgets, each decay a tenth, linear in the rate instead of its inverse."""
    line = Schedule(length=1000, body=Constant())
    for budget in (250, 500, 1000):
        begin = budget - budget // 10
        line = branch_decay(line, begin, budget // 10, "linear", floor=0.1)
        if budget < 1000:
            line = resume_trunk(line, budget, rewarmup=0)

    assert values(line, 225, 249, 250, 449, 475, 500, 899, 950, 1000) == pytest.approx(
        [1.0, 0.136, 1.0, 1.0, 0.55, 1.0, 1.0, 0.55, 0.1]
    )
    assert len(families_in_force(line)) == 6


def test_a_trunk_that_is_too_long_is_cut_off_at_the_length_asked_for() -> None:
    long = Schedule(length=1000, warmup=RISE, body=Linear())
    decayed = branch_decay(long, 500, 50)
    resumed = resume_trunk(decayed, 550, length=700, rewarmup=0)

    assert (resumed.length, resume_trunk(decayed, 550).length) == (700, 1000)
    assert values(resumed, 300, 550, 700, 900) == values(long, 300, 550, 700, 700)
    assert resume_trunk(decayed, 500, length=700).over(np.arange(701.0)) == pytest.approx(
        long.over(np.arange(701.0)), rel=1e-12
    )
    with pytest.raises(ScheduleError, match="nothing of it is left at 600"):
        resume_trunk(decayed, 600, length=600)


def test_a_wsd_schedule_resumes_its_plateau() -> None:
    schedule = Schedule(length=1000, warmup=RISE, body=WSD(cooldown=0.2), floor=0.1)
    resumed = resume_trunk(schedule, 1000, length=2000)

    assert values(resumed, 800, 900, 1000, 1010, 2000) == pytest.approx([1.0, 0.55, 0.1, 1.0, 1.0])
    assert resume_trunk(schedule, 800).body == Constant()


@pytest.mark.parametrize(
    ("decayed", "at", "rewarmup", "message"),
    [
        (Schedule(length=1000, body=Cosine()), 500, None, "cosine has no trunk to go back to"),
        (Schedule(length=1000, body=WSD()), 1000, None, "give a length above 1,000"),
        (
            Schedule(length=1000, body=WSD()),
            900,
            100,
            "re-warm-up of 100 does not fit into the 100",
        ),
        (Schedule(length=1000, body=WSD()), 900, -1, "re-warm-up of -1 does not fit"),
    ],
)
def test_a_trunk_that_cannot_be_resumed_is_refused(
    decayed: Schedule, at: int, rewarmup: int | None, message: str
) -> None:
    with pytest.raises(ScheduleError, match=message):
        resume_trunk(decayed, at, rewarmup=rewarmup)


# The advice


def bound(lrs: np.ndarray, scale: float) -> float:
    """Return the convex bound of the last iterate [Schaipp2025], with distance and gradients of 1."""
    eta = np.maximum(scale * lrs, 1e-15)
    rest = np.cumsum(eta[::-1])[::-1]
    squares = np.cumsum((eta**2)[::-1])[::-1]
    noise = squares[0] / (2 * rest[0]) + 0.5 * np.sum(
        eta[:-1] / rest[1:] * squares[:-1] / rest[:-1]
    )
    return float(1 / (2 * rest[0]) + noise)


@pytest.mark.parametrize("family", [Linear(), Cosine()])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("times", [1.5, 2.0, 4.0])
def test_by_the_convex_bound_a_line_from_the_present_rate_beats_a_new_cosine(
    family: Linear, share: float, times: float
) -> None:
    old = Schedule(length=500, body=family)
    at, length = round(share * 500), round(times * 500)
    level = old.at(at)
    rest = Schedule(zero=at, length=length - at, peak=level, body=Cosine())
    late = rest.model_copy(update={"body": WSD(cooldown=0.2)})
    steps = np.arange(float(length))
    scale = 0.05 * (500 / 1000) ** -0.5

    line = bound(extend(old, length, at, rewarmup=0).over(steps), scale)
    assert line < bound(join(old, rest, at).over(steps), scale)
    if share <= 0.5:
        assert line < bound(join(old, late, at).over(steps), scale)


@pytest.mark.parametrize("family", [Linear(), Cosine()])
@pytest.mark.parametrize("times", [1.5, 2.0, 4.0])
@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_by_the_convex_bound_a_re_warm_up_ends_near_a_run_that_was_as_long_from_the_start(
    family: Linear, times: float, rate: float
) -> None:
    """At the best base rate for the new length and at half of it; a line from the present rate ends far above."""
    old = Schedule(length=500, warmup=Warmup(length=25), body=family)
    length = round(times * 500)
    planned = old.model_copy(update={"length": length, "body": Linear()})
    steps = np.arange(float(length))
    scale = rate * convex_bound(planned.over(steps)).best_base_lr
    least = bound(planned.over(steps), scale)

    for at, most in ((125, 0.02), (250, 0.04), (375, 0.12)):
        risen = bound(extend(old, length, at).over(steps), scale)
        line = bound(extend(old, length, at, rewarmup=0).over(steps), scale)
        assert risen < (1 + most) * least
        assert risen <= line
