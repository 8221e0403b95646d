"""A training on the text of Python's library as a process of its own; it logs one JSON line an optimizer step.

Four small models, each with its own optimizer, strategy and seed. Training goes as fast as it can but never beyond a
declared position before the answer to it is here, as in a job whose steps take longer than planning does: what a
strategy decides then depends on what was measured and on nothing else.
"""

import argparse
import ast
import inspect
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pacesetter
import torch
from torch import Tensor, nn
from torch.nn import functional

from demo.model import ByteTransformer
from demo.text import Windows, to_tensor
from tests.faults.job import wait_for

WAITING_SECONDS = 240.0
"""So long that a slow machine never makes a job go on alone."""
GATED_STEP = 1
WIDTH, CONTEXT, BATCH = 16, 16, 8


class Next(nn.Module):
    """Predicts the next byte from ``body`` over the embeddings of those before it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(256, WIDTH), body
        self.readout = nn.Linear(WIDTH, 256)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a byte of windows [batch, time + 1]."""
        scores = self.readout(self.body(self.embed(windows[:, :-1])))
        return functional.cross_entropy(scores.flatten(0, 1), windows[:, 1:].flatten())


@dataclass(frozen=True)
class Setting:
    """One of the four trainings."""

    build: Callable[[], nn.Module]
    optimizer: Callable[[Any], torch.optim.Optimizer]
    strategy: str
    steps: int
    seed: int
    parameters: dict[str, Any] = field(default_factory=dict)


HORIZON = {
    "objective": "horizon",
    "lr_uncertainty": 3.0,
    "keep_share": 0.15,
    "win_probability": 0.6,
    "decide_at": [0.2, 0.5],
}
"""Probes are bought at both places, and some of them change the schedule."""
SETTINGS = {
    "bigram": Setting(
        lambda: Next(nn.Identity()),
        lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
        "zero_tuning",
        steps=1000,
        seed=1,
    ),
    "perceptron": Setting(
        lambda: Next(nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, WIDTH))),
        lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
        "zero_tuning",
        steps=1000,
        seed=2,
    ),
    "layer": Setting(
        lambda: Next(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())),
        lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        "autolrs",
        steps=400,
        seed=3,
        parameters=HORIZON,
    ),
    "transformer": Setting(
        lambda: ByteTransformer(WIDTH, depth=1, heads=2, context=CONTEXT),
        lambda parameters: torch.optim.AdamW(parameters, lr=3e-3),
        "autolrs",
        steps=400,
        seed=4,
        parameters=HORIZON,
    ),
}


@cache
def text() -> Tensor:
    """Return a few long modules as bytes: reading the whole library would take longer than the training."""
    modules = (argparse, ast, inspect, typing)
    return to_tensor("".join(inspect.getsource(module) for module in modules).encode())


def wait_for_answer(run: pacesetter.Run) -> None:
    """Return once the strategy has answered the end of the main segment that runs, if it has ended."""
    follower = run._follower
    ended = follower.on_main_line and follower.running.end <= run.position < follower.total
    if ended and follower.pending is None and not run._transport.wait(WAITING_SECONDS):
        raise SystemExit(f"no segment came at position {run.position}")


def train(name: str, url: str, log: Path, gate: Path) -> None:
    """Train to the end of the budget."""
    setting = SETTINGS[name]
    torch.manual_seed(setting.seed)
    model = setting.build()
    optimizer = setting.optimizer(model.parameters())
    run = pacesetter.attach(
        model,
        optimizer,
        name="text",
        external_id=name,
        url=url,
        budget=pacesetter.Steps(setting.steps),
        strategy=setting.strategy,
        strategy_parameters=setting.parameters,
        seed=setting.seed,
        waiting_seconds=WAITING_SECONDS,
        register_seconds=WAITING_SECONDS,
    )
    with log.open("w") as lines:
        for step, batch in enumerate(run.batches(Windows(text(), BATCH, CONTEXT, setting.seed))):
            if step == GATED_STEP:
                wait_for(gate)
            wait_for_answer(run)
            row = {"position": run.position, "main": run.on_main_line}
            row |= {"segment": run._follower.running.seq, "lr": optimizer.param_groups[0]["lr"]}
            loss = model(batch)
            loss.backward()
            run.step(loss)
            lines.write(json.dumps({**row, "loss": loss.item()}) + "\n")
    result = run.finish()
    if result.fallbacks or result.unsent_records:
        raise SystemExit(f"the job had to go on alone: {result}")


def main() -> None:
    """Train the jobs that are named, one after the other, each with the service that it names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", nargs=2, action="append", required=True, help="name and URL")
    parser.add_argument("--folder", type=Path, required=True, help="where each logs its steps")
    parser.add_argument("--gate", type=Path, required=True, help="file that lets training go on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, url in arguments.job:
        train(name, url, arguments.folder / f"{name}.jsonl", arguments.gate)


if __name__ == "__main__":
    main()
