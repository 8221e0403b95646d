"""A real job in trouble: a poisoned batch, a learning rate that is too high, and no service to ask."""

import math
from typing import Any

import pacesetter
import pytest
import torch
from torch import nn

from tests.faults.harness import ControllerProcess

STEPS = 400
EVERY = 20
"""A twentieth of the budget: the interval of the guard's snapshots."""


class PoisonedBatches:
    """Batches around a line, a function of the position; those in ``poison`` are not finite."""

    def __init__(self, *poison: int) -> None:
        self.poison = poison
        self.taken: list[int] = []

    def batch_at(self, position: int) -> torch.Tensor:
        self.taken.append(position)
        generator = torch.Generator().manual_seed(position)
        batch = torch.randn(32, 16, generator=generator)
        return batch * math.nan if position in self.poison else batch


class GuardedTraining:
    """A small regression whose weights die of a bad batch."""

    def __init__(self, url: str, batches: PoisonedBatches, **options: Any) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 16))
        lr = options.pop("lr", 0.05)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        name = options.pop("external_id")
        settings: dict[str, Any] = {
            "budget": pacesetter.Steps(STEPS),
            "strategy": "fixed",
            "external_id": name,
            **options,
        }
        self.run = pacesetter.attach(self.model, optimizer, name=name, url=url, **settings)
        self.losses: list[tuple[int, float]] = []
        self.batches = batches

    def train(self) -> Any:
        for batch in self.run.batches(self.batches):
            position = self.run.position
            loss = (self.model(batch) - batch).square().mean()
            loss.backward()
            self.run.step(loss)
            self.losses.append((position, loss.item()))
        return self.run.finish()

    def is_finite(self) -> bool:
        return all(bool(each.isfinite().all()) for each in self.model.parameters())


def decisions(controller: ControllerProcess, name: str) -> list[dict[str, Any]]:
    job = controller.job_id(name)
    assert job is not None
    return [event["body"] for event in controller.events(job, "decision")]


def test_a_job_recovers_from_a_poisoned_batch_by_itself_and_skips_it(
    controller: ControllerProcess,
) -> None:
    batches = PoisonedBatches(250)
    training = GuardedTraining(controller.url, batches, external_id="poisoned")
    result = training.train()
    assert training.is_finite()
    assert training.losses[-1][1] < training.losses[0][1]
    assert [position for position, loss in training.losses if not math.isfinite(loss)] == [250]
    # Back to the snapshot at 240 or 220, and on with batch 251: never the poisoned one again.
    assert batches.taken.count(250) == 1
    undone = result.ledger.discarded_steps
    assert 1 <= undone <= 1.5 * EVERY + 1
    assert (result.ledger.main_steps, result.steps, result.position) == (STEPS, STEPS, STEPS)
    assert len(training.losses) == STEPS + undone
    guard = [each for each in decisions(controller, "poisoned") if "guard" in each["code"]]
    assert [each["code"] for each in guard] == ["guard_rewind"]
    assert guard[0]["text"].startswith("the loss is not finite at 251, back to 2")
    assert guard[0]["numbers"]["clause"] == "NON_FINITE"
    assert guard[0]["numbers"]["undone"] == undone


def test_a_learning_rate_that_is_too_high_is_cut_for_good(controller: ControllerProcess) -> None:
    training = GuardedTraining(controller.url, PoisonedBatches(), external_id="too-high", lr=20.0)
    result = training.train()
    assert training.is_finite()
    assert training.losses[-1][1] < 0.5 * training.losses[0][1]
    codes = [each["code"] for each in decisions(controller, "too-high") if "guard" in each["code"]]
    assert codes[:2] == ["guard_rewind", "guard_dip"]
    assert set(codes[2:]) == {"guard_cut"}
    assert result.position == STEPS
    ledger = result.ledger
    assert ledger.main_steps + ledger.discarded_steps == len(training.losses)
    # Steps that were lost in place are trained once; those trained twice stay within the overhead cap.
    assert len(training.losses) <= 1.15 * STEPS


def test_with_the_guard_off_a_poisoned_batch_is_the_end_of_the_model(
    controller: ControllerProcess,
) -> None:
    training = GuardedTraining(
        controller.url,
        PoisonedBatches(250),
        external_id="unguarded",
        strategy_parameters={"guard": False},
    )
    result = training.train()
    assert not training.is_finite()
    assert result.ledger.discarded_steps == 0
    assert not any("guard" in each["code"] for each in decisions(controller, "unguarded"))


@pytest.mark.filterwarnings("ignore")
def test_without_an_answer_the_client_goes_back_to_a_snapshot_of_its_own(
    controller: ControllerProcess,
) -> None:
    batches = PoisonedBatches(250)
    training = GuardedTraining(
        controller.url, batches, external_id="unanswered", waiting_seconds=0.0
    )
    result = training.train()
    assert training.is_finite()
    assert result.position == STEPS
    assert 1 <= result.ledger.discarded_steps <= 1.5 * EVERY + 1
