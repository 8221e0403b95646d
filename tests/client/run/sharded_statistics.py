"""One of two gloo processes that measure FSDP2 gradients and compare them with those of the whole model."""

import sys

import torch
import torch.distributed as dist
from pacesetter.run.statistics import GradientStatistics
from pacesetter.run.verification import Verifier
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tests.support.ranks import leave_group

RANKS = 2


def model() -> nn.Module:
    """Return a model with a bias of one element, so that one rank holds an empty shard."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(33, 64), nn.Tanh(), nn.Linear(64, 1))


def backward(network: nn.Module, inputs: Tensor) -> None:
    network(inputs).square().mean().backward()


def norm_of(tensors: list[Tensor], order: int) -> Tensor:
    flat = torch.cat([t.detach().reshape(-1) for t in tensors])
    norm: Tensor = torch.linalg.vector_norm(flat, order)
    return norm


def check() -> None:
    mesh = init_device_mesh("cpu", (RANKS,))
    whole, sharded = model(), model()
    fully_shard(sharded, mesh=mesh)
    inputs = torch.randn(8, 33, generator=torch.Generator().manual_seed(1))
    backward(whole, inputs)
    backward(sharded, inputs)

    statistics = GradientStatistics(sharded.parameters(), l1=True, parameter_norm=True)
    norms = statistics.measure()
    gradients = [p.grad for p in whole.parameters() if p.grad is not None]
    assert norms.gradient_l2 is not None
    assert norms.gradient_l1 is not None
    assert norms.parameter_l2 is not None
    torch.testing.assert_close(norms.gradient_l2, norm_of(gradients, 2))
    torch.testing.assert_close(norms.gradient_l1, norm_of(gradients, 1))
    torch.testing.assert_close(norms.parameter_l2, norm_of(list(whole.parameters()), 2))

    largest = 0.5 * norms.gradient_l2.item()
    assert bool(statistics.clip_(largest, norms.gradient_l2))
    after = statistics.measure().gradient_l2
    assert after is not None
    torch.testing.assert_close(after, torch.tensor(largest), rtol=1e-4, atol=0.0)

    optimizer = torch.optim.AdamW(sharded.parameters(), lr=1e-3)
    verifier = Verifier(optimizer)
    verifier.arm()
    optimizer.step()
    pending = verifier.collect()
    assert pending.resolve(1e-3).status == "verified", pending.resolve(1e-3)
    assert pending.resolve(1.1e-3).status == "mismatch"


if __name__ == "__main__":
    this_rank = int(sys.argv[1])
    dist.init_process_group("gloo", f"file://{sys.argv[2]}", rank=this_rank, world_size=RANKS)
    check()
    dist.barrier()
    leave_group()
