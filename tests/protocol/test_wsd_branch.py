"""One trunk and two decayed models, with the real controller and the real client."""

from pathlib import Path
from typing import Literal

import pacesetter
import pytest
import torch
from pacesetter.schedules import Schedule, Warmup
from torch import Tensor

from tests.faults.harness import ControllerProcess
from tests.protocol.training import Training
from tests.support.training import Noisy, Regression

STEPS = 200
BUDGETS = (60, 120)


def train(
    controller: ControllerProcess,
    folder: Path,
    *,
    steps: int = STEPS,
    budgets: tuple[int, ...] = (),
    guard: bool = False,
) -> tuple[dict[str, list[Tensor]], list[Tensor], pacesetter.run.result.Result]:
    """Return the weights handed over, those at the end, and the result."""
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    handed: dict[str, list[Tensor]] = {}

    def hand_over(name: str) -> None:
        handed[name] = [each.detach().clone() for each in model.parameters()]

    run = pacesetter.attach(
        model,
        optimizer,
        name="trunk",
        budget=pacesetter.Steps(steps),
        base=Schedule(length=steps, warmup=Warmup(length=10)),
        strategy="wsd_branch",
        strategy_parameters={"budgets": list(budgets), "guard": guard},
        on_branch=hand_over,
        url=controller.url,
        directory=folder,
        waiting_seconds=60.0,
    )
    for inputs, targets in run.batches(Regression()):
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss)
    result = run.finish()
    return handed, [each.detach().clone() for each in model.parameters()], result


def test_branches_are_handed_over_and_leave_no_trace_on_the_trunk(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    handed, final, result = train(controller, tmp_path / "branched", budgets=BUDGETS)
    assert sorted(handed) == ["budget-120", "budget-60"]
    assert result.ledger.branch_steps == 12 + 24
    assert result.ledger.main_steps == STEPS
    _, alone, _ = train(controller, tmp_path / "alone")
    for ours, theirs in zip(final, alone, strict=True):
        assert torch.equal(ours, theirs)


def test_a_branch_is_the_run_that_would_have_been_made_for_its_budget(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    handed, _, _ = train(controller, tmp_path / "branched", budgets=BUDGETS)
    _, final, result = train(controller, tmp_path / "own", steps=60)
    assert result.ledger.main_steps == 60
    for ours, theirs in zip(handed["budget-60"], final, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("rollback", ["memory", "none"])
def test_a_main_line_that_decays_in_place_hands_over_as_well(
    controller: ControllerProcess, tmp_path: Path, rollback: Literal["memory", "none"]
) -> None:
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    names: list[str] = []
    run = pacesetter.attach(
        model,
        optimizer,
        name="wsd_s",
        budget=pacesetter.Steps(STEPS),
        base=Schedule(length=STEPS, warmup=Warmup(length=10)),
        strategy="wsd_branch",
        strategy_parameters={"budgets": [100], "mode": "wsd_s", "guard": False},
        on_branch=names.append,
        rollback=rollback,
        url=controller.url,
        directory=tmp_path,
        waiting_seconds=60.0,
    )
    rates = []
    for inputs, targets in run.batches(Regression()):
        rates.append(optimizer.param_groups[0]["lr"])
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss)
    result = run.finish()
    assert result.ledger.branch_steps == 0
    assert len(names) == 1
    assert rates[70] == pytest.approx(0.05)
    assert rates[99] < 0.01
    assert rates[150] == pytest.approx(0.05)


def test_a_person_asks_for_a_model_in_the_middle_of_a_run(controller: ControllerProcess) -> None:
    """The branch hands a decayed model over, and the main line is that of a run without it, bit by bit."""
    names: list[str] = []
    asked = Training(controller, steps=400, strategy="fixed", on_branch=names.append)
    asked.step()
    seq = asked.override(kind="branch", over=15, by="ada") - 1
    asked.step_until(lambda: asked.acknowledgement(seq) is not None, most=300)
    asked.finish_training()
    result = asked.run.finish()
    assert names == [f"branch-{seq}"]
    assert 0 < result.ledger.branch_steps <= 15
    alone = Training(controller, steps=400, strategy="fixed")
    alone.finish_training()
    alone.run.finish()
    for ours, theirs in zip(asked.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert asked.main_line() == alone.main_line()


def test_branches_and_the_guard_share_a_main_line(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    """With the guard on, its snapshots and clauses change neither the trunk nor what is handed over."""
    watched, trunk, result = train(controller, tmp_path / "watched", budgets=BUDGETS, guard=True)
    bare, alone, _ = train(controller, tmp_path / "bare", budgets=BUDGETS)
    assert sorted(watched) == sorted(bare)
    assert result.fallbacks == 0
    for name in bare:
        for ours, theirs in zip(watched[name], bare[name], strict=True):
            assert torch.equal(ours, theirs)
    for ours, theirs in zip(trunk, alone, strict=True):
        assert torch.equal(ours, theirs)
