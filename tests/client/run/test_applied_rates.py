"""The learning rate of every group: written, read back, and left alone by everybody else."""

from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Acknowledgement, Notice

from tests.support.service import ScriptedTransport, after_end, constant, segment
from tests.support.training import Noisy, Regression, attach, start, train

MAIN = segment(1, 0, when="now", length=5)
PROBE = segment(2, 1, kind="probe", start=5, length=3, policy=constant(3.0), data="rewind")


def test_the_acknowledgement_says_what_each_group_showed() -> None:
    model = Noisy()
    optimizer = torch.optim.AdamW(
        [
            {"params": [model.layer.weight], "lr": 0.1},
            {"params": [model.layer.bias], "lr": 0.01, "name": "bias"},
        ]
    )
    later = segment(1, 0, when="now", length=20, policy=constant(0.5))
    transport = ScriptedTransport(segments=[later])
    run = attach(model, optimizer, transport)
    train(run, model)
    (answer,) = transport.of(Acknowledgement)
    shown = {group.group: group for group in answer.groups}
    assert set(shown) == {"optimizer/group0", "optimizer/bias"}
    assert shown["optimizer/group0"].lr_before == 0.1
    assert shown["optimizer/group0"].lr_announced == shown["optimizer/group0"].lr_after == 0.05
    assert shown["optimizer/bias"].lr_after == 0.005


def test_a_tensor_learning_rate_is_filled_in_place() -> None:
    model = Noisy()
    lr = torch.tensor(0.1, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, capturable=False, foreach=False)
    run = attach(
        model,
        optimizer,
        ScriptedTransport(segments=[segment(1, 0, when="now", policy=constant(2.0), length=20)]),
    )
    train(run, model)
    held = optimizer.param_groups[0]["lr"]
    assert isinstance(held, torch.Tensor)
    assert held.item() == 0.2


def test_a_learning_rate_that_cannot_be_read_back_is_an_alert() -> None:
    model = Noisy()
    lr = torch.tensor(0.1, dtype=torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, foreach=False)
    main = segment(1, 0, when="now", length=20, policy=constant(1.234567))
    transport = ScriptedTransport(segments=[main])
    run = attach(model, optimizer, transport)
    train(run, model)
    codes = {(notice.level, notice.code) for notice in transport.of(Notice)}
    assert ("alert", "LR_NOT_APPLIED") in codes


class Stale(torch.optim.SGD):
    """Steps at the learning rate it was made with, as a captured step would."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(parameter.grad, alpha=-0.1)


def test_a_step_that_used_an_old_learning_rate_is_an_alert() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 512), torch.nn.Linear(512, 1))
    optimizer = Stale(model.parameters(), lr=0.1)
    main = segment(1, 0, when="now", length=2, policy=constant(0.01))
    transport = ScriptedTransport(segments=[main])
    run = attach(model, optimizer, transport, budget=pacesetter.Steps(2))
    train(run, model)
    run.finish()
    (answer,) = transport.of(Acknowledgement)
    (group,) = answer.groups
    assert group.verification == "mismatch"
    assert group.lr_applied == pytest.approx(0.1, rel=1e-2)
    assert [notice.code for notice in transport.of(Notice)] == ["LR_NOT_APPLIED"]


def test_a_live_scheduler_is_named_at_its_first_move() -> None:
    run, model, optimizer = start(transport := ScriptedTransport())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    inputs, targets = Regression().batch_at(0)
    for _ in range(2):
        ((model(inputs) - targets) ** 2).mean().backward()
        if scheduler.last_epoch == 1:
            with pytest.raises(pacesetter.LearningRateConflict, match=r"lr_scheduler\.StepLR"):
                run.step(1.0)
            break
        run.step(1.0)
        scheduler.step()
    assert [notice.code for notice in transport.of(Notice)] == ["LR_CONFLICT"]


def test_a_loaded_optimizer_state_is_no_conflict() -> None:
    run, model, optimizer = start(ScriptedTransport())
    saved = optimizer.state_dict()
    saved["param_groups"][0]["lr"] = 0.004
    inputs, targets = Regression().batch_at(0)
    ((model(inputs) - targets) ** 2).mean().backward()
    run.step(1.0)
    optimizer.load_state_dict(saved)
    ((model(inputs) - targets) ** 2).mean().backward()
    assert run.step(1.0)
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("at", [2, 6])
def test_a_group_added_in_mid_run_is_told_once_and_left_alone(at: int) -> None:
    # Long enough for several reports, each of which looks for groups.
    rest = segment(3, 2, start=5, length=495)
    transport = ScriptedTransport(after_end({2: rest}), [MAIN, PROBE])
    run, model, optimizer = start(transport, budget=pacesetter.Steps(500))
    extra = torch.nn.Parameter(torch.ones(3))
    for inputs, targets in run.batches(Regression()):
        # At 6 a probe is on the way: the main line that it left has never seen the group.
        if run.position == at and len(optimizer.param_groups) == 1:
            optimizer.add_param_group({"params": [extra], "lr": 0.007})
        (((model(inputs) - targets) ** 2).mean() + extra.sum()).backward()
        run.step(1.0, tokens=8)
    assert run.finish().completed
    (notice,) = transport.of(Notice)
    assert (notice.code, notice.numbers) == ("GROUP_NOT_DRIVEN", {"group": "optimizer/group1"})
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.007]
    assert run.learning_rates().keys() == {"optimizer/group0"}
