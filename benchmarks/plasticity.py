"""Loss of trainability, with and without NaP: labels drawn anew every 1000 steps, ten tasks in a row.

1600 inputs of MNIST-1D under random labels; a task is to learn them by heart. A perceptron with LayerNorm before every
nonlinearity, under SGD and Adam, at a constant learning rate and at one that falls to zero in each task, with its
hidden weights free or projected to their initial norm. Every learning rate of a grid is trained, the best one is chosen
on other seeds than those reported. All learning rates and seeds of an arm train side by side in one batched model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pacesetter.projection import NormProjection, effective_learning_rates
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.tasks.data import load
from benchmarks.reporting import Report, arguments

FloatArray = npt.NDArray[np.float64]
OptimizerName = Literal["SGD", "Adam"]

EXAMPLES, CLASSES, WIDTH, BATCH = 1600, 10, 64, 64
TASKS, TASK_STEPS, LATE_TASKS = 10, 1000, 3
CHOOSING_SEEDS, REPORTED_SEEDS = (100,), (0, 1, 2)
GRIDS: dict[OptimizerName, tuple[float, ...]] = {
    "SGD": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    "Adam": (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0),
}


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    optimizer: OptimizerName
    decays: bool
    projects: bool

    @property
    def name(self) -> str:
        """What the table calls it."""
        pace = "decay per task" if self.decays else "constant"
        return f"{self.optimizer}, {pace}{', NaP' if self.projects else ''}"


@dataclass(frozen=True)
class Outcome:
    """Of every learning rate, seed and task, in this order: what holds on all examples after the task's last step."""

    loss: FloatArray
    accuracy: FloatArray
    effective_lr: FloatArray
    """Over the first task's, geometric mean over the hidden layers."""


class Perceptrons(nn.Module):
    """Several perceptrons side by side, each with weights of its own."""

    def __init__(self, seeds: Sequence[int], features: int) -> None:
        super().__init__()
        sizes = (features, WIDTH, WIDTH, CLASSES)
        self.layers = [nn.ParameterList() for _ in sizes[1:]]
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            for layer, fan_in, fan_out in zip(self.layers, sizes, sizes[1:], strict=False):
                weight = torch.empty(fan_in, fan_out).uniform_(-1.0, 1.0, generator=generator)
                layer.append(nn.Parameter(weight / fan_in**0.5))
        self.hidden, self.output = nn.ModuleList(self.layers[:-1]), self.layers[-1]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [members, batch, classes] of inputs [members, batch, features]."""
        for weights in self.layers[:-1]:
            inputs = torch.bmm(inputs, torch.stack(list(weights)))
            inputs = functional.layer_norm(inputs, (WIDTH,)).relu()
        return torch.bmm(inputs, torch.stack(list(self.output)))

    def weights_of(self, member: int) -> list[nn.Parameter]:
        """Return all weights of one member."""
        return [layer[member] for layer in self.layers]


def train(arm: Arm, inputs: Tensor, seeds: Sequence[int], tasks: int) -> Outcome:
    """Train every learning rate of the arm's grid with every seed through all tasks."""
    grid = GRIDS[arm.optimizer]
    member_seeds = [seed for _ in grid for seed in seeds]
    lrs = [lr for lr in grid for _ in seeds]
    model = Perceptrons(member_seeds, inputs.shape[1])
    groups = [{"params": model.weights_of(i), "lr": lr} for i, lr in enumerate(lrs)]
    kind = torch.optim.SGD if arm.optimizer == "SGD" else torch.optim.Adam
    optimizer = kind(groups, lr=1.0, fused=True)
    everything = inputs.expand(len(lrs), *inputs.shape)
    if arm.projects:
        NormProjection.of_model(
            model, optimizer, lambda: model(everything[:, :BATCH]), exclude=["output.*"]
        )
    seen: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    for task in range(tasks):
        draws = [np.random.default_rng((seed, task)) for seed in member_seeds]
        labels = torch.from_numpy(np.stack([d.integers(CLASSES, size=EXAMPLES) for d in draws]))
        orders = torch.from_numpy(
            np.stack([d.integers(EXAMPLES, size=(TASK_STEPS, BATCH)) for d in draws], axis=1)
        )
        for step, chosen in enumerate(orders):
            if arm.decays:
                for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                    group["lr"] = lr * (1.0 - step / TASK_STEPS)
            total = losses(model(inputs[chosen]), labels.gather(1, chosen)).sum()
            torch.autograd.backward(total)
            optimizer.step()
            optimizer.zero_grad()
        seen.append(judge(model, optimizer, everything, labels))
    shape = (tasks, len(grid), len(seeds))
    loss, accuracy, rates = (
        np.moveaxis(np.stack(s).reshape(shape), 0, 2) for s in zip(*seen, strict=True)
    )
    return Outcome(loss, accuracy, rates / rates[:, :, :1])


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of each member."""
    each = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.reshape(labels.shape).mean(1)


@torch.no_grad()
def judge(
    model: Perceptrons, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return each member's loss, accuracy and mean effective learning rate per unit of learning rate."""
    logits = model(inputs)
    accuracy = (logits.argmax(2) == labels).double().mean(1)
    for group in optimizer.param_groups:
        group["lr"], group["kept"] = 1.0, group["lr"]
    named = {n: p for n, p in model.named_parameters() if n.startswith("hidden")}
    rates = effective_learning_rates(named, optimizer)
    for group in optimizer.param_groups:
        group["lr"] = group.pop("kept")
    log_rates = np.log(list(rates.values())).reshape(len(model.hidden), -1)
    return losses(logits, labels).double().numpy(), accuracy.numpy(), np.exp(log_rates.mean(0))


def report_arm(report: Report, arm: Arm, outcome: Outcome, choosing: int) -> None:
    """Report the learning rate that is best on the choosing seeds, by the loss over all tasks, on the other seeds."""
    chosen = int(np.argmin(np.nan_to_num(outcome.loss[:, :choosing], nan=np.inf).mean((1, 2))))
    grid = GRIDS[arm.optimizer]
    edge = " (edge of the grid)" if chosen in (0, len(grid) - 1) else ""
    report.row(f"{arm.name}: best learning rate{edge}", grid[chosen], "")
    loss, accuracy = outcome.loss[chosen, choosing:], 100.0 * outcome.accuracy[chosen, choosing:]
    count = min(LATE_TASKS, loss.shape[1] - 1)
    late, last = slice(-count, None), f"last {count} tasks"
    report.row(f"{arm.name}: accuracy, task 1", spread(accuracy[:, 0]), "%")
    report.row(f"{arm.name}: accuracy, {last}", spread(accuracy[:, late].mean(1)), "%")
    report.row(f"{arm.name}: loss, task 1", spread(loss[:, 0]), "nats")
    report.row(f"{arm.name}: loss, {last}", spread(loss[:, late].mean(1)), "nats")
    fallen = accuracy[:, 0] - accuracy[:, late].mean(1)
    report.row(f"{arm.name}: trainability lost", spread(fallen), "points")
    rate = outcome.effective_lr[chosen, choosing:, -1]
    report.row(f"{arm.name}: effective lr, last task over first", spread(rate), "x")
    print(arm.name, [f"{value:.1f}" for value in accuracy.mean(0)], flush=True)


def spread(values: FloatArray) -> str:
    """Return the mean and its standard error over seeds."""
    error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else float("nan")
    return f"{values.mean():.3g} +- {error:.2g}"


def main() -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument("--optimizer", choices=tuple(GRIDS), help="only this one")
    options = parser.parse_args()
    choosing, reported = CHOOSING_SEEDS, REPORTED_SEEDS
    tasks, kinds = (3, ("SGD",)) if options.quick else (TASKS, tuple(GRIDS))
    if options.optimizer:
        kinds = (options.optimizer,)
    report = Report("plasticity", seeds=[*choosing, *reported], packages=("torch", "mnist1d"))
    inputs = load("mnist1d").train.inputs[:EXAMPLES]
    for name in kinds:
        for decays in (False, True):
            for projects in (False, True):
                arm = Arm(name, decays, projects)
                outcome = train(arm, inputs, [*choosing, *reported], tasks)
                report_arm(report, arm, outcome, len(choosing))
    report.print()
    report.save(options.json)


if __name__ == "__main__":
    main()
