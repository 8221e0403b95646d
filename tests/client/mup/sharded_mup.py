"""One of two gloo processes that train a sharded decoder with muP and compare it with the whole one."""

import sys

import torch
import torch.distributed as dist
from pacesetter.mup import Parametrization
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from tests.support.byte_decoder import ByteDecoder, next_byte_loss
from tests.support.ranks import leave_group

RANKS, STEPS = 2, 3


def form() -> Parametrization:
    return Parametrization.by_shapes(
        ByteDecoder,
        48,  # rows that two ranks share, and a ratio that is no power of two
        base_width=16,
        depth_ratio=2.0,
        branches=("blocks.*.project", "blocks.*.down"),
    )


def fresh() -> ByteDecoder:
    torch.manual_seed(0)
    return ByteDecoder(48)


def trained(model: nn.Module, windows: Tensor) -> list[str]:
    """Train in place, and return the names of the groups."""
    groups = form().groups(model, 2**-6, weight_decay=0.1)
    optimizer = torch.optim.AdamW(groups, foreach=True)
    for _ in range(STEPS):
        optimizer.zero_grad()
        next_byte_loss(model, windows).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return [group["name"] for group in optimizer.param_groups]


def whole(model: nn.Module) -> list[Tensor]:
    values = [p.detach() for p in model.parameters()]
    return [value.full_tensor() if isinstance(value, DTensor) else value for value in values]


def sharded(*, initialise_first: bool) -> nn.Module:
    """Return a sharded model, initialised on whole tensors or on their shares."""
    mesh = init_device_mesh("cpu", (RANKS,))
    model = fresh()
    if initialise_first:
        form().apply_(model)
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model if initialise_first else form().apply_(model)


def check() -> None:
    windows = torch.randint(0, 256, (4, 33), generator=torch.Generator().manual_seed(1))
    plain = form().apply_(fresh())
    others = [
        sharded(initialise_first=True),
        sharded(initialise_first=False),
        DistributedDataParallel(form().apply_(fresh())),
        form().apply_(DistributedDataParallel(fresh())),
    ]
    expected = trained(plain, windows)
    for other in others:
        assert trained(other, windows) == expected
        for ours, theirs in zip(whole(plain), whole(other), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    state = others[0].state_dict()
    assert list(state) == list(plain.state_dict())


if __name__ == "__main__":
    this_rank = int(sys.argv[1])
    dist.init_process_group("gloo", f"file://{sys.argv[2]}", rank=this_rank, world_size=RANKS)
    check()
    dist.barrier()
    leave_group()
