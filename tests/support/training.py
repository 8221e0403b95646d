"""Tiny trainings: a linear regression whose batches are a function of the position."""

from typing import Any

import pacesetter
import torch
from pacesetter.schedules import Constant, Schedule
from torch import Tensor, nn

from tests.support.service import ScriptedTransport

FEATURES = 4


class Regression:
    """Batches by position, so that any can be returned to."""

    def batch_at(self, position: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(position)
        inputs = torch.randn(8, FEATURES, generator=generator)
        return inputs, inputs.sum(dim=1, keepdim=True)


class Noisy(nn.Module):
    """A linear layer with dropout, so that the random state matters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(FEATURES, 1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.layer(self.dropout(inputs))
        return out


def attach(
    model: nn.Module,
    optimizer: Any,
    transport: ScriptedTransport,
    *,
    budget: pacesetter.Steps | pacesetter.Tokens | None = None,
    **settings: Any,
) -> pacesetter.Run:
    """Attach with a constant base schedule, a short wait and limits that allow anything up to 100 times the base."""
    total = (budget or pacesetter.Steps(20)).total
    defaults: dict[str, Any] = {
        "name": "test",
        "external_id": "test",
        "base": Schedule(length=total, body=Constant()),
        "limits": pacesetter.Limits(max_multiplier=100.0),
        "waiting_seconds": 0.0,
    }
    return pacesetter.attach(
        model,
        optimizer,
        budget=budget or pacesetter.Steps(20),
        transport=transport,
        **{**defaults, **settings},
    )


def start(
    transport: ScriptedTransport, **settings: Any
) -> tuple[pacesetter.Run, Noisy, torch.optim.SGD]:
    """Attach a new model under SGD with momentum at 0.1."""
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return attach(model, optimizer, transport, **settings), model, optimizer


def train(run: pacesetter.Run, model: nn.Module, data: Any = None) -> list[dict[str, Any]]:
    """Train to the end of the budget; return a row a step: position, on the main line or not, lr, loss."""
    rows = []
    for inputs, targets in run.batches(data or Regression()):
        row: dict[str, Any] = {
            "position": run.position,
            "main": run.on_main_line,
            "lr": next(iter(run.learning_rates().values())),
        }
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss, tokens=inputs.shape[0])
        rows.append({**row, "loss": loss.item()})
    return rows
