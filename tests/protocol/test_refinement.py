"""A job whose short runs measure real gradient norms, with the real controller deciding what comes of them."""

from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.schedules import Constant, Schedule

from tests.faults.harness import ControllerProcess

STEPS, SHORT = 640, 80


class Regression:
    """Noisy linear regression by SGD, where a constant rate ends at a floor of noise."""

    def __init__(self, controller: ControllerProcess) -> None:
        torch.manual_seed(0)
        self.true = torch.randn(20)
        self.model = torch.nn.Linear(20, 1, bias=False)
        # At the solution: there is noise only, and a constant rate keeps the most of it.
        self.model.weight.data.copy_(self.true)
        self.run = pacesetter.attach(
            self.model,
            torch.optim.SGD(self.model.parameters(), lr=0.1),
            name="refined",
            external_id="refined-by-norms",
            budget=pacesetter.Steps(STEPS),
            base=Schedule(length=STEPS, body=Constant()),
            strategy="refinement",
            strategy_parameters={"share": 0.125},
            overhead_cap=0.25,
            statistics=("grad_norm",),
            validate=self.validate,
            url=controller.url,
        )

    def batch_at(self, position: int, size: int = 8) -> Any:
        """Return inputs and noisy targets: a function of the position."""
        generator = torch.Generator().manual_seed(position)
        inputs = torch.randn(size, 20, generator=generator)
        noise = torch.randn(size, generator=generator)
        return inputs, inputs @ self.true + noise

    def loss(self, batch: Any) -> torch.Tensor:
        """Return the mean squared error on a batch."""
        inputs, targets = batch
        error: torch.Tensor = self.model(inputs).squeeze(1) - targets
        return error.square().mean()

    def validate(self) -> float:
        """Return the error on data that are never trained on."""
        with torch.no_grad():
            return float(self.loss(self.batch_at(10**9, 2000)))

    def train(self) -> None:
        """Train to the end of the budget."""
        for batch in self.run.batches(self):
            loss = self.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            self.run.step(loss)


@pytest.fixture(scope="module")
def decisions(controller: ControllerProcess) -> dict[str, Any]:
    job = Regression(controller)
    job.train()
    result = job.run.finish()
    assert result.job is not None
    assert result.ledger.probe_steps == 2 * SHORT
    events = controller.events(result.job, "decision")
    return {event["body"]["code"]: event["body"] for event in events}


def test_the_norms_of_the_first_short_run_make_the_schedule(decisions: dict[str, Any]) -> None:
    assert decisions["refined"]["numbers"]["norms"] == SHORT


def test_against_a_constant_rate_it_wins_on_the_same_batches(decisions: dict[str, Any]) -> None:
    numbers = decisions["takes_refined"]["numbers"]
    assert numbers["validated"]
    assert numbers["gain"] > numbers["detectable"] > 0.0
    assert numbers["pairs"] == 16
