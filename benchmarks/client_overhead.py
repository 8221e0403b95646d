"""What the client costs a training loop: the own part of ``run.step``, and the loop with it and without it.

    python benchmarks/client_overhead.py [--quick] [--json FILE]

Own part: the time of ``run.step`` minus the time of the optimizer's ``step`` and ``zero_grad`` as a loop without us
calls them, plus the client's hook inside that step, minus what the same stopwatch shows for a step made by hand;
online, with a real controller. The loop ratio compares one model stepped by ``run.step`` and by hand, in alternating
blocks. With several processes both loops average their gradients over the ranks before the step, as data-parallel
training does: else the figure would be how far the ranks drift apart. Beside our own part stands what torch's
``LambdaLR.step`` costs at the same place of the same step, where the caches are as cold and the cores as busy.
"""

import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pacesetter
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from benchmarks.reporting import Report, arguments
from demo.service import serving
from tests.support.ranks import leave_group

BLOCK = 50
WARMUP_BLOCKS = 2


class Timed:
    """Adds up the nanoseconds spent inside functions, so that they can be taken off a total."""

    def __init__(self) -> None:
        self.nanoseconds = 0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` with its time added up."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter_ns()
            result = function(*args, **kwargs)
            self.nanoseconds += time.perf_counter_ns() - began
            return result

        return timed


class Stopwatch:
    """Tells the client's own part of ``run.step`` from the step that any loop makes.

    Not ours: ``optimizer.step`` as a loop without us calls it, with what torch wraps around it, and ``zero_grad``.
    Ours: all the rest, and the client's hook inside ``optimizer.step``.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._torch, self._hooks = Timed(), Timed()
        hooks = optimizer._optimizer_step_pre_hooks
        for key, hook in hooks.items():
            hooks[key] = self._hooks(hook)
        vars(optimizer)["step"] = self._torch(optimizer.step)
        vars(optimizer)["zero_grad"] = self._torch(optimizer.zero_grad)

    def own_microseconds(self, call: Callable[[], Any]) -> float:
        """Return the client's own part of one call of ``run.step``."""
        self._torch.nanoseconds = self._hooks.nanoseconds = 0
        began = time.perf_counter_ns()
        call()
        total = time.perf_counter_ns() - began
        return (total - self._torch.nanoseconds + self._hooks.nanoseconds) / 1e3


@dataclass(frozen=True)
class Setting:
    """One size of model and how long to measure it."""

    name: str
    width: int
    batch: int
    blocks: int


def build(setting: Setting) -> tuple[nn.Module, torch.optim.AdamW, Tensor]:
    """Return a perceptron, its optimizer and one batch."""
    torch.manual_seed(0)
    width = setting.width
    model = nn.Sequential(
        nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3), torch.randn(setting.batch, width)


def gradients(model: nn.Module, inputs: Tensor) -> Tensor:
    """Make one forward and backward pass, averaged over the ranks if there are several; return the loss."""
    loss: Tensor = model(inputs).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    if dist.is_initialized():
        flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        dist.all_reduce(flat)
    return loss


def measure(setting: Setting, url: str, name: str) -> dict[str, float]:
    """Return the own part's quantiles in microseconds and both loops' median step in milliseconds."""
    steered, steered_optimizer, inputs = build(setting)
    plain, plain_optimizer, _ = build(setting)
    run = pacesetter.attach(
        steered,
        steered_optimizer,
        name="client-overhead",
        external_id=name,
        budget=pacesetter.Steps(10_000_000),
        strategy="fixed",
        url=url,
    )
    stopwatch, idle = Stopwatch(steered_optimizer), Stopwatch(plain_optimizer)
    own: list[float] = []
    floor: list[float] = []
    scheduler = idle_scheduler(plain)
    lambdas: list[float] = []
    loops: dict[str, list[float]] = {"with": [], "without": [], "scheduler": []}

    def with_run() -> None:
        loss = gradients(steered, inputs)
        own.append(stopwatch.own_microseconds(lambda: run.step(loss)))

    def without_run() -> None:
        gradients(plain, inputs)
        floor.append(idle.own_microseconds(by_hand))

    def by_hand() -> None:
        plain_optimizer.step()
        plain_optimizer.zero_grad()

    def with_scheduler() -> None:
        gradients(plain, inputs)
        by_hand()
        began = time.perf_counter_ns()
        scheduler.step()
        lambdas.append((time.perf_counter_ns() - began) / 1e3)

    steps = {"with": with_run, "without": without_run, "scheduler": with_scheduler}
    for block in range(setting.blocks + WARMUP_BLOCKS):
        if block == WARMUP_BLOCKS:
            for times in (own, floor, lambdas):
                times.clear()
        for label, step in steps.items():
            times = time_each(step)
            if block >= WARMUP_BLOCKS:
                loops[label] += times
    run.finish()
    return {
        "median": float(np.median(own) - np.median(floor)),
        "p99": float(np.quantile(own, 0.99) - np.median(floor)),
        "scheduler": float(np.median(lambdas)),
        "scheduler p99": float(np.quantile(lambdas, 0.99)),
        "with": float(np.median(loops["with"])),
        "without": float(np.median(loops["without"])),
    }


def time_each(step: Callable[[], None]) -> list[float]:
    """Run ``step`` a block of times; return milliseconds of each."""
    times = []
    for _ in range(BLOCK):
        began = time.perf_counter_ns()
        step()
        times.append((time.perf_counter_ns() - began) / 1e6)
    return times


def worker(
    rank: int, world_size: int, store: str, setting: Setting, url: str, name: str, out: str
) -> None:
    """Measure on one of several ranks; rank 0 writes its figures."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    figures = measure(setting, url, name)
    if rank == 0:
        Path(out).write_text(json.dumps(figures))
    leave_group()


def measure_ranks(setting: Setting, url: str, world_size: int) -> dict[str, float]:
    """Measure in ``world_size`` processes of one gloo group."""
    name = f"overhead-{uuid.uuid4()}"
    if world_size == 1:
        torch.set_num_threads(1)
        return measure(setting, url, name)
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/figures"
        options = (world_size, f"{folder}/store", setting, url, name, out)
        spawn(worker, args=options, nprocs=world_size)  # type: ignore[no-untyped-call]
        figures: dict[str, float] = json.loads(Path(out).read_text())
        return figures


def idle_scheduler(model: nn.Module) -> torch.optim.lr_scheduler.LambdaLR:
    """Return torch's own scheduler, on an optimizer that makes no steps."""
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 / (1 + step))
    optimizer.step()
    return scheduler


def median_microseconds(call: Callable[[], Any], count: int = 2000) -> float:
    """Return the median time of ``call``."""
    times = []
    for _ in range(count):
        began = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - began) / 1e3)
    return float(np.median(times))


def peers(folder: Path) -> dict[str, float]:
    """Return the median microseconds of logging three scalars with each tracker that is installed."""
    found: dict[str, float] = {}
    scalars = {"loss": 1.0, "lr": 0.1, "norm": 2.0}
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(folder))
    os.environ.update(TRACKIO_DIR=str(folder / "trackio"), TRACKIO_SHOW_LOGO="0")
    for name, measure_peer in (
        ("trackio", trackio),
        ("wandb offline", wandb),
        ("TensorBoard", board),
    ):
        try:
            found[name] = measure_peer(folder, scalars)
        except ImportError:
            print(f"{name} is not installed: pip install '.[benchmarks]' to see it beside ours")
    return found


def trackio(folder: Path, scalars: dict[str, float]) -> float:
    """Log three scalars with trackio."""
    del folder
    import trackio as tracker

    tracker.init(project="overhead", embed=False)
    try:
        return median_microseconds(lambda: tracker.log(scalars))
    finally:
        tracker.finish()


def wandb(folder: Path, scalars: dict[str, float]) -> float:
    """Log three scalars with wandb in offline mode."""
    import wandb as tracker

    run = tracker.init(project="overhead", mode="offline", dir=str(folder))
    try:
        return median_microseconds(lambda: run.log(scalars))
    finally:
        run.finish()


def board(folder: Path, scalars: dict[str, float]) -> float:
    """Write three scalars with torch's TensorBoard writer."""
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder / "board"))

    def log() -> None:
        for name, value in scalars.items():
            writer.add_scalar(name, value)

    try:
        return median_microseconds(log)
    finally:
        writer.close()


def main() -> None:
    """Measure both step lengths on one and two processes, then the peers."""
    options = arguments(__doc__).parse_args()
    report = Report(
        "client overhead", packages=("torch", "pacesetter", "trackio", "wandb", "tensorboard")
    )
    factor = 1 if options.quick else 5
    settings = (
        Setting("1 ms", width=192, batch=64, blocks=16 * factor),
        Setting("20 ms", width=768, batch=320, blocks=4 * factor),
    )
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "service") as url:
        for processes in (1, 2):
            for setting in settings:
                figures = measure_ranks(setting, url, processes)
                where = f"{setting.name} steps, {processes} process{'es' if processes > 1 else ''}"
                median, p99 = figures["median"], figures["p99"]
                ratio = figures["with"] / figures["without"]
                report.row(f"step without us, {where}", figures["without"], "ms")
                report.row(f"own part, median, {where}", median, "us", "< 20", median < 20)
                report.row(f"own part, p99, {where}", p99, "us", "< 200", p99 < 200)
                bar = ("<= 1.01", ratio <= 1.01) if setting.name == "20 ms" else (None, None)
                report.row(f"loop with / without, {where}", ratio, "ratio", *bar)
                report.row(f"LambdaLR.step there, median, {where}", figures["scheduler"], "us")
                report.row(f"LambdaLR.step there, p99, {where}", figures["scheduler p99"], "us")
        again_and_again = median_microseconds(idle_scheduler(nn.Linear(4, 4)).step)
        report.row("torch LambdaLR.step, again and again, median", again_and_again, "us")
        for name, value in peers(Path(folder)).items():
            report.row(f"logging three scalars with {name}, median", value, "us")
    report.print()
    report.save(options.json)


if __name__ == "__main__":
    main()
