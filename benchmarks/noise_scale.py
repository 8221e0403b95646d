"""The noise scale of a byte language model, measured three ways on data of their own: they should agree.

The model is trained for 100 steps and then frozen, so there is one noise scale. Micro-batches one by one, hooks under
gradient accumulation, and a communication hook over two gloo processes each see 150 steps of 32 windows.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import torch
import torch.distributed as dist
from pacesetter.noise import AccumulationNoise, DataParallelNoise, NoiseScale
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from benchmarks.reporting import Report, arguments
from demo.model import ByteTransformer
from demo.text import Windows, load_corpus
from tests.support.ranks import leave_group

MICRO_BATCH, PARTS, CONTEXT = 8, 4, 32
TRAINED_STEPS, STEPS, QUICK_STEPS = 100, 150, 30
AGREE = 2.5
"""Standard errors of their difference that two of three estimates may be apart."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure three ways, and print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--rank", nargs=3, metavar=("STORE", "RANK", "STEPS"), help="be one of two")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    if given.rank:
        one_rank(given.rank[0], int(given.rank[1]), int(given.rank[2]))
        return
    steps = QUICK_STEPS if given.quick else STEPS
    model = trained()
    found = {
        "micro-batches": by_hand(model, steps),
        "accumulation hook": accumulated(model, steps),
        "two gloo processes": data_parallel(steps),
    }
    report = Report("noise_scale", seeds=[0])
    for name, (value, error) in found.items():
        report.row(f"{name}: noise scale (se {error:.1f})", value, "windows")
    for (name, one), (other, two) in combinations(found.items(), 2):
        apart = abs(one[0] - two[0]) / math.hypot(one[1], two[1])
        report.row(f"{name} against {other}", apart, "se apart", f"<= {AGREE}", apart <= AGREE)
    report.print()
    report.save(given.json)


def trained() -> ByteTransformer:
    """Return the model after a short training, the same in every process."""
    torch.manual_seed(0)
    model = ByteTransformer(width=48, depth=2, context=CONTEXT)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    windows = Windows(load_corpus().train, MICRO_BATCH * PARTS, CONTEXT, seed=0)
    for step in range(TRAINED_STEPS):
        optimizer.zero_grad()
        model(windows.batch_at(step)).backward()
        optimizer.step()
    return model


def by_hand(model: ByteTransformer, steps: int) -> tuple[float, float]:
    """Return the noise scale from the gradients of micro-batches, and its error."""
    noise, windows = NoiseScale(math.inf), batches(MICRO_BATCH, 1)
    for step in range(steps):
        gradients = torch.stack(
            [gradient_of(model, windows.batch_at(PARTS * step + part)) for part in range(PARTS)]
        )
        small, big = gradients.square().sum(1).mean(), gradients.mean(0).square().sum()
        noise.update(float(small), float(big), MICRO_BATCH, PARTS * MICRO_BATCH)
    return read(noise)


def gradient_of(model: ByteTransformer, batch: Tensor) -> Tensor:
    """Return the gradient of one micro-batch as one vector."""
    parts = torch.autograd.grad(model(batch), list(model.parameters()))
    return torch.cat([part.flatten() for part in parts]).double()


def accumulated(model: ByteTransformer, steps: int) -> tuple[float, float]:
    """Return the noise scale that hooks see under gradient accumulation, and its error."""
    noise, windows = NoiseScale(math.inf), batches(MICRO_BATCH, 2)
    hook = AccumulationNoise(model.parameters(), noise, micro_batch=MICRO_BATCH)
    for step in range(steps):
        model.zero_grad()
        for part in range(PARTS):
            (model(windows.batch_at(PARTS * step + part)) / PARTS).backward()
        hook.collect()
    hook.remove()
    return read(noise)


def data_parallel(steps: int) -> tuple[float, float]:
    """Return the noise scale that a communication hook sees over two processes, and its error."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        command = [sys.executable, "-m", "benchmarks.noise_scale", "--rank", str(store)]
        processes = [
            subprocess.Popen([*command, str(rank), str(steps)], stdout=subprocess.PIPE, text=True)
            for rank in range(2)
        ]
        outputs = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            raise RuntimeError("one of the two processes failed; its message stands above")
    value, error = json.loads(outputs[0].splitlines()[-1])
    return float(value), float(error)


def one_rank(store: str, rank: int, steps: int) -> None:
    """Be one of the two processes, and print what was found."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found = averaged(rank, steps)
    leave_group()
    print(json.dumps(found))


def averaged(rank: int, steps: int) -> tuple[float, float]:
    """Return the noise scale of the gradients that two ranks average, and its standard error."""
    model = DistributedDataParallel(trained())
    noise, share = NoiseScale(math.inf), MICRO_BATCH * PARTS // 2
    hook = DataParallelNoise(model, noise, micro_batch=share)
    windows = batches(share, 3 + rank)
    for step in range(steps):
        model.zero_grad()
        model(windows.batch_at(step)).backward()
        hook.collect()
    return read(noise)


def batches(batch: int, seed: int) -> Windows:
    """Return windows that no other source sees."""
    return Windows(load_corpus().train, batch, CONTEXT, seed=1000 + seed)


def read(noise: NoiseScale) -> tuple[float, float]:
    """Return value and standard error.

    Raises:
        RuntimeError: No gradient stood out of the noise.
    """
    if noise.value is None or noise.standard_error is None:
        raise RuntimeError(f"{noise.steps} steps are too few: no gradient stands out of the noise")
    return noise.value, noise.standard_error


if __name__ == "__main__":
    main()
