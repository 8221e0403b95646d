"""What holds for each family, every one drawn: as a scheduler, at its jumps, under the horizon tools."""

import io
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pacesetter.errors import ScheduleError
from pacesetter.schedules import KNOWN_FAMILIES, FloatArray, Joined, Schedule, parse_schedule
from pacesetter.schedules.horizon import branch_decay, extend, join, resume_trunk
from pacesetter.schedules.torch_scheduler import ScheduleLR, as_lambda, as_lightning
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from tests.client.schedules.drawn import RISING, schedules

every_family = pytest.mark.parametrize("name", KNOWN_FAMILIES)
LONGEST = 400
BASE = 0.3
BISECTIONS = 30
"""They leave 1e-11 of a gap, where the greatest difference in it is looked for."""


def sgd(lr: float) -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def followed(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, steps: int) -> list[float]:
    seen = []
    for _ in range(steps):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return seen


def through_a_file(state: dict[str, Any]) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def whole_positions(schedule: Schedule, end: int) -> FloatArray:
    return np.arange(float(schedule.zero), float(end + 1))


@every_family
@given(data=st.data())
@settings(deadline=None, max_examples=12, derandomize=True)
def test_a_document_gives_the_bits_of_its_schedule_in_every_form(
    name: str, data: st.DataObject
) -> None:
    schedule = data.draw(schedules(name=name))
    again = parse_schedule(schedule.model_dump_json())
    decoded = parse_schedule(schedule.model_dump(mode="json"))
    shares = data.draw(st.lists(st.floats(-0.1, 1.1), min_size=1, max_size=9))
    marks = [round(share * schedule.length) + schedule.zero for share in shares]
    positions = [*map(float, marks), *schedule.breakpoints()]
    evaluate, expected = again.evaluator(), [schedule.at(p) for p in positions]

    assert again == decoded == schedule
    assert [again.at(p) for p in positions] == expected
    assert [evaluate(p) for p in positions] == expected
    assert again.over(np.array(positions)).tolist() == schedule.over(np.array(positions)).tolist()


@every_family
@given(data=st.data())
@settings(deadline=None, max_examples=8, derandomize=True)
def test_every_scheduler_of_torch_has_the_bits_of_the_schedule_and_resumes_anywhere(
    name: str, data: st.DataObject
) -> None:
    schedule = data.draw(schedules(LONGEST, name=name))
    schedule = schedule.model_copy(update={"zero": -data.draw(st.integers(0, 50))})
    units, stop = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 30))
    absolute = schedule.unit == "absolute"
    base = 1.0 if absolute else BASE
    expected = [base * schedule.at(step * units) for step in range(stop + 5)]

    def made(kind: str) -> tuple[torch.optim.Optimizer, LRScheduler]:
        optimizer = sgd(BASE)
        if kind == "lightning":
            configured = as_lightning(optimizer, schedule, units_per_step=units)
            return optimizer, configured["lr_scheduler"]["scheduler"]
        if kind == "ours":
            return optimizer, ScheduleLR(optimizer, schedule, units_per_step=units)
        factor = as_lambda(schedule, units_per_step=units, base_lr=BASE if absolute else None)
        return optimizer, LambdaLR(optimizer, factor)

    for kind in ("ours", "lightning", "lambda"):
        optimizer, scheduler = made(kind)
        # A lambda has to divide an absolute rate by the base, and torch multiplies it again.
        close = 1e-15 if kind == "lambda" and absolute else 0.0
        assert followed(optimizer, scheduler, stop) == pytest.approx(
            expected[:stop], rel=close, abs=0
        )
        other, resumed = made(kind)
        other.load_state_dict(through_a_file(optimizer.state_dict()))
        resumed.load_state_dict(through_a_file(scheduler.state_dict()))
        assert followed(other, resumed, 5) == pytest.approx(expected[stop:], rel=close, abs=0)


@every_family
@given(data=st.data())
@settings(deadline=None, max_examples=8, derandomize=True)
def test_it_composes_with_warm_up_floor_and_peak_and_stays_within_them(
    name: str, data: st.DataObject
) -> None:
    schedule = data.draw(schedules(LONGEST, name=name))
    extent, peak, floor = schedule.extent, schedule.peak, schedule.floor
    positions = whole_positions(schedule, schedule.end)
    values = schedule.over(positions)
    after = slice(extent.warmup, None)
    x = (positions[after] - schedule.zero - extent.warmup) / extent.body
    shape = schedule.body.over(x, extent)

    np.testing.assert_allclose(
        values[after], peak * (floor + (1.0 - floor) * shape), rtol=1e-12, atol=0
    )
    assert shape.min() >= -1e-12
    assert shape.max() <= schedule.body.highest() * (1.0 + 1e-12)
    assert values.max() <= schedule.highest * (1.0 + 1e-12)
    assert (np.diff(values[: extent.warmup + 1]) >= -1e-12 * peak).all()


@every_family
@given(data=st.data())
@settings(deadline=None, max_examples=12, derandomize=True)
def test_it_jumps_only_at_its_breakpoints(name: str, data: st.DataObject) -> None:
    schedule = data.draw(schedules(LONGEST, name=name)).model_copy(update={"zero": 0, "peak": 1.0})
    marks = schedule.breakpoints()

    for left, right in pairwise(marks):
        # Whoever begins on a step begins a rounding before it, so the ends themselves are left out.
        inside = 1e-9 * schedule.length
        if right - left > 4 * inside:
            jump = greatest_jump(schedule, left + inside, right - inside)
            assert jump <= 1e-3 * schedule.highest, (left, right)


def greatest_jump(schedule: Schedule, left: float, right: float) -> float:
    """Return the difference over the smallest piece of a gap, always going on in the half that differs more."""
    grid = np.linspace(left, right, 129)
    steepest = int(np.argmax(np.abs(np.diff(schedule.over(grid)))))
    low, high = float(grid[steepest]), float(grid[steepest + 1])
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        first, centre, last = schedule.at(low), schedule.at(middle), schedule.at(high)
        low, high = (low, middle) if abs(centre - first) > abs(last - centre) else (middle, high)
    return abs(schedule.at(high) - schedule.at(low))


@pytest.mark.parametrize("name", [name for name in KNOWN_FAMILIES if name not in RISING])
@given(data=st.data())
@settings(deadline=None, max_examples=8, derandomize=True)
def test_a_warm_up_meets_the_shape(name: str, data: st.DataObject) -> None:
    schedule = data.draw(schedules(LONGEST, name=name))
    assume(schedule.warmup is not None)
    top = schedule.zero + schedule.extent.warmup

    slack = 1e-6 * schedule.highest
    assert schedule.at(top - 1e-7) == pytest.approx(schedule.at(top), rel=1e-6, abs=slack)


@every_family
@given(data=st.data())
@settings(deadline=None, max_examples=8, derandomize=True)
def test_a_longer_budget_keeps_the_past_and_ends_where_asked(
    name: str, data: st.DataObject
) -> None:
    schedule = data.draw(schedules(LONGEST, 8, name=name))
    at = schedule.zero + data.draw(st.integers(1, schedule.length - 1))
    longer = schedule.length + data.draw(st.integers(1, LONGEST))
    assume(schedule.at(at) > 0.0)
    extended = extend(schedule, longer, at)

    assert extended.end == schedule.zero + longer
    assert same_until(at, schedule, extended)
    assert parse_schedule(extended.model_dump_json()) == extended
    rest = extended.over(whole_positions(extended, extended.end))
    assert rest.min() >= 0.0
    assert rest.max() <= max(extended.highest, schedule.highest) * (1.0 + 1e-12)


@every_family
@given(data=st.data())
@settings(deadline=None, max_examples=8, derandomize=True)
def test_a_branch_and_its_trunk_keep_the_past_and_end_where_asked(
    name: str, data: st.DataObject
) -> None:
    trunk = data.draw(schedules(LONGEST, 8, name=name))
    at = trunk.zero + data.draw(st.integers(1, trunk.length - 3))
    tail, floor = data.draw(st.integers(2, LONGEST)), data.draw(st.floats(0.0, 1.0))
    assume(trunk.at(at) > 0.0)
    # A branch cuts off what has not come to its turn, pieces among it.
    assume(not isinstance(trunk.body, Joined) or trunk.zero + trunk.body.pieces[-1].start < at)
    branch = branch_decay(trunk, at, tail, floor=floor)

    assert branch.end == at + tail
    assert same_until(at, trunk, branch)
    assert branch.at(branch.end) == pytest.approx(floor * trunk.at(at), rel=1e-9, abs=1e-12)

    stands = at + 1
    jumped = resume_trunk(branch, stands, length=trunk.length, rewarmup=0)
    assert jumped.end == trunk.end
    assert same_until(stands - 1, branch, jumped)
    after = np.arange(float(stands), float(trunk.end + 1))
    np.testing.assert_allclose(jumped.over(after), trunk.over(after), rtol=1e-9, atol=1e-9)
    risen = resume_trunk(branch, stands, length=trunk.length)
    assert same_until(stands, branch, risen)
    assert risen.at(risen.end) == pytest.approx(trunk.at(trunk.end), rel=1e-9, abs=1e-12)


@every_family
@given(data=st.data())
@settings(deadline=None, max_examples=8, derandomize=True)
def test_a_join_is_continuous_where_declared_and_each_piece_where_it_is_in_force(
    name: str, data: st.DataObject
) -> None:
    first = data.draw(schedules(LONGEST, 8, name=name))
    at = first.zero + data.draw(st.integers(1, first.length - 1))
    level = first.at(at)
    second = Schedule.model_validate(
        {"zero": at, "length": 50, "peak": level, "unit": first.unit, "body": {"family": "rex"}}
    )
    joined = join(first, second, at)

    assert same_until(at - 1, first, joined)
    after = np.arange(float(at), float(at + 51))
    np.testing.assert_allclose(joined.over(after), second.over(after), rtol=1e-12, atol=1e-300)
    with_jump = second.model_copy(update={"peak": 2.0 * level + 1.0})
    with pytest.raises(ScheduleError, match="declare the seam a 'jump'"):
        join(first, with_jump, at)
    declared = join(first, with_jump, at, continuous=False)
    assert declared.at(at) == pytest.approx(with_jump.at(at), rel=1e-12)


def same_until(at: int, old: Schedule, new: Schedule) -> bool:
    past = whole_positions(old, at)
    return bool(np.allclose(new.over(past), old.over(past), rtol=1e-9, atol=1e-12 * old.peak))
