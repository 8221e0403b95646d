"""A training with three parameter groups in two optimizers, attached to a real controller."""

import uuid
from collections.abc import Callable
from typing import Any

import pacesetter
import torch
from torch import nn

from tests.faults.harness import ControllerProcess

BASE = {"body": 1e-2, "head": 3e-3, "bias": 1e-1}


class Batches:
    """Batches of noise around a line: a function of the position."""

    def batch_at(self, position: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(position)
        return torch.randn(32, 64, generator=generator)


class Training:
    """A model with three parameter groups in two optimizers, attached to a real controller."""

    def __init__(self, controller: ControllerProcess, steps: int = 400, **options: Any) -> None:
        torch.manual_seed(0)
        self.controller = controller
        self.external_id = str(options.pop("external_id", uuid.uuid4()))
        self.model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))
        self.rows: list[tuple[int, bool, dict[str, float], float]] = []
        body, head = self.model[0], self.model[2]
        self.adam = torch.optim.AdamW(
            [
                {"params": [body.weight], "lr": BASE["body"], "name": "body"},
                {"params": [head.weight], "lr": BASE["head"], "name": "head"},
            ]
        )
        self.sgd = torch.optim.SGD(
            [{"params": [body.bias, head.bias], "lr": BASE["bias"], "name": "bias"}], lr=0.1
        )
        self.run = pacesetter.attach(
            self.model,
            [self.adam, self.sgd],
            name="protocol-test",
            external_id=self.external_id,
            budget=pacesetter.Steps(steps),
            **{"strategy": "fixed", "url": controller.url, **options},
        )
        self.batches = iter(self.run.batches(Batches()))

    @property
    def job(self) -> str:
        job = self.controller.job_id(self.external_id)
        assert job is not None
        return job

    def learning_rates(self) -> dict[str, float]:
        groups = [*self.adam.param_groups, *self.sgd.param_groups]
        return {group["name"]: float(group["lr"]) for group in groups}

    def step(self, spoil: float = 1.0) -> None:
        """Take one step; ``spoil`` multiplies the loss that is reported, not the gradient."""
        batch = next(self.batches)
        loss = (self.model(batch) - batch).square().mean()
        loss.backward()
        run, before = self.run, (self.run.position, self.run.on_main_line, self.learning_rates())
        run.step(loss.detach() * spoil)
        self.rows.append((*before, loss.item()))

    def main_line(self) -> dict[int, float]:
        """Return the rate of the first group at every main-line position taken so far."""
        return {position: rates["body"] for position, on_main, rates, _ in self.rows if on_main}

    def finish_training(self) -> None:
        """Step to the end of the budget."""
        while not self.run.done:
            self.step()

    def segments(self) -> list[dict[str, Any]]:
        """Return what makes up each segment that was sent, oldest first."""
        page = self.controller.get(f"/v1/jobs/{self.job}/segments", after=0, wait=0)
        keys = ("seq", "after", "when", "kind", "start", "length", "policy", "data")
        return [{key: segment[key] for key in keys} for segment in page["segments"]]

    def step_until(self, condition: Callable[[], bool], most: int) -> None:
        """Take steps until ``condition`` holds, each one paced by a look at the service."""
        for _ in range(most):
            if condition():
                return
            self.step()
        raise AssertionError(f"still not so after {most} steps")

    def override(self, **body: Any) -> int:
        reply = self.controller.api.post(f"/v1/jobs/{self.job}/overrides", json=body)
        assert reply.status_code == 201, reply.text
        return int(reply.json()["segments"][-1])

    def acknowledgement(self, seq: int) -> dict[str, Any] | None:
        """Return the acknowledgement of a segment once the service has it."""
        events = self.controller.events(self.job, "acknowledgement")
        return next((event["body"] for event in events if event["segment"] == seq), None)
