"""Feedback rules on two gloo ranks: replicas with data of their own, and shards of one model."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from pacesetter.feedback import Hypergradient, SignalToNoise
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from tests.support.service import ScriptedTransport, segment
from tests.support.training import FEATURES, attach

STEPS = 20
RULE = Hypergradient(beta=0.05, lowest=0.01, highest=1.0, start=0.1)
NOISE_RULE = SignalToNoise(horizon=10, lowest=0.01, highest=10.0, max_change_per_step=2.0)
NOISE_SEGMENT = segment(1, 0, when="now", length=STEPS).model_copy(update={"feedback": NOISE_RULE})
SEGMENT = segment(1, 0, when="now", length=STEPS).model_copy(update={"feedback": RULE})


class Batches:
    """Batches by position, other ones for another ``rank``."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def batch_at(self, position: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(100 * position + self.rank)
        inputs = torch.randn(8, FEATURES, generator=generator)
        return inputs, inputs.sum(dim=1, keepdim=True)


def rates(wrap: Callable[[nn.Module], nn.Module], rank: int) -> list[float]:
    """Return the rate of each step of a job under the rule."""
    torch.manual_seed(0)
    model = wrap(nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, 1)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    run = attach(model, optimizer, ScriptedTransport(segments=[SEGMENT]), sync_every=3)
    made = []
    for inputs, targets in run.batches(Batches(rank)):
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        run.step(loss)
        # The optimizer shows what it stepped at until the next step is begun, but for the schedule.
        made.append(float(optimizer.param_groups[0]["lr"]))
    run.finish()
    return made


class BothRanks:
    """What both ranks see at a position, as two micro-batches."""

    def batch_at(self, position: int) -> list[tuple[Tensor, Tensor]]:
        return [Batches(rank).batch_at(position) for rank in (0, 1)]


def noise_rates(*, replicated: bool) -> list[float]:
    """Return the rates under the rule ``snr``: of one pass on each of two replicas, or of two passes on one model."""
    torch.manual_seed(0)
    model: nn.Module = nn.Linear(FEATURES, 1)
    model = DistributedDataParallel(model) if replicated else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    transport = ScriptedTransport(segments=[NOISE_SEGMENT])
    data: Any = Batches(dist.get_rank()) if replicated else BothRanks()
    run = attach(model, optimizer, transport, sync_every=3)
    if not replicated:
        # The same batches on both ranks: each one's passes are all there are.
        run._optimizing._world_size = 1
    made = []
    for batch in run.batches(data):
        parts = [batch] if replicated else batch
        losses = [
            (model(inputs) - targets).square().mean() / len(parts) for inputs, targets in parts
        ]
        for loss in losses:
            loss.backward()
        run.step(torch.stack([loss.detach() for loss in losses]).sum())
        made.append(float(optimizer.param_groups[0]["lr"]))
    run.finish()
    return made


def regulated() -> dict[str, Any]:
    """Return the rates of replicas, of shards, and of the same model as a whole."""
    mesh = init_device_mesh("cpu", (2,))

    def shard(model: nn.Module) -> nn.Module:
        fully_shard(model, mesh=mesh)
        return model

    return {
        "replicas": rates(DistributedDataParallel, dist.get_rank()),
        "shards": rates(shard, 0),
        "whole": rates(lambda model: model, 0),
        "noise_replicas": noise_rates(replicated=True),
        "noise_whole": noise_rates(replicated=False),
    }
