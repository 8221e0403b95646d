"""Schedules as schedulers of torch's."""

import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.errors import ConfigurationError, LearningRateConflict
from pacesetter.schedules import Linear, Schedule, Warmup, parse_schedule
from pacesetter.schedules.horizon import branch_decay, extend, resume_trunk
from pacesetter.schedules.torch_scheduler import ScheduleLR, as_lambda, as_lightning
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, LambdaLR, LinearLR, SequentialLR

LINE = Schedule(length=10, body=Linear())


def optimizer(*lrs: float | torch.Tensor) -> torch.optim.SGD:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1.0)


def rates(held: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in held.param_groups]


def steps(held: torch.optim.Optimizer, scheduler: Any, count: int) -> list[list[float]]:
    seen = []
    for _ in range(count):
        seen.append(rates(held))
        held.step()
        scheduler.step()
    return seen


def through_a_file(state: dict[str, Any]) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_every_group_follows_its_own_base() -> None:
    held = optimizer(0.1, 0.4)
    scheduler = ScheduleLR(held, LINE)
    seen = steps(held, scheduler, 13)

    expected = [max(0.0, 1.0 - step / 10) for step in range(13)]
    assert seen == [[0.1 * value, 0.4 * value] for value in expected]
    assert scheduler.get_last_lr() == [0.0, 0.0]
    assert scheduler.last_epoch == 13


def test_an_absolute_schedule_is_the_rate_of_every_group() -> None:
    held = optimizer(0.1, 0.4)
    absolute = LINE.model_copy(update={"unit": "absolute", "peak": 0.02})

    assert steps(held, ScheduleLR(held, absolute), 6)[5] == [0.01, 0.01]


def test_tokens_are_counted_by_the_step() -> None:
    held = optimizer(1.0)
    tokens = Schedule(length=10_000, body=Linear())

    seen = steps(held, ScheduleLR(held, tokens, units_per_step=1000), 4)
    assert seen == [[1.0], [0.9], [0.8], [0.7]]


def test_a_tensor_is_filled_in_place() -> None:
    lr = torch.tensor(0.5)
    held = optimizer(lr)
    held.param_groups[0]["lr"] = lr
    steps(held, ScheduleLR(held, LINE), 5)

    assert held.param_groups[0]["lr"] is lr
    assert float(lr) == 0.25


@pytest.mark.parametrize("order", ["before", "after", "never"])
def test_a_resumed_scheduler_goes_on_exactly(order: str) -> None:
    first = optimizer(0.1, 0.4)
    scheduler = ScheduleLR(first, LINE, units_per_step=1)
    steps(first, scheduler, 4)
    saved, saved_optimizer = through_a_file(scheduler.state_dict()), first.state_dict()
    second = optimizer(7.0, 7.0)
    if order == "before":
        second.load_state_dict(saved_optimizer)
    resumed = ScheduleLR(second, Schedule(length=3))
    resumed.load_state_dict(saved)
    if order == "after":
        second.load_state_dict(saved_optimizer)

    assert steps(second, resumed, 8) == steps(first, scheduler, 8)
    assert resumed.state_dict() == scheduler.state_dict()


def test_a_rolled_back_scheduler_sets_the_rate_of_then() -> None:
    held = optimizer(1.0)
    scheduler = ScheduleLR(held, LINE)
    steps(held, scheduler, 2)
    saved = scheduler.state_dict()
    steps(held, scheduler, 5)
    scheduler.load_state_dict(saved)

    assert steps(held, scheduler, 2) == [[0.8], [0.7]]


def test_a_rate_set_before_loading_is_no_conflict_and_one_set_after_is() -> None:
    state = ScheduleLR(optimizer(1.0), LINE).state_dict()
    held = optimizer(1.0)
    scheduler = ScheduleLR(held, LINE)
    held.param_groups[0]["lr"] = 0.3
    scheduler.load_state_dict(state)

    assert steps(held, scheduler, 2) == [[0.3], [0.9]]
    held.param_groups[0]["lr"] = 0.3
    with pytest.raises(LearningRateConflict, match=r"group 0 from 0.8 to 0.3 since"):
        scheduler.step()


def test_an_extended_schedule_is_followed_from_the_next_step_on() -> None:
    held = optimizer(1.0)
    scheduler = ScheduleLR(held, LINE)
    steps(held, scheduler, 5)
    scheduler.schedule = extend(LINE, 15, 5)

    assert np.ravel(steps(held, scheduler, 3)) == pytest.approx([0.5, 0.6, 8 / 15])


def test_a_state_of_other_groups_is_refused() -> None:
    state = ScheduleLR(optimizer(1.0, 1.0), LINE).state_dict()

    with pytest.raises(ConfigurationError, match="state is of 2 parameter groups"):
        ScheduleLR(optimizer(1.0), LINE).load_state_dict(state)


def test_a_group_added_later_is_told() -> None:
    held = optimizer(1.0)
    scheduler = ScheduleLR(held, LINE)
    held.step()
    held.add_param_group({"params": [torch.zeros(1)]})

    with pytest.raises(ConfigurationError, match="add every group before"):
        scheduler.step()


def test_a_chained_scheduler_is_refused_at_its_first_step() -> None:
    held = optimizer(1.0)
    other = ConstantLR(held, factor=0.5, total_iters=1)
    chained = ChainedScheduler([other, ScheduleLR(held, LINE)], optimizer=held)
    held.step()

    with pytest.raises(LearningRateConflict, match="group 0 from 1 to 2 since"):
        chained.step()


def test_in_sequence_it_counts_from_its_milestone_and_resumes() -> None:
    def made() -> tuple[torch.optim.SGD, SequentialLR]:
        held = optimizer(1.0)
        rise = LinearLR(held, start_factor=0.5, total_iters=2)
        return held, SequentialLR(held, [rise, ScheduleLR(held, LINE)], milestones=[3])

    first, whole = made()
    seen = np.ravel(steps(first, whole, 8))
    assert seen == pytest.approx([0.5, 0.75, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6])
    for stopped in (1, 3, 5):
        held, sequence = made()
        steps(held, sequence, stopped)
        other, resumed = made()
        resumed.load_state_dict(sequence.state_dict())
        other.load_state_dict(held.state_dict())
        assert np.ravel(steps(other, resumed, 3)) == pytest.approx(seen[stopped : stopped + 3])


def test_finished_in_a_sequence_it_leaves_the_rate_of_its_successor_alone() -> None:
    def made() -> tuple[torch.optim.SGD, SequentialLR]:
        held = optimizer(1.0)
        rest = ConstantLR(held, factor=0.5, total_iters=99)
        return held, SequentialLR(held, [ScheduleLR(held, LINE), rest], milestones=[3])

    held, sequence = made()
    steps(held, sequence, 5)
    other, resumed = made()
    other.load_state_dict(held.state_dict())
    resumed.load_state_dict(sequence.state_dict())

    assert steps(other, resumed, 2) == [[0.5], [0.5]]


@pytest.mark.parametrize("units", [0, -1])
def test_a_step_without_length_is_refused(units: int) -> None:
    with pytest.raises(ConfigurationError, match="never moves"):
        ScheduleLR(optimizer(1.0), LINE, units_per_step=units)


def test_the_lambda_survives_pickling_and_the_state_of_a_lambda_lr() -> None:
    held = optimizer(0.2)
    scheduler = LambdaLR(held, as_lambda(LINE, units_per_step=2))
    steps(held, scheduler, 2)
    other = optimizer(0.2)
    resumed = LambdaLR(other, pickle.loads(pickle.dumps(as_lambda(Schedule(length=5)))))
    resumed.load_state_dict(through_a_file(scheduler.state_dict()))
    other.load_state_dict(held.state_dict())

    assert steps(other, resumed, 3) == steps(held, scheduler, 3)
    assert scheduler.get_last_lr() == [0.0]


def test_an_absolute_lambda_is_divided_by_its_base() -> None:
    absolute = LINE.model_copy(update={"unit": "absolute", "peak": 0.02})

    assert as_lambda(absolute, base_lr=0.1)(5) == pytest.approx(0.1)
    with pytest.raises(ConfigurationError, match="give base_lr"):
        as_lambda(absolute)
    with pytest.raises(ConfigurationError, match="only there"):
        as_lambda(LINE, base_lr=0.1)
    with pytest.raises(ConfigurationError, match="cannot divide"):
        as_lambda(absolute, base_lr=0.0)


def test_lightning_gets_a_scheduler_stepped_at_each_step() -> None:
    held = optimizer(1.0)
    configured = as_lightning(held, LINE)

    assert configured["optimizer"] is held
    scheduler = configured["lr_scheduler"].pop("scheduler")
    assert isinstance(scheduler, ScheduleLR)
    assert configured["lr_scheduler"] == {"interval": "step", "frequency": 1}


FAMILIES: list[dict[str, Any]] = [
    {"family": name}
    for name in ("constant", "linear", "cosine", "polynomial", "step", "exponential", "rex", "wsd")
]


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    length = draw(st.integers(20, 400))
    schedule = Schedule(
        zero=draw(st.integers(-50, 0)),
        length=length,
        peak=draw(st.floats(0.01, 10.0)),
        floor=draw(st.floats(0.01, 1.0)),
        warmup=draw(st.sampled_from([None, Warmup(length=length // 10)])),
        body=draw(st.sampled_from(FAMILIES)),
    )
    at = schedule.zero + draw(st.integers(2, length - 1))
    tool = draw(st.sampled_from(["none", "extend", "branch", "resume"]))
    if tool == "extend":
        return extend(schedule, length + draw(st.integers(1, 400)), at)
    if tool == "none":
        return schedule
    branch = branch_decay(schedule, at, draw(st.integers(1, 50)), floor=draw(st.floats(0.0, 1.0)))
    if tool == "branch" or at + 3 >= schedule.end:
        return branch
    return resume_trunk(branch, at + 1)


@given(schedules(), st.integers(0, 60), st.integers(1, 9))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_any_schedule_is_the_same_as_json_at_once_and_as_a_scheduler_resumed_anywhere(
    schedule: Schedule, stop: int, units: int
) -> None:
    again = parse_schedule(schedule.model_dump_json())
    assert again == schedule
    evaluate = again.evaluator()
    expected = [[0.3 * evaluate(step * units)] for step in range(stop + 5)]
    held = optimizer(0.3)
    scheduler = ScheduleLR(held, schedule, units_per_step=units)
    assert steps(held, scheduler, stop) == expected[:stop]
    other = optimizer(0.9)
    resumed = ScheduleLR(other, LINE)
    resumed.load_state_dict(scheduler.state_dict())

    assert steps(other, resumed, 5) == expected[stop:]
    positions = np.arange(float(stop + 5)) * units
    np.testing.assert_allclose(
        0.3 * schedule.over(positions), np.ravel(expected), rtol=1e-12, atol=1e-12
    )


@st.composite
def changes(draw: st.DrawFn) -> tuple[Schedule, Schedule, int]:
    schedule = draw(schedules())
    at = schedule.zero + draw(st.integers(2, schedule.length - 1))
    if draw(st.booleans()) and schedule.at(at) > 0.0:
        return schedule, extend(schedule, schedule.length + draw(st.integers(1, 400)), at), at
    if schedule.at(at) == 0.0:
        return schedule, schedule, at
    branch = branch_decay(schedule, at, draw(st.integers(2, 50)), floor=draw(st.floats(0.0, 1.0)))
    if draw(st.booleans()) or at + 4 >= schedule.end:
        return schedule, branch, at
    return branch, resume_trunk(branch, at + 2), at + 2


@given(changes())
@settings(deadline=None, max_examples=100, derandomize=True)
def test_a_changed_horizon_keeps_the_past_is_continuous_and_stays_below_the_peak(
    change: tuple[Schedule, Schedule, int],
) -> None:
    old, new, at = change
    past = np.arange(float(old.zero), float(at + 1))
    highest = max(old.over(np.arange(float(old.zero), float(old.end + 1))))

    np.testing.assert_allclose(new.over(past), old.over(past), rtol=1e-12, atol=1e-12)
    values = new.over(np.arange(float(new.zero), float(new.end + 1)))
    assert values.min() >= 0.0
    assert values.max() <= max(highest, new.peak) * (1.0 + 1e-12)
