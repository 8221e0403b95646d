"""One of two gloo ranks, as a process of its own: runs every scenario and writes what it saw as JSON."""

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pacesetter
import torch
import torch.distributed as dist
from pacesetter.errors import RegistrationRefused
from pacesetter.protocol import JobSpec, Registration, SegmentEnded
from pacesetter.run.ranks import GlooRanks
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from tests.client.run.ranked_budgets import SCENARIOS as BUDGETS
from tests.client.run.ranked_feedback import regulated
from tests.client.run.ranked_guard import SCENARIOS as GUARDED_MAIN_LINES
from tests.support.ranks import leave_group
from tests.support.service import ScriptedTransport, constant, segment
from tests.support.training import Noisy, Regression, attach

MAIN = segment(1, 0, when="now", length=5, policy=constant(1.5))
GUARDED = segment(
    2, 1, kind="probe", start=5, length=9, data="rewind", stop_if=[{"rule": "non_finite"}]
)
REST = segment(3, 2, start=5, length=15, policy=constant(0.5))


def train(
    run: pacesetter.Run, model: nn.Module, spoil: Callable[[pacesetter.Run], bool]
) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for inputs, targets in run.batches(Regression()):
        row = [run.position, run.on_main_line, run.learning_rates()["optimizer/group0"]]
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss * float("nan") if spoil(run) else loss)
        rows.append([*row, loss.item()])
    return rows


def seen(transport: ScriptedTransport, rows: list[list[Any]], model: nn.Module) -> dict[str, Any]:
    ended = [[each.segment, each.outcome, each.steps] for each in transport.of(SegmentEnded)]
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return {"rows": rows, "ended": ended, "weights": weights.tolist(), "order": transport.order()}


def scenario(
    segments: list[Any],
    *,
    wrap: bool = False,
    spoil: Callable[[pacesetter.Run], bool] | None = None,
    inbox: tuple[Any, ...] = (),
) -> dict[str, Any]:
    model = Noisy()
    model.dropout.p = 0.0
    wrapped = DistributedDataParallel(model) if wrap else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    transport = ScriptedTransport(segments=segments)
    transport.inbox.extend(inbox)
    run = attach(wrapped, optimizer, transport, sync_every=3)
    rows = train(run, wrapped, spoil or never)
    result = run.finish()
    return {**seen(transport, rows, model), "fallbacks": result.fallbacks}


def never(run: pacesetter.Run) -> bool:
    del run
    return False


def nan_on_rank_one(run: pacesetter.Run) -> bool:
    return dist.get_rank() == 1 and not run.on_main_line and run.position == 6


def snapshot_fails_on_rank_one() -> dict[str, Any]:
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    transport = ScriptedTransport(segments=[MAIN, GUARDED])
    allowed = 1 if dist.get_rank() == 1 else 10**9
    run = attach(model, optimizer, transport, max_snapshot_bytes=allowed)
    rows = train(run, model, never)
    return seen(transport, rows, model)


class Refusing(ScriptedTransport):
    def register(self, spec: JobSpec, wait_seconds: float) -> Registration | None:
        raise RegistrationRefused("no such strategy", code="UNKNOWN_STRATEGY", status=422)


def refusal() -> dict[str, Any]:
    model = Noisy()
    run = attach(model, torch.optim.SGD(model.parameters(), lr=0.1), Refusing())
    try:
        run.step(1.0)
    except RegistrationRefused as error:
        return {"code": error.code}
    return {"code": None}


def sharded() -> dict[str, Any]:
    """FSDP2 through a probe: the main line is that of a run that never left it."""

    def losses(segments: list[Any], inbox: tuple[Any, ...]) -> tuple[list[list[Any]], list[float]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        mesh = init_device_mesh("cpu", (2,))
        fully_shard(model[0], mesh=mesh)
        fully_shard(model, mesh=mesh)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        torch.manual_seed(100 + dist.get_rank())
        transport = ScriptedTransport(segments=segments)
        transport.inbox.extend(inbox)
        run = attach(model, optimizer, transport, sync_every=3, rollback="memory")
        rows = train(run, model, never)
        run.finish()
        weights = [p.full_tensor().flatten() for p in model.parameters() if isinstance(p, DTensor)]
        return rows, torch.cat(weights).tolist()

    steady = constant(1.5)
    rest = segment(3, 2, start=5, length=15, policy=steady)
    probed, probed_weights = losses([MAIN, GUARDED], (rest,))
    plain, weights = losses([segment(1, 0, when="now", length=20, policy=steady)], ())
    return {"rows": probed, "plain": plain, "weights": probed_weights, "plain_weights": weights}


def shared() -> list[int]:
    """Return the lengths of documents that rank 0 shared, as they arrived."""
    ranks = GlooRanks()
    # With quotes, 248 bytes are what one message holds.
    return [len(ranks.share("x" * size)) for size in (0, 245, 246, 247, 5000)]


def disagreement() -> dict[str, Any]:
    """Each rank counts its own tokens: rank 1, which is not rank 0, says so."""
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    budget = pacesetter.Tokens(1000)
    run = attach(model, optimizer, ScriptedTransport(), budget=budget, sync_every=3)
    try:
        for _ in range(6):
            run.step(1.0, tokens=8 + dist.get_rank())
    except pacesetter.ConfigurationError as error:
        return {"error": str(error)}
    return {"error": None}


def late_news() -> dict[str, Any]:
    """A segment that arrives between two exchanges is taken up by both ranks at the second one after it."""
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    transport = ScriptedTransport()
    run = attach(model, optimizer, transport, sync_every=4)

    def deliver(run: pacesetter.Run) -> bool:
        if run.position == 5 and dist.get_rank() == 0:
            transport.inbox.append(segment(1, 0, when="now", length=20, policy=constant(2.0)))
        return False

    return {"rows": train(run, model, deliver)}


def main() -> None:
    store, rank, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    os.environ.pop("PACESETTER_MODE", None)
    results = {
        "plain": scenario([MAIN, GUARDED], inbox=(REST,)),
        "ddp": scenario([MAIN, GUARDED], wrap=True, inbox=(REST,)),
        "nan": scenario([MAIN, GUARDED], spoil=nan_on_rank_one, inbox=(REST,)),
        "nobody": scenario([MAIN, GUARDED]),
        "snapshot": snapshot_fails_on_rank_one(),
        "refusal": refusal(),
        "late": late_news(),
        "disagreement": disagreement(),
        "sharded": sharded(),
        "regulated": regulated(),
        "shared": shared(),
        **{each.__name__: each() for each in (*GUARDED_MAIN_LINES, *BUDGETS)},
    }
    out.write_text(json.dumps(results))
    leave_group()


if __name__ == "__main__":
    main()
