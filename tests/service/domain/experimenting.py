"""Experiments and workers for the tests of the domain."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from pacesetter.protocol import (
    Claim,
    Cost,
    ExperimentSpec,
    Lease,
    Range,
    StrategyChoice,
    TrialPoint,
    TrialResult,
    Value,
)
from pacesetter_service.controller import Controller
from pacesetter_service.database.models import TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.experiments.views import TrialView
from sqlalchemy import select, update

RATES = Range(low=2.0**-10, high=2.0**-2)


def search(trials: int = 5, strategy: str = "random", **changes: Any) -> ExperimentSpec:
    """Return an experiment over learning rates that does nothing."""
    fields: dict[str, Any] = {
        "name": "rates",
        "proxy": "noop",
        "space": {"lr": RATES},
        "fixed": {"width": 32},
        "strategy": StrategyChoice(name=strategy),
        "max_trials": trials,
        "seed": 7,
    }
    return ExperimentSpec(**{**fields, **changes})


def loss_of(parameters: Mapping[str, Value]) -> float:
    """Return a loss with its least, 2.0, at a rate of 2^-6."""
    lr = parameters["lr"]
    assert isinstance(lr, float)
    return 2.0 + abs(lr - 2.0**-6)


async def claim(
    controller: Controller, most: int = 1, worker: str = "worker-1", project: str = "default"
) -> tuple[Lease, ...]:
    """Claim trials that do nothing."""
    wish = Claim(worker=worker, proxies=("noop",), most=most)
    return (await controller.experiments.claim(wish, project)).leases


async def finish(controller: Controller, lease: Lease, **changes: Any) -> TrialView:
    """Finish a trial with its loss, and the cost of ten steps."""
    fields: dict[str, Any] = {
        "token": lease.token,
        "loss": loss_of(lease.trial.parameters),
        "cost": Cost(steps=10, tokens=640.0, flops=1e6, seconds=0.5),
    }
    result = TrialResult(**{**fields, **changes})
    return await controller.experiments.finish(lease.trial.id, result)


async def run_all(controller: Controller, most: int = 1, worker: str = "worker-1") -> list[int]:
    """Claim and finish until nothing is left; return the numbers of the trials in that order."""
    numbers = []
    while leases := await claim(controller, most, worker):
        for lease in leases:
            await finish(controller, lease)
            numbers.append(lease.trial.number)
    return numbers


async def trials_of(controller: Controller, experiment: str) -> tuple[TrialView, ...]:
    """Return all trials of an experiment."""
    return (await controller.experiments.trials(experiment, page_size=1000)).items


def points(first: int, count: int, loss: float = 3.0) -> tuple[TrialPoint, ...]:
    """Return points at steps ``first``, ``first + 1``, ... of a constant rate and a falling loss."""
    return tuple(
        TrialPoint(step=step, lr=0.01, loss=loss - 0.01 * step)
        for step in range(first, first + count)
    )


async def run_out(controller: Controller, trial: str) -> None:
    """Let the lease of a trial run out now: its time is put into the past."""

    def past(tx: Transaction) -> None:
        now = tx.execute(select(utc_now())).scalar_one()
        tx.execute(
            update(TrialRow)
            .where(TrialRow.id == trial)
            .values(lease_expires_at=now - timedelta(seconds=1))
        )

    await controller._store.write(past)


async def insist(call: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Call until it returns True."""
    async with asyncio.timeout(seconds):
        while not await call():
            await asyncio.sleep(0.01)
