"""A training job as a user would write it, run as a process of its own: deterministic, checkpointed, resumable.

It writes one JSON line an optimizer step (position, learning rate, loss, on the main line or not), saves its own
checkpoint at given main-line positions, and can stop at a gate until a file appears, so that a test decides what
happens when without sleeping. As one of several ranks it trains on the same batches as the others: their mean gradient
is then that of one process to the bit, and so is everything that follows from it.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pacesetter
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from tests.support.ranks import leave_group

GATE_SECONDS = 120.0


class Digits:
    """Batches of scikit-learn-like 8 x 8 blobs: a function of the position, so that any can be returned to."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.centres = torch.from_numpy(rng.normal(size=(10, 64)).astype(np.float32))

    def batch_at(self, position: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([1, position])
        labels = torch.from_numpy(rng.integers(0, 10, 32))
        noise = torch.from_numpy(rng.normal(size=(32, 64)).astype(np.float32))
        return self.centres[labels] + 2.0 * noise, labels


def build() -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a small perceptron and its optimizer, the same on every call."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


def wait_for(gate: Path) -> None:
    """Return once ``gate`` exists."""
    deadline = time.monotonic() + GATE_SECONDS
    while not gate.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"the gate {gate} never opened")
        time.sleep(0.005)


def wait_for_news(run: pacesetter.Run) -> None:
    """Return once a segment is pending or has arrived; what arrives first may be stale, so this is asked again."""
    if run._follower.pending is None and not run._transport.wait(GATE_SECONDS):
        raise SystemExit("no segment ever came")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--external-id", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--waiting", type=float, default=60.0)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--save-at", type=int, nargs="*", default=[])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--gate", type=str, nargs="*", default=[], help="step:file")
    parser.add_argument("--await-segment", type=int, help="wait for news before this step")
    parser.add_argument("--strategy", default="autolrs")
    parser.add_argument("--max-budget", type=int, help="how long others may make it")
    parser.add_argument("--rendezvous", type=Path, help="file by which several ranks meet")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    return parser.parse_args()


def as_rank(arguments: argparse.Namespace, model: nn.Module) -> nn.Module:
    """Return the model to train: with several ranks, wrapped so that they share their gradients."""
    if arguments.ranks == 1:
        return model
    dist.init_process_group(
        "gloo",
        init_method=f"file://{arguments.rendezvous}",
        rank=arguments.rank,
        world_size=arguments.ranks,
    )
    return DistributedDataParallel(model)


def attach(
    arguments: argparse.Namespace,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    resume: dict[str, Any] | None,
) -> pacesetter.Run:
    """Attach with few candidates, so that a job is over in seconds."""
    parameters = {"candidates": arguments.candidates, "min_multiplier": 0.1, "max_multiplier": 10.0}
    return pacesetter.attach(
        model,
        optimizer,
        name="fault-test",
        external_id=arguments.external_id,
        budget=pacesetter.Steps(arguments.steps),
        strategy=arguments.strategy,
        strategy_parameters=parameters if arguments.strategy == "autolrs" else None,
        limits=pacesetter.Limits(max_multiplier=10.0, max_budget=arguments.max_budget),
        waiting_seconds=arguments.waiting,
        resume=resume,
        seed=7,
    )


def main() -> None:
    """Train, alone or as one of several ranks."""
    torch.set_num_threads(1)
    train(parse())
    if dist.is_initialized():
        leave_group()


def train(arguments: argparse.Namespace) -> None:
    """Train to the end of the budget."""
    model, optimizer = build()
    resume = None
    if arguments.resume:
        saved = torch.load(arguments.checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        resume = json.loads(saved["run"])
    gates = {
        int(step): Path(file) for step, file in (gate.split(":", 1) for gate in arguments.gate)
    }
    trained = as_rank(arguments, model)
    run = attach(arguments, trained, optimizer, resume)
    step, saved_at, awaited_behind = 0, set[int](), -1
    with arguments.log.open("a", buffering=1) as log:
        for inputs, labels in run.batches(Digits()):
            if step in gates:
                wait_for(gates[step])
            if step == arguments.await_segment:
                awaited_behind = run._follower.running.seq
            if run._follower.running.seq == awaited_behind:
                wait_for_news(run)
            position, on_main = run.position, run.on_main_line
            if on_main and position in arguments.save_at and position not in saved_at:
                saved_at.add(position)
                if arguments.rank == 0:
                    save(arguments.checkpoint, model, optimizer, run)
            learning_rate = optimizer.param_groups[0]["lr"]
            loss = nn.functional.cross_entropy(trained(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            run.step(loss)
            row = {"step": step, "position": position, "lr": learning_rate, "main": on_main}
            log.write(json.dumps({**row, "loss": loss.item()}) + "\n")
            step += 1
        result = run.finish()
        log.write(json.dumps({"finished": True, "validation_loss": result.validation_loss}) + "\n")


def save(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, run: pacesetter.Run
) -> None:
    """Write the user's own checkpoint atomically, with the run's state in it."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "run": json.dumps(run.state_dict()),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


if __name__ == "__main__":
    main()
