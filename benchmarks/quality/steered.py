"""A task as a job: the real client in this process, a real controller behind ``PACESETTER_URL``."""

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pacesetter
import torch
from pacesetter.protocol import ProxySearch, Regime
from pacesetter.run.result import Result
from torch import Tensor

from benchmarks.quality.beside import Workers
from benchmarks.quality.engine import score_of
from benchmarks.quality.score import Score
from benchmarks.quality.tasks.base import Task, Trial

WAITING_SECONDS = 120.0
"""For an answer at the end of a probe: a busy machine must not decide what is measured."""
CHOICE = "main"
"""Code of the decision that sends the main line, with the belief about the best rate in its numbers."""


@dataclass(frozen=True)
class Steering:
    """How a job is attached."""

    strategy: str
    parameters: Mapping[str, Any]
    cap: float
    """Main plus probe steps over the main line's, less one."""
    limits: pacesetter.Limits
    validated: bool = True
    statistics: tuple[str, ...] = ()
    parts: int = 1
    """Backward passes that a batch is split into."""
    workers: int = 0
    """That run its proxies beside it: shorter runs of the task itself."""
    target: pacesetter.Target | None = None
    """What the job says of itself: what is remembered of it helps the next one."""


class Batches:
    """The loader: a trial's batches by position. The client reads from it how often the data repeat."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self.epoch_batches = trial.epoch_batches

    def batch_at(self, position: int) -> Any:
        """Return the batch at a position that runs on for ever."""
        return self._trial.batch_at(position)


def run_steered(task: Task, steering: Steering, lr: float, steps: int, seed: int) -> Score:
    """Train ``task`` as a job of ``steps`` on its main line, started at ``lr``; return what it reached on B.

    Raises:
        RuntimeError: No controller is there, or it lost the job: the figure would be another strategy's.
    """
    url = os.environ.get("PACESETTER_URL")
    if not url:
        raise RuntimeError("PACESETTER_URL is not set; start a controller and name it there")
    trial = task.open(seed, lr)
    untrained = trial.validate("A"), trial.validate("B")
    external_id = f"quality-{uuid4().hex}"
    beside = Workers(url, external_id, task, seed, steering.workers) if steering.workers else None
    result, finite = _train(task, trial, steering, steps, seed, external_id, beside)
    if result.job is None or result.unsent_records or result.fallbacks:
        raise RuntimeError(f"the controller at {url} did not answer a job of {task.name}: {result}")
    final = score_of(trial, untrained, diverged=not finite)
    ledger = result.ledger
    return Score(
        A=final[0],
        B=final[1],
        lost=not finite or final[1] >= untrained[1],
        steps=ledger.main_steps + ledger.probe_steps + ledger.discarded_steps,
        main_steps=ledger.main_steps,
        seconds={
            "main": round(ledger.main_seconds, 3),
            "probe": round(ledger.probe_seconds, 3),
            "validation": round(ledger.validation_seconds, 3),
            "snapshot": round(ledger.snapshot_seconds, 3),
            "waiting": round(ledger.waiting_seconds, 3),
        },
        job=result.job,
        beside_steps=0 if beside is None else beside.steps,
        **_decisions(url, result.job),
    )


def _train(
    task: Task,
    trial: Trial,
    steering: Steering,
    steps: int,
    seed: int,
    external_id: str,
    beside: Workers | None,
) -> tuple[Result, bool]:
    """Return the run's result, and whether its last loss was finite."""
    run = pacesetter.attach(
        trial.model,
        trial.optimizers,
        name=task.name,
        external_id=external_id,
        budget=pacesetter.Steps(steps),
        validate=(lambda: trial.validate("A")) if steering.validated else None,
        strategy=steering.strategy,
        strategy_parameters=dict(steering.parameters),
        limits=steering.limits,
        statistics=steering.statistics,
        overhead_cap=steering.cap,
        target=steering.target,
        regime=_regime(task, steering),
        waiting_seconds=WAITING_SECONDS,
        register_seconds=WAITING_SECONDS,
        seed=seed,
        proxy=None if beside is None else ProxySearch(proxy=beside.proxy),
    )
    last = math.nan
    for taken, batch in enumerate(run.batches(Batches(trial))):
        if beside is not None:
            beside.catch_up(run, taken)
        loss = _backward(trial, batch, steering.parts)
        last = loss.item()
        run.step(loss)
    if beside is not None:
        beside.close()
    return run.finish(), math.isfinite(last)


def _regime(task: Task, steering: Steering) -> Regime:
    if steering.target is not None:
        return steering.target.regime
    return "rl" if task.kind == "policy" else "other"


def _backward(trial: Trial, batch: Any, parts: int) -> Tensor:
    """Leave the gradient of the batch's mean loss, in as many backward passes; return that loss."""
    if parts == 1:
        loss = trial.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        return loss
    losses = []
    for part in _split(batch, parts):
        share = trial.loss(part) / parts
        share.backward()  # type: ignore[no-untyped-call]  # torch's
        losses.append(share.detach())
    return torch.stack(losses).sum()


def _split(batch: Any, parts: int) -> list[Any]:
    """Return equal parts of a batch of tensors along their first dimension."""
    if isinstance(batch, Tensor):
        return list(batch.chunk(parts))
    return list(zip(*(each.chunk(parts) for each in batch), strict=True))


def _decisions(url: str, job: str) -> dict[str, Any]:
    """Return what the audit trail says was decided: kinds with counts, the chosen rate, the interval around it."""
    query: dict[str, Any] = {"type": "decision", "page_size": 200}
    reply = httpx.get(f"{url}/v1/jobs/{job}/events", params=query, timeout=60.0)
    bodies = [event["body"] for event in reply.raise_for_status().json()["events"]]
    found: dict[str, Any] = {"decisions": dict(Counter(str(body["code"]) for body in bodies))}
    for body in bodies:
        numbers = body.get("numbers", {})
        if body["code"] == CHOICE and "log2_lr" in numbers:
            found["log2_lr"] = numbers["log2_lr"]
            if "log2_lr_low" in numbers:
                found["interval"] = (numbers["log2_lr_low"], numbers["log2_lr_high"])
    return found
