"""FedHyper without any federated framework: FedAvg against global, server-local and client-local rates.

Digits over 20 clients (Dirichlet .5 over the labels), a perceptron, ten local SGD steps a round, every client in every
round. The first local learning rate is right (the best of FedAvg on another seed), ten times too high and ten times too
low. Rounds until a test accuracy is reached, and the accuracy after the last round. All clients train side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pacesetter.federated import ClientLocalRate, GlobalRate, ServerLocalRate
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

from benchmarks.reporting import Report, arguments

Method = Literal["FedAvg", "global", "server-local", "client-local"]
METHODS: tuple[Method, ...] = ("FedAvg", "global", "server-local", "client-local")
CLIENTS, CONCENTRATION, BATCH, LOCAL_STEPS, WIDTH = 20, 0.5, 16, 10, 32
ROUNDS, TARGET = 60, 0.90
GRID = tuple(2.0**exponent for exponent in range(-6, 3))
CHOOSING_SEED, SEEDS = 100, (0, 1, 2)
STARTS = {"right": 1.0, "10x too high": 10.0, "10x too low": 0.1}

Weights = list[Tensor]
"""Two layers: [clients, in, out] while clients train, [in, out] at the server."""


@dataclass(frozen=True)
class Split:
    """Digits for training, dealt to clients, and for testing."""

    inputs: Tensor
    labels: Tensor
    owned: list[np.ndarray]
    test_inputs: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class Outcome:
    """Of one federation."""

    rounds: float
    """Until the target; one more than there are where it was not reached."""
    accuracy: float


def main(argv: Sequence[str] | None = None) -> None:
    """Train all federations, and print the table."""
    given = arguments(__doc__).parse_args(argv)
    seeds, rounds = (SEEDS[:1], 20) if given.quick else (SEEDS, ROUNDS)
    torch.set_num_threads(1)
    right = max(GRID, key=lambda lr: federate("FedAvg", lr, CHOOSING_SEED, rounds).accuracy)
    report = Report("federated", seeds=list(seeds), packages=("numpy", "torch", "scikit-learn"))
    report.row("right local learning rate (FedAvg, another seed)", right, "")
    for start, factor in STARTS.items():
        for method in METHODS:
            found = [federate(method, right * factor, seed, rounds) for seed in seeds]
            _add(report, f"{start}: {method}", found, rounds)
    report.print()
    report.save(given.json)


def federate(method: Method, lr: float, seed: int, rounds: int) -> Outcome:
    """Train one federation."""
    split, rng = deal(seed), np.random.default_rng([seed, 1])
    weights = initial(seed)
    server, shared = GlobalRate(), ServerLocalRate(lr)
    own = [ClientLocalRate(lr, LOCAL_STEPS) for _ in range(CLIENTS)]
    delta: Weights | None = None
    reached = float(rounds + 1)
    for number in range(1, rounds + 1):
        for each in own:
            each.begin_round(delta)
        local_lr = shared.rate if method == "server-local" else lr
        moving = own if method == "client-local" else None
        trained = local_round(split, weights, rng, local_lr, moving)
        delta = [before - after.mean(0) for before, after in zip(weights, trained, strict=True)]
        if method == "server-local":
            shared.update(delta)
        alpha = server.update(delta) if method == "global" else 1.0
        weights = [before - alpha * change for before, change in zip(weights, delta, strict=True)]
        if reached > rounds and accuracy(split, weights) >= TARGET:
            reached = float(number)
    return Outcome(reached, accuracy(split, weights))


def local_round(
    split: Split,
    weights: Weights,
    rng: np.random.Generator,
    lr: float,
    moving: Sequence[ClientLocalRate] | None,
) -> Weights:
    """Return every client's weights after its local steps."""
    local = [each.expand(CLIENTS, *each.shape).clone() for each in weights]
    rates = torch.full((CLIENTS, 1, 1), lr)
    for _ in range(LOCAL_STEPS):
        chosen = np.stack([rng.choice(mine, BATCH) for mine in split.owned])
        gradients = gradients_of(local, split.inputs[chosen], split.labels[chosen])
        for one, gradient in zip(local, gradients, strict=True):
            one -= rates * gradient
        if moving is not None:
            for client, rate in enumerate(moving):
                rates[client] = rate.update([each[client] for each in gradients])
    return local


def gradients_of(local: Weights, inputs: Tensor, labels: Tensor) -> Weights:
    """Return the gradient of every client's mean cross-entropy, clients side by side."""
    held = [each.detach().requires_grad_() for each in local]
    logits = torch.relu(inputs @ held[0]) @ held[1]
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return list(torch.autograd.grad(losses.view(CLIENTS, BATCH).mean(1).sum(), held))


def accuracy(split: Split, weights: Weights) -> float:
    """Return the share of test digits that are told right; 0 where the weights are not finite."""
    logits = torch.relu(split.test_inputs @ weights[0]) @ weights[1]
    right = (logits.argmax(1) == split.test_labels).double().mean()
    return float(right) if bool(logits.isfinite().all()) else 0.0


def initial(seed: int) -> Weights:
    """Return the server's first weights."""
    generator = torch.Generator().manual_seed(seed)
    sizes = ((64, WIDTH), (WIDTH, 10))
    return [torch.randn(size, generator=generator) * (2.0 / size[0]) ** 0.5 for size in sizes]


def deal(seed: int) -> Split:
    """Return the digits, three in four for training, dealt label by label by Dirichlet shares."""
    digits = load_digits()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digits.target))
    inputs = torch.tensor(digits.data[order] / 16.0, dtype=torch.float32)
    labels = torch.tensor(digits.target[order])
    cut = 3 * len(order) // 4
    owned: list[list[int]] = [[] for _ in range(CLIENTS)]
    for label in range(10):
        places = np.flatnonzero(labels[:cut].numpy() == label)
        shares = rng.dirichlet([CONCENTRATION] * CLIENTS)
        cuts = (np.cumsum(shares)[:-1] * len(places)).astype(int)
        for client, part in enumerate(np.split(places, cuts)):
            owned[client] += part.tolist()
    # A client that was dealt nothing gets one digit: the mean is over all clients.
    dealt = [np.array(mine or [int(rng.integers(cut))]) for mine in owned]
    return Split(inputs[:cut], labels[:cut], dealt, inputs[cut:], labels[cut:])


def _add(report: Report, name: str, found: Sequence[Outcome], rounds: int) -> None:
    reached = sum(each.rounds <= rounds for each in found)
    needed = [each.rounds for each in found]
    mean, error = _mean_and_error([100.0 * each.accuracy for each in found])
    report.row(f"{name}: accuracy after {rounds} rounds (se {error:.1f})", mean, "%")
    text = f"{name}: rounds to {100 * TARGET:.0f} % ({reached} of {len(found)} reached it)"
    report.row(text, float(np.mean(needed)) if reached else None, "rounds")


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(np.mean(values)), spread / len(values) ** 0.5


if __name__ == "__main__":
    main()
