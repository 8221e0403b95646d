"""The small parts of the run loop, one by one."""

import math
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from pacesetter.errors import ConfigurationError, StateMismatch
from pacesetter.protocol import StopIfAboveFirst, StopIfAverageAbove, StopIfNonFinite
from pacesetter.run.conflicts import likely_schedulers
from pacesetter.run.ledger import Ledger
from pacesetter.run.rates import LearningRates
from pacesetter.run.rows import Rows, Scalar
from pacesetter.run.steadiness import BatchSize, ClipRate
from pacesetter.run.stopping import Clauses, LossWatch
from pacesetter.run.validating import Validation
from pacesetter.schedules import Constant, Linear, Schedule
from torch import nn

NAN = float("nan")


def sgd(*lrs: float) -> torch.optim.SGD:
    groups = [{"params": [nn.Parameter(torch.zeros(2))], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups)


# -- stop clauses --


@pytest.mark.parametrize("loss", [NAN, math.inf, -math.inf])
def test_any_non_finite_loss_fires(loss: float) -> None:
    clauses = Clauses([StopIfNonFinite()])
    assert clauses.judge(1e30) is None
    assert clauses.judge(loss) == "NON_FINITE"


def test_above_first_is_relative_to_the_first_finite_loss() -> None:
    clauses = Clauses([StopIfAboveFirst(ratio=1.5)])
    assert [clauses.judge(loss) for loss in (NAN, 2.0, 3.0, 3.1)] == [
        None,
        None,
        None,
        "ABOVE_FIRST",
    ]


def test_above_first_lets_a_negative_loss_rise_by_the_same_amount() -> None:
    clauses = Clauses([StopIfAboveFirst(ratio=1.5)])
    assert [clauses.judge(loss) for loss in (-2.0, -1.1, -0.9)] == [None, None, "ABOVE_FIRST"]


def test_nan_is_above_every_bound() -> None:
    clauses = Clauses([StopIfAboveFirst(ratio=1.5)])
    clauses.judge(1.0)
    assert clauses.judge(NAN) == "ABOVE_FIRST"
    assert Clauses([StopIfAverageAbove(bound=1.0)]).judge(NAN) == "AVERAGE_ABOVE"


def test_the_average_forgets_at_its_decay() -> None:
    clauses = Clauses([StopIfAverageAbove(bound=2.0, decay=0.5)])
    # 1.0, then (1 + 2.5) / 2 = 1.75, then (1.75 + 2.5) / 2 = 2.125
    assert [clauses.judge(loss) for loss in (1.0, 2.5, 2.5)] == [None, None, "AVERAGE_ABOVE"]


def test_losses_come_out_exactly_the_lag_later() -> None:
    watch = LossWatch(3)
    losses = [torch.tensor(float(step)) for step in range(6)]
    assert [watch.push(loss) for loss in losses] == [None, None, None, 0.0, 1.0, 2.0]
    assert watch.drain() == [3.0, 4.0, 5.0]
    assert watch.drain() == []


def test_a_loss_is_kept_as_it_was_when_pushed() -> None:
    watch = LossWatch(1)
    buffer = torch.tensor(1.0)
    watch.push(buffer)
    buffer.fill_(9.0)
    assert watch.push(buffer) == 1.0


# -- rows --


def row(
    position: int, loss: Scalar, tokens: int | None = None, **measured: Scalar
) -> tuple[int, int, Scalar, float, float, int | None, dict[str, Scalar]]:
    return position, position + 1, loss, 0.5, 2.0, tokens, measured


def test_rows_become_columns_with_nulls_where_nothing_was_measured() -> None:
    rows = Rows(on_device=True)
    rows.add(row(0, torch.tensor(1.5)))
    rows.add(row(1, torch.tensor(2.5, requires_grad=True), 8, norm=4.0))
    rows.add(row(2, 0.5, norm=torch.tensor(3.0)))
    assert len(rows) == 3
    assert rows.take()() == {
        "position": [0, 1, 2],
        "step": [1, 2, 3],
        "loss": [1.5, 2.5, 0.5],
        "lr": [0.5] * 3,
        "multiplier": [2.0] * 3,
        "tokens": [None, 8, None],
        "norm": [None, 4.0, 3.0],
    }
    assert rows.take()() == {}


@pytest.mark.parametrize("on_device", [False, True])
def test_every_so_many_rows_and_the_last_of_a_segment_are_reported(on_device: bool) -> None:
    rows = Rows(on_device=on_device)
    rows.begin(3)
    for position in range(8):
        rows.add(row(position, float(position)))
    rows.close()
    rows.close()
    rows.begin(1)
    rows.add(row(8, 8.0))
    columns = rows.take()()
    assert (columns["position"], columns["loss"]) == ([2, 5, 7, 8], [2.0, 5.0, 7.0, 8.0])
    assert "tokens" not in columns


def test_a_report_keeps_its_values_while_the_next_rows_are_written() -> None:
    rows = Rows(on_device=True)
    losses = [torch.tensor(float(step)) for step in range(400)]
    reports = []
    for step, loss in enumerate(losses):
        rows.add(row(step, loss))
        loss.fill_(NAN)
        if step % 200 == 199:
            reports.append(rows.take())
    resolved: list[float | None] = []

    def send() -> None:
        for report in reports:
            resolved.extend(report()["loss"])

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    assert resolved == [float(step) for step in range(400)]


# -- learning rates --


def test_ratios_between_groups_survive_and_an_absolute_policy_sets_all_alike() -> None:
    optimizer = sgd(0.1, 0.02)
    rates = LearningRates({"optimizer": optimizer})
    rates.follow(Schedule(length=10, body=Linear()), "all", main=True)
    rates.write(5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.01]
    rates.follow(Schedule(length=10, peak=0.3, unit="absolute", body=Constant()), "all", main=True)
    rates.write(5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3]
    assert rates.multipliers() == pytest.approx([3.0, 15.0])


def test_a_control_set_is_driven_alone_and_a_probe_s_policy_does_not_stay() -> None:
    optimizer = sgd(0.1, 0.1)
    rates = LearningRates({"optimizer": optimizer}, {"optimizer/group1": "head"})
    rates.follow(Schedule(length=10, body=Constant()), "all", main=True)
    rates.follow(Schedule(length=10, peak=2.0, body=Constant()), ("head",), main=False)
    rates.write(0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]
    rates.follow(Schedule(length=10, peak=0.5, body=Constant()), ("all",), main=True)
    rates.write(0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.1]


def test_several_optimizers_have_groups_of_stable_names() -> None:
    rates = LearningRates({"body": sgd(0.1, 0.2), "head": sgd(0.3)})
    assert rates.base_lrs == {"body/group0": 0.1, "body/group1": 0.2, "head/group0": 0.3}


def test_a_group_at_zero_says_that_a_scheduler_may_have_set_it() -> None:
    with pytest.raises(ConfigurationError, match="warm-up sets 0"):
        LearningRates({"optimizer": sgd(0.0)})


def test_an_unknown_control_names_the_groups_there_are() -> None:
    with pytest.raises(ConfigurationError, match="optimizer/group0"):
        LearningRates({"optimizer": sgd(0.1)}, {"nowhere": "head"})


def test_base_rates_of_other_groups_are_refused() -> None:
    with pytest.raises(StateMismatch, match="same optimizers"):
        LearningRates({"optimizer": sgd(0.1)}).restore_base_lrs({"optimizer/group7": 0.1})


def test_only_a_live_scheduler_of_this_optimizer_is_suspected() -> None:
    mine, other = sgd(0.1), sgd(0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(mine, 10)
    assert likely_schedulers(mine) == ["torch.optim.lr_scheduler.CosineAnnealingLR"]
    assert likely_schedulers(other) == []
    assert scheduler.last_epoch == 0


# -- figures --


def test_overhead_is_not_charged_to_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([0.0, 1.0, 6.0])
    monkeypatch.setattr("pacesetter.run.ledger.time.perf_counter", lambda: next(readings))
    ledger = Ledger()
    with ledger.spending("validation"):
        pass
    ledger.count("main", 8, 8.0)
    totals = ledger.totals()
    assert (totals.main_steps, totals.main_tokens) == (1, 8)
    assert (totals.validation_seconds, totals.main_seconds) == (5.0, 3.0)


def test_a_short_last_batch_is_no_change_of_the_batch_size() -> None:
    size = BatchSize()
    sizes = [100, 100, 30, 100, 105, 200, 200, 200, 200, 200, 200]
    changes = [size.changed(tokens) for tokens in sizes]
    assert [change for change in changes if change] == [(100, 200)]
    assert changes[9] == (100, 200)


def test_the_clip_rate_counts_flags_on_the_device() -> None:
    rate = ClipRate()
    assert rate.value() is None
    for flag in (True, False, True, True):
        rate.count(torch.tensor(flag))
    rate.count(None)
    assert rate.value() == 0.75


def test_validation_restores_modes_and_random_state_even_when_it_fails() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    model[1].eval()

    def validate() -> float:
        model.train()
        np.random.rand(3)
        torch.rand(3)
        raise OSError("no validation data")

    torch.manual_seed(3)
    np.random.seed(3)
    expected = (torch.get_rng_state(), np.random.get_state(legacy=False))
    with pytest.raises(OSError, match="no validation data"):
        Validation(validate, [model]).loss()
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert str(np.random.get_state(legacy=False)) == str(expected[1])
    assert [model.training, model[0].training, model[1].training] == [True, True, False]


def test_the_protocol_is_imported_without_torch() -> None:
    code = "import sys, pacesetter, pacesetter.protocol; assert 'torch' not in sys.modules; pacesetter.Steps"
    code += "; assert 'torch' in sys.modules"
    code += "; assert 'torch.distributed.fsdp' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
