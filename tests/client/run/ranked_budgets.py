"""Budgets that change, on two ranks that act as one."""

from typing import Any

import pacesetter
import torch
import torch.distributed as dist
from pacesetter.schedules import Linear, Schedule

from tests.support.service import ScriptedTransport, segment
from tests.support.training import Noisy, Regression, attach

LIMITS = pacesetter.Limits(max_budget=40, allow_shorter_main=True)


def walk(total: int, arrives: int, **settings: Any) -> dict[str, Any]:
    """Train while rank 0 is told, during the step at ``arrives``, that the main line ends at ``total``."""
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    transport = ScriptedTransport()
    base = Schedule(length=20, body=Linear())
    run = attach(model, optimizer, transport, base=base, limits=LIMITS, sync_every=4, **settings)
    told = segment(
        1,
        0,
        when="now",
        start=arrives,
        length=total - arrives,
        budget=total,
        policy=Schedule(length=total, body=Linear()),
    )
    rows, state = [], {}
    for inputs, targets in run.batches(Regression()):
        if run.position == arrives and dist.get_rank() == 0:
            transport.inbox.append(told)
        rows.append([run.position, run.learning_rates()["optimizer/group0"]])
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0)
        state = run.state_dict()
    result = run.finish()
    return {"rows": rows, "completed": result.completed, "budget": run.budget, "state": state}


def extended() -> dict[str, Any]:
    return walk(30, 5)


def cut_short() -> dict[str, Any]:
    return walk(17, 5)


def extended_at_the_end() -> dict[str, Any]:
    """It comes during the last step: the exchange that the end of the budget waits for carries it."""
    return walk(26, 19)


SCENARIOS = (extended, cut_short, extended_at_the_end)
