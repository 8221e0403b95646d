"""One of two gloo ranks: feeds a noise scale from DistributedDataParallel, and from the same gradients by hand."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from pacesetter.noise import DataParallelNoise, NoiseScale
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tests.support.ranks import leave_group

STEPS, BATCH = 20, 8


def main() -> None:
    store, rank, file = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    measure(rank, file)
    leave_group()


def measure(rank: int, file: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    twin = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    twin.load_state_dict(model.state_dict())
    noise, by_hand = NoiseScale(), NoiseScale()
    wrapped = DistributedDataParallel(model)
    hook = DataParallelNoise(wrapped, noise, micro_batch=BATCH)
    for step in range(STEPS):
        squares, mean = [], None
        for one in range(2):
            inputs, targets = batch(step, one)
            twin.zero_grad()
            ((twin(inputs) - targets) ** 2).mean().backward()
            gradient = torch.cat(
                [each.grad.flatten() for each in twin.parameters() if each.grad is not None]
            )
            squares.append(float(gradient.square().sum()))
            mean = gradient / 2 if mean is None else mean + gradient / 2
        assert mean is not None
        by_hand.update(sum(squares) / 2, float(mean.square().sum()), BATCH, 2 * BATCH)
        inputs, targets = batch(step, rank)
        wrapped.zero_grad()
        ((wrapped(inputs) - targets) ** 2).mean().backward()
        hook.collect()
    found = [noise.moments.gradient, noise.moments.noise]
    wanted = [by_hand.moments.gradient, by_hand.moments.noise]
    file.write_text(json.dumps({"found": found, "wanted": wanted, "steps": noise.steps}))


def batch(step: int, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2 * step + rank)
    inputs = torch.randn(BATCH, 4, generator=generator)
    return inputs, inputs.sum(1, keepdim=True) + torch.randn(BATCH, 1, generator=generator)


if __name__ == "__main__":
    main()
