"""Code of an operator's own, as the trials of these tests name it."""

import math
import os
import random
import signal
import time

import numpy as np
import pacesetter
import torch
from pacesetter.schedules import Schedule
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.running import RunningTrial


def quadratic(trial: RunningTrial) -> float:
    """Two steps down a parabola."""
    lr = float(trial.parameters["lr"])
    x = 1.0
    for step in (1, 2):
        x -= lr * 2.0 * x
        trial.report(step, loss=x * x, lr=lr, tokens=8.0, flops=100.0)
    return x * x


def broken(trial: RunningTrial) -> Outcome:
    """Divides by zero after a step."""
    trial.report(1, loss=1.0)
    return Outcome(loss=1.0 / (trial.attempt - trial.attempt))


def reports_twice(trial: RunningTrial) -> Outcome:
    """Reports one step two times."""
    trial.report(10, loss=1.0)
    trial.report(10, loss=2.0)
    return Outcome(loss=2.0)


def swallows(trial: RunningTrial) -> Outcome:
    """Catches whatever its report raises, for ever."""
    step = 0
    while True:
        step += 1
        try:
            trial.report(step, loss=1.0)
        except Exception:
            continue
        time.sleep(0.01)


def silent(trial: RunningTrial) -> Outcome:
    """Reports one step and then nothing more, at its first attempt."""
    trial.report(1, loss=1.0)
    if trial.attempt == 1:
        time.sleep(3600.0)
    return Outcome(loss=float(trial.attempt))


def thinks(trial: RunningTrial) -> Outcome:
    """Says for six seconds after its first report that it gets on; returns its attempt."""
    trial.report(1, loss=1.0)
    for _ in range(60):
        time.sleep(0.1)
        trial.alive()
    return Outcome(loss=float(trial.attempt))


def killed(trial: RunningTrial) -> Outcome:
    """Ends as the system's out-of-memory killer would end it, at its first attempt."""
    trial.report(1, loss=1.0)
    if trial.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(loss=float(trial.attempt))


def vanishes(trial: RunningTrial) -> Outcome:
    """Ends its process."""
    os._exit(7)


def greedy(trial: RunningTrial) -> Outcome:
    """Wants more memory than there is."""
    return Outcome(loss=float(len(bytearray(1 << 60))))


def exits(trial: RunningTrial) -> Outcome:
    """Ends the interpreter, as a script does."""
    raise SystemExit("no data here")


def wordy(trial: RunningTrial) -> str:
    """Returns no number."""
    return "fine"


def misnamed(trial: RunningTrial) -> Outcome:
    """Returns a metric whose name no controller takes."""
    return Outcome(loss=1.0, metrics={"accuracy\n": 1.0})


def overflows(trial: RunningTrial) -> Outcome:
    """Reports a loss that is no number."""
    trial.report(1, loss=3.0, tokens=4.0)
    trial.report(2, loss=float("inf"), tokens=4.0)
    raise AssertionError("a trial that diverged goes on")


def slow(trial: RunningTrial) -> Outcome:
    """Steps of 50 ms, as many as it is asked for, kept every 5; says who did how many."""
    state = trial.restore() or {"done": 0, "attempts": []}
    attempts = [*state["attempts"], trial.attempt]
    for step in range(state["done"] + 1, int(trial.parameters["steps"]) + 1):
        time.sleep(0.05)
        trial.report(step, loss=1.0 / step, tokens=1.0)
        if step % 5 == 0:
            trial.checkpoint({"done": step, "attempts": attempts})
    return Outcome(loss=float(trial.attempt), metrics={"begun": float(len(attempts))})


def priority(trial: RunningTrial) -> float:
    """Returns how far its process lets others go first."""
    return float(os.nice(0))


def draws(trial: RunningTrial) -> Outcome:
    """Returns what each random generator gives first."""
    import torch

    return Outcome(
        loss=0.0,
        metrics={
            "python": random.random(),
            "numpy": float(np.random.random()),
            "torch": float(torch.rand(())),
        },
    )


def bowl(trial: RunningTrial) -> Outcome:
    """End with a loss that is lowest at a rate of 2^-9, whatever the steps."""
    lr, steps = float(trial.parameters["lr"]), int(trial.parameters["steps"])
    loss = 2.0 * math.exp(0.2 * (math.log2(lr) + 9.0) ** 2)
    trial.report(steps, loss=loss, lr=lr, tokens=32.0 * steps, flops=1e6 * steps)
    return Outcome(loss=loss)


def followed(trial: RunningTrial) -> Outcome:
    """Trains as a job until somebody changes its rate; its loss is the multiplier by then."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    base = Schedule.model_validate({"length": 100_000, "body": {"family": "constant"}})
    run = trial.attach(model, optimizer, budget=pacesetter.Steps(100_000), base=base)
    step = 0
    while optimizer.param_groups[0]["lr"] == 0.5:
        step += 1
        loss = model(torch.ones(1, 1)).square().sum()
        loss.backward()
        run.step(loss.detach())
        trial.report(step, loss=loss.item())
        time.sleep(0.005)
    return Outcome(loss=optimizer.param_groups[0]["lr"] / 0.5)


def resumed(trial: RunningTrial) -> Outcome:
    """Trains 200 steps as a job from whatever was kept, slowly at its first attempt."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    kept = trial.restore() or {"done": 0, "run": None}
    if kept["done"]:
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
    run = trial.attach(model, optimizer, budget=pacesetter.Steps(200), resume=kept["run"])
    loss = torch.zeros(())
    for step in range(kept["done"], 200):
        batch = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        loss = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
        torch.autograd.backward(loss)
        run.step(loss.detach())
        trial.report(step + 1, loss=loss.item())
        if (step + 1) % 10 == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            trial.checkpoint({**state, "done": step + 1, "run": run.state_dict()})
        if trial.attempt == 1:
            time.sleep(0.02)
    return Outcome(loss=loss.item())


def checks(trial: RunningTrial) -> Outcome:
    """Compares a linear net in muP over widths where it is asked to, and trains nothing else."""
    from pacesetter import mup

    if not trial.coordinates:
        return Outcome(loss=1.0)
    torch.manual_seed(0)
    batches = torch.randn(4, 32, 8)

    def make(width: int) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Linear(8, width, bias=False), torch.nn.Linear(width, 1, bias=False)
        )

    check = mup.coordinate_check(
        make,
        trial.coordinates,
        loss=lambda model, batch: (model(batch) - batch.sum(1, keepdim=True)).square().mean(),
        batches=list(batches),
        lr=float(trial.parameters["lr"]),
        zero_readout=True,
        seeds=8,
    )
    return Outcome.of_check(check)
