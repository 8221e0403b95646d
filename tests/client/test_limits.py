"""What a job refuses: limits of the training code, abilities of the job, and the length of its main line."""

import math
from typing import Any

import numpy as np
import pytest
from pacesetter.judgement import Refusal, check_segment, highest_multiplier
from pacesetter.judgement.multipliers import EXACT_STEPS
from pacesetter.limits import Limits
from pacesetter.protocol import Capabilities, ParameterGroup, Reason, SegmentPlan
from pacesetter.schedules import (
    REX,
    Constant,
    Cosine,
    Joined,
    JoinedPiece,
    Linear,
    Power,
    Schedule,
    Step,
    Table,
    Warmup,
)
from pydantic import ValidationError

BUDGET = 1000
BASE = Schedule(length=BUDGET, warmup=Warmup(length=100), body=Linear())
ABLE = Capabilities(rollback="memory", rewind_batches="unlimited", validate_=True)
GROUPS = (
    ParameterGroup(name="small", base_lr=1e-4, control="embeddings"),
    ParameterGroup(name="large", base_lr=1e-2),
)


def plan(policy: Schedule = BASE, **parts: Any) -> SegmentPlan:
    filled = {"kind": "main", "start": 200, "length": 100} | parts
    return SegmentPlan.model_validate(filled | {"policy": policy, "reason": Reason(text="a test")})


def flat(peak: float, **parts: Any) -> Schedule:
    return Schedule(length=BUDGET, peak=peak, body=Constant(), **parts)


def judge(segment: SegmentPlan, limits: Limits | None = None, **parts: Any) -> Refusal | None:
    case: dict[str, Any] = {
        "current_multiplier": None,
        "budget_total": BUDGET,
        "clock": "steps",
        "base_schedule": BASE,
        "capabilities": ABLE,
    }
    return check_segment(segment, limits or Limits(), **(case | parts))


def code(segment: SegmentPlan, limits: Limits | None = None, **parts: Any) -> str | None:
    refusal = judge(segment, limits, **parts)
    return None if refusal is None else refusal.code


def test_base_schedule_itself_is_always_accepted() -> None:
    limits = Limits(max_change_per_step=1.06, min_multiplier=0.001)

    assert judge(plan(start=0, length=BUDGET), limits) is None


# --- bounds ---


@pytest.mark.parametrize(
    ("peak", "limits", "origin", "expected"),
    [
        (1.0, Limits(), "autolrs", None),
        (1.01, Limits(), "autolrs", "ABOVE_LIMIT"),
        (1.01, Limits(), "guard", "ABOVE_LIMIT"),
        (50.0, Limits(), "law", None),
        (50.0, Limits(), "zero_tuning", None),
        (50.0, Limits(), "person", None),
        (50.0, Limits(max_multiplier=2.0), "person", "ABOVE_LIMIT"),
        (2.0, Limits(max_multiplier=2.0), "autolrs", None),
        (0.5, Limits(max_multiplier=0.4), "law", "ABOVE_LIMIT"),
        (0.009, Limits(min_multiplier=0.01), "law", "BELOW_LIMIT"),
        (0.01, Limits(min_multiplier=0.01), "law", None),
    ],
)
def test_main_segment_within_its_bounds(
    peak: float, limits: Limits, origin: str, expected: str | None
) -> None:
    assert code(plan(flat(peak), origin=origin), limits) == expected


def test_bound_is_the_peak_of_the_base_schedule_not_one() -> None:
    half = Schedule(length=BUDGET, peak=0.5, body=Linear())

    assert code(plan(flat(0.6)), base_schedule=half) == "ABOVE_LIMIT"
    assert highest_multiplier(Limits(), half, kind="main", origin="autolrs") == 0.5
    assert highest_multiplier(Limits(), half, kind="main", origin="law") == math.inf


def test_policy_is_judged_beyond_the_segment_to_the_end_of_the_budget() -> None:
    late_peak = Schedule(
        length=BUDGET, body=Table(positions=(0.0, 0.9, 0.95, 1.0), values=(0.5, 0.5, 3.0, 0.0))
    )
    refusal = judge(plan(late_peak, start=200, length=100))

    assert refusal == Refusal("ABOVE_LIMIT", "multiplier 3 at 950 is above 1")


def test_policy_is_not_judged_before_the_position_it_is_taken_up_at() -> None:
    early_peak = Schedule(
        length=BUDGET, body=Table(positions=(0.0, 0.3, 0.31, 1.0), values=(3.0, 3.0, 0.5, 0.5))
    )

    assert code(plan(early_peak, start=200, length=300)) == "ABOVE_LIMIT"
    assert code(plan(early_peak, start=200, length=300), position=310) is None


def test_probe_is_judged_over_its_own_length_and_by_its_own_bound() -> None:
    rising = Schedule(
        zero=200, length=200, body=Table(positions=(0.0, 0.5, 1.0), values=(0.5, 1.0, 3.0))
    )

    assert code(plan(rising, kind="probe", length=100)) is None
    assert code(plan(rising, kind="probe", length=150)) == "ABOVE_LIMIT"
    assert code(plan(rising, kind="probe", length=150), Limits(probe_max_multiplier=3.0)) is None
    assert code(plan(rising, kind="branch", length=150), Limits(probe_max_multiplier=3.0)) == (
        "ABOVE_LIMIT"
    )


def test_probe_may_go_below_the_least_multiplier_and_may_jump() -> None:
    limits = Limits(min_multiplier=0.1, max_change_per_step=1.1)

    assert code(plan(flat(0.001), kind="probe"), limits, current_multiplier=1.0) is None


def test_values_that_are_not_finite_are_refused() -> None:
    overflow = Schedule(
        length=BUDGET, peak=1e308, body=Table(positions=(0.0, 1.0), values=(0.0, 100.0))
    )

    with np.errstate(over="ignore"):
        assert code(plan(overflow, origin="person")) == "NOT_FINITE"


# --- absolute policies ---


def test_absolute_policy_is_divided_by_the_base_of_each_group() -> None:
    policy = flat(1e-3, unit="absolute")

    # 1e-3 is ten times the base of one group and a tenth of the other's.
    assert code(plan(policy), groups=GROUPS) == "ABOVE_LIMIT"
    assert code(plan(policy), Limits(max_multiplier=10.0), groups=GROUPS) is None
    assert (
        code(plan(policy), Limits(max_multiplier=10.0, min_multiplier=0.2), groups=GROUPS)
        == "BELOW_LIMIT"
    )
    assert code(plan(policy, controls=["all"]), groups=GROUPS) is None


def test_absolute_policy_without_groups_is_refused_rather_than_guessed() -> None:
    assert code(plan(flat(1e-3, unit="absolute"))) == "UNKNOWN_POLICY"


def test_absolute_base_bounds_every_group_by_the_same_learning_rate() -> None:
    base = Schedule(length=BUDGET, peak=1e-3, unit="absolute", body=Linear())
    inside, outside = flat(0.99e-3, unit="absolute"), flat(1.01e-3, unit="absolute")

    assert code(plan(inside), groups=GROUPS, base_schedule=base) is None
    assert code(plan(outside), groups=GROUPS, base_schedule=base) == "ABOVE_LIMIT"


# --- change per step ---


@pytest.mark.parametrize(
    ("current", "largest", "expected"),
    [
        (1.0, 2.0, None),
        (0.25, 2.0, None),
        (0.24, 2.0, "CHANGE_TOO_FAST"),
        (1.0, 1.9, "CHANGE_TOO_FAST"),
        (None, 1.1, None),
        (1.0, None, None),
        (0.0, 11.0, None),
        (0.0, 9.0, "CHANGE_TOO_FAST"),
    ],
)
def test_jump_at_the_start_up_or_down(
    current: float | None, largest: float | None, expected: str | None
) -> None:
    limits = Limits(max_change_per_step=largest)

    assert code(plan(flat(0.5)), limits, current_multiplier=current) == expected


def test_jump_is_judged_for_every_group_that_is_driven() -> None:
    limits = Limits(max_change_per_step=1.5)
    case: dict[str, Any] = {"groups": GROUPS, "current_multiplier": (0.1, 0.5)}

    assert code(plan(flat(0.5)), limits, **case) == "CHANGE_TOO_FAST"
    assert code(plan(flat(0.5), controls=["all"]), limits, **case) is None


def test_first_segment_of_all_cannot_jump() -> None:
    limits = Limits(max_change_per_step=1.1)

    assert code(plan(flat(1.0), start=0), limits, current_multiplier=0.01) is None


def test_cliff_anywhere_in_the_policy_is_refused() -> None:
    cliff = Schedule(length=BUDGET, body=Step(milestones=(0.7,), factors=(0.4,)))
    refusal = judge(plan(cliff), Limits(max_change_per_step=2.0))

    assert refusal is not None
    assert refusal.code == "CHANGE_TOO_FAST"
    assert "from 1 to 0.4 in the step after 699" in refusal.detail
    assert code(plan(cliff), Limits(max_change_per_step=2.5)) is None


@pytest.mark.parametrize("body", [Linear(), Cosine()])
def test_decay_to_zero_does_not_trip_on_its_last_steps(body: Linear | Cosine) -> None:
    policy = Schedule(length=BUDGET, body=body)

    # 1 + 20/n: what the floor of changes promises for a linear decay over n steps; a cosine is gentler there.
    assert code(plan(policy), Limits(max_change_per_step=1.0 + 20.0 / BUDGET)) is None
    assert code(plan(policy), Limits(max_change_per_step=1.005)) == "CHANGE_TOO_FAST"


def test_warmup_of_the_base_schedule_is_exempt_and_another_one_is_not() -> None:
    limits = Limits(max_change_per_step=1.15, min_multiplier=0.02)
    base = BASE.model_copy(update={"floor": 0.1})
    steep = base.model_copy(update={"warmup": Warmup(length=20)})
    lower = base.model_copy(update={"peak": 0.9})

    assert code(plan(base, start=0), limits, base_schedule=base) is None
    assert (
        code(plan(base, start=3), limits, base_schedule=base, current_multiplier=base.at(2)) is None
    )
    assert code(plan(steep, start=0), limits, base_schedule=base) == "CHANGE_TOO_FAST"
    assert code(plan(lower, start=0), limits, base_schedule=base) == "BELOW_LIMIT"


# --- long runs and tokens ---


@pytest.mark.parametrize("where", [0.123456789, 0.5, 0.987654321])
def test_cliff_in_a_run_too_long_to_judge_step_by_step(where: float) -> None:
    total = 100 * EXACT_STEPS
    base = Schedule(length=total, body=Linear())
    cliff = Schedule(length=total, body=Step(milestones=(where,), factors=(0.4,)))
    segment = plan(cliff, start=0, length=total)
    case: dict[str, Any] = {"base_schedule": base, "budget_total": total}

    assert code(segment, Limits(max_change_per_step=2.0), **case) == "CHANGE_TOO_FAST"
    assert code(segment, Limits(max_change_per_step=2.6), **case) is None


def test_spike_between_two_points_of_the_grid_is_found_at_its_breakpoint() -> None:
    total = 10**9
    spike = Table(
        positions=(0.0, 0.5, 0.5 + 1e-8, 0.5 + 2e-8, 1.0), values=(1.0, 1.0, 5.0, 1.0, 0.0)
    )
    segment = plan(Schedule(length=total, body=spike), start=0, length=total)

    assert code(segment, budget_total=total, base_schedule=Schedule(length=total)) == "ABOVE_LIMIT"


def test_change_in_tokens_is_judged_over_the_tokens_of_a_step() -> None:
    total = 10**9
    base = Schedule(length=total, body=Linear())
    case: dict[str, Any] = {"base_schedule": base, "budget_total": total, "clock": "tokens"}
    segment = plan(base, start=0, length=total)

    # A thousand steps of a million tokens each fall as fast as a thousand steps do.
    assert code(segment, Limits(max_change_per_step=1.02), units_per_step=1e6, **case) is None
    assert (
        code(segment, Limits(max_change_per_step=1.01), units_per_step=1e6, **case)
        == "CHANGE_TOO_FAST"
    )
    assert code(segment, Limits(max_change_per_step=1.01), units_per_step=0.0, **case) is None


def test_last_step_of_a_token_budget_is_judged_though_it_does_not_divide() -> None:
    ending = Table(positions=(0.0, 0.97, 1.0), values=(1.0, 1.0, 0.0))
    segment = plan(Schedule(length=1000, body=ending), start=0, length=1000)

    # Steps of 30 tokens fall on 0, 30, ... 990; at 990 the value is 1/3.
    assert code(segment, Limits(min_multiplier=0.4), units_per_step=30.0) == "BELOW_LIMIT"
    assert code(segment, Limits(min_multiplier=0.3), units_per_step=30.0) is None


# --- what the job can do, and what the training code permits ---


@pytest.mark.parametrize(
    ("parts", "capabilities", "expected"),
    [
        ({"kind": "probe"}, {"rollback": "none"}, "NO_ROLLBACK"),
        ({"kind": "branch"}, {"rollback": "none"}, "NO_ROLLBACK"),
        ({"from": "initial"}, {"rollback": "none"}, "NO_ROLLBACK"),
        ({"save_as": "a"}, {"rollback": "none"}, "NO_ROLLBACK"),
        ({"save_end_as": "a"}, {"rollback": "none"}, "NO_ROLLBACK"),
        ({"save_every": 10}, {"rollback": "none"}, "NO_ROLLBACK"),
        ({}, {"rollback": "none"}, None),
        ({"kind": "probe"}, {"rollback": "disk"}, None),
        ({"data": "rewind"}, {"rewind_batches": 0}, "NO_REWIND"),
        ({"data": "rewind"}, {"rewind_batches": 8}, None),
        ({"data": "hold"}, {"rewind_batches": 0}, None),
        ({"measure": {"validate_at_end": True}}, {"validate_": False}, "NO_VALIDATION"),
        ({"measure": {"validate_at_end": True}}, {"validate_": True}, None),
        ({}, {"families": ("cosine",)}, "UNKNOWN_POLICY"),
        ({}, {"families": ("cosine", "linear")}, None),
    ],
)
def test_segment_beyond_the_abilities_of_the_job(
    parts: dict[str, Any], capabilities: dict[str, Any], expected: str | None
) -> None:
    able = ABLE.model_copy(update=capabilities)

    assert code(plan(**parts), capabilities=able) == expected


def test_family_inside_a_join_must_be_known_too() -> None:
    pieces = (JoinedPiece(start=0, schedule=Schedule(length=1000, body=REX())),)
    segment = plan(Schedule(length=1000, body=Joined(pieces=pieces)))

    for families, expected in ((("joined",), "UNKNOWN_POLICY"), (("joined", "rex"), None)):
        able = ABLE.model_copy(update={"families": families})
        assert code(segment, Limits(max_multiplier=2.0), capabilities=able) == expected


def test_law_that_counts_tokens_is_no_policy_for_steps() -> None:
    group = ParameterGroup(name="a", base_lr=0.02)
    for clock, expected in (("steps", None), ("tokens", "UNKNOWN_POLICY")):
        body = Power.model_validate({"batch_tokens": 4096, "clock": clock})
        segment = plan(Schedule.absolute(1000, body))

        assert code(segment, Limits(max_multiplier=1.0), groups=[group]) == expected


@pytest.mark.parametrize(
    ("parts", "limits", "expected"),
    [
        ({"kind": "probe"}, Limits(allow_probes=False), "PROBE_NOT_ALLOWED"),
        ({"kind": "branch"}, Limits(allow_probes=False), None),
        ({"kind": "probe", "length": 51}, Limits(max_probe_length=50), "PROBE_TOO_LONG"),
        ({"kind": "probe", "length": 50}, Limits(max_probe_length=50), None),
        ({"kind": "main", "length": 51}, Limits(max_probe_length=50), None),
        ({"from": "initial"}, Limits(allow_rollback=False), "NO_ROLLBACK"),
        ({"kind": "probe", "from": "initial"}, Limits(allow_rollback=False), None),
        ({"controls": ["heads"]}, Limits(), "UNKNOWN_CONTROL"),
        ({"controls": ["embeddings"]}, Limits(), None),
        ({"save_as": "current"}, Limits(), "RESERVED_NAME"),
        ({"save_end_as": "initial"}, Limits(), "RESERVED_NAME"),
    ],
)
def test_segment_beyond_what_the_training_code_permits(
    parts: dict[str, Any], limits: Limits, expected: str | None
) -> None:
    assert code(plan(**parts), limits, groups=GROUPS) == expected


# --- the length of the main line ---


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"kind": "stop", "length": 0}, "SHORTER_MAIN"),
        ({"kind": "stop", "length": 0, "start": BUDGET}, None),
        ({"kind": "stop", "length": 0, "origin": "person"}, None),
        ({"policy": Schedule(length=800, body=Linear())}, "SHORTER_MAIN"),
        ({"policy": Schedule(length=BUDGET - 1, body=Linear())}, None),
        ({"policy": Schedule(length=800, floor=0.1, body=Linear())}, None),
        ({"kind": "probe", "policy": Schedule(length=800, body=Linear())}, None),
    ],
)
def test_main_line_shorter_than_the_budget_is_allowed_only_where_asked(
    parts: dict[str, Any], expected: str | None
) -> None:
    assert code(plan(**parts)) == expected
    assert code(plan(**parts), Limits(allow_shorter_main=True)) is None


def test_stop_needs_no_ability_at_all() -> None:
    segment = plan(kind="stop", start=BUDGET, length=0)

    assert judge(segment, capabilities=Capabilities()) is None


def test_main_segment_beyond_the_budget_is_refused() -> None:
    assert code(plan(start=950, length=51)) == "BEYOND_BUDGET"
    assert code(plan(start=950, length=50)) is None
    assert code(plan(start=950, length=51, kind="probe")) is None


# --- another budget ---


def longer(total: int, **parts: Any) -> SegmentPlan:
    policy = Schedule(length=total, warmup=Warmup(length=100), body=Linear())
    return plan(policy, length=total - 200, budget=total, **parts)


@pytest.mark.parametrize(
    ("total", "limits", "expected"),
    [
        (1500, Limits(), "ABOVE_MAX_BUDGET"),
        (1500, Limits(max_budget=1499), "ABOVE_MAX_BUDGET"),
        (1500, Limits(max_budget=1500), None),
        (BUDGET, Limits(max_budget=500), None),
        (800, Limits(), "SHORTER_MAIN"),
        (800, Limits(max_budget=2000), "SHORTER_MAIN"),
        (800, Limits(allow_shorter_main=True), None),
        (1001, Limits(allow_shorter_main=True), "ABOVE_MAX_BUDGET"),
    ],
)
def test_the_training_code_says_how_long_and_how_short_others_may_make_a_run(
    total: int, limits: Limits, expected: str | None
) -> None:
    assert code(longer(total), limits) == expected


@pytest.mark.parametrize(
    ("current", "total", "expected"),
    [
        (1500, 1200, None),
        (1500, BUDGET, None),
        (1500, 1500, None),
        (1500, 999, "SHORTER_MAIN"),
        (1800, 1800, None),  # a budget that is no change needs no leave
        (1800, 1750, "ABOVE_MAX_BUDGET"),
    ],
)
def test_an_extension_may_be_taken_back_as_far_as_the_budget_that_was_given(
    current: int, total: int, expected: str | None
) -> None:
    limits = Limits(max_budget=1700)

    assert code(longer(total), limits, budget_total=current, registered_total=BUDGET) == expected


@pytest.mark.parametrize(
    ("position", "expected"), [(None, None), (599, None), (600, "BUDGET_PAST")]
)
def test_a_budget_behind_the_job_is_refused(position: int | None, expected: str | None) -> None:
    cut = plan(Schedule(length=600, body=Linear()), length=400, budget=600)

    assert code(cut, Limits(allow_shorter_main=True), position=position) == expected


def test_a_segment_is_judged_to_the_end_of_the_budget_that_it_brings() -> None:
    limits = Limits(max_budget=1500, max_multiplier=0.95)
    peak_late = Table(positions=(0.0, 0.8, 1.0), values=(0.5, 1.0, 0.5))
    late = plan(Schedule(length=1500, body=peak_late), length=1300, budget=1500)

    assert code(late, limits) == "ABOVE_LIMIT"
    assert code(late.model_copy(update={"budget": None, "length": 800}), limits) is None
    assert code(longer(1500).model_copy(update={"length": 1301}), limits) == "BEYOND_BUDGET"
    # The old policy is zero from 1000 on, and nothing would be trained on the way to 1500.
    idle = plan(BASE, length=800, budget=1500)
    assert code(idle, Limits(max_budget=1500)) == "SHORTER_MAIN"


def test_only_a_main_segment_brings_a_budget() -> None:
    with pytest.raises(ValidationError, match="probe segment cannot change the budget"):
        plan(kind="probe", budget=1500)


@pytest.mark.parametrize(
    "document",
    [
        {"max_multiplier": 0},
        {"max_budget": 0},
        {"min_multiplier": -0.1},
        {"max_change_per_step": 1.0},
        {"max_probe_length": 0},
        {"max_multiplier": "NaN"},
        {"max_multiplier": float("inf")},
        {"max_lr": 1.0},
    ],
)
def test_limits_that_mean_nothing_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate(document)
