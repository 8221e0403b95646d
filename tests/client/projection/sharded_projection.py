"""One of two gloo processes that project FSDP2 weights and compare them with those of the whole model."""

import sys

import torch
import torch.distributed as dist
from pacesetter.errors import ConfigurationError
from pacesetter.projection import NormProjection, scale_invariance
from pacesetter.run.verification import Verifier
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from tests.client.projection.normalised import linear, perceptron
from tests.support.ranks import leave_group

RANKS, LR = 2, 0.05


def model() -> nn.Sequential:
    """Return a model of 65 rows, which two ranks cannot share evenly."""
    return perceptron(features=40, width=65)


def trained(network: nn.Module, inputs: Tensor) -> NormProjection:
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR)
    named = {n.removeprefix("module."): p for n, p in network.named_parameters()}
    projection = NormProjection(
        {name: named[name] for name in ("0.weight", "3.weight")}, optimizer, every=2
    )
    verifier = Verifier(optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        network(inputs).square().mean().backward()
        verifier.arm()
        optimizer.step()
    pending = verifier.collect()
    assert pending.resolve(LR).status == "verified", pending.resolve(LR)
    return projection


def whole_values(network: nn.Module) -> list[Tensor]:
    values = [p.detach() for p in network.parameters()]
    return [v.full_tensor() if isinstance(v, DTensor) else v for v in values]


def check() -> None:
    inputs = torch.randn(8, 40, generator=torch.Generator().manual_seed(1))
    plain, sharded, parallel = model(), model(), DistributedDataParallel(model())
    fully_shard(sharded, mesh=init_device_mesh("cpu", (RANKS,)))
    start = linear(plain, 0).weight.norm().item()
    first, second, third = (trained(each, inputs) for each in (plain, sharded, parallel))

    assert abs(first.norms()["0.weight"] / start - 1.0) < 1e-6
    for ours, theirs in zip(whole_values(plain), whole_values(sharded), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(whole_values(plain), whole_values(parallel), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first.state_dict(), second.state_dict())
    torch.testing.assert_close(first.state_dict(), third.state_dict())
    assert (
        abs(
            first.effective_learning_rates()["3.weight"]
            / second.effective_learning_rates()["3.weight"]
            - 1.0
        )
        < 1e-6
    )
    try:
        scale_invariance(sharded, lambda: sharded(inputs))
    except ConfigurationError as error:
        assert "before fully_shard" in str(error)
    else:
        raise AssertionError("a sharded model was tested")


if __name__ == "__main__":
    this_rank = int(sys.argv[1])
    dist.init_process_group("gloo", f"file://{sys.argv[2]}", rank=this_rank, world_size=RANKS)
    check()
    dist.barrier()
    leave_group()
