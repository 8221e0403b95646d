"""Schedule-Free as the baseline uses it, beside its paper's three lines and the vector worked out by hand."""

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from benchmarks.quality.baselines import rate_free

schedulefree = pytest.importorskip("schedulefree")

SF1 = (0.5, 0.375, 0.2729166667, 0.1903125, 0.1241968750)
"""``f(x) = x^2 / 2`` from ``x_0 = 1``, learning rate .5, beta .9."""


def averages(optimizer: Optimizer, weight: nn.Parameter, steps: int) -> list[float]:
    """Return the averaged weight after each step; gradients are taken at the interpolated one."""
    seen = []
    for _ in range(steps):
        rate_free._switch(optimizer, "train")
        optimizer.zero_grad()
        torch.autograd.backward(0.5 * weight.square().sum())
        optimizer.step()
        assert rate_free._switch(optimizer, "eval")
        seen.append(weight.item())
    return seen


def published(lr: float, beta: float, decay: float, steps: int) -> list[float]:
    """Return the averages of [Defazio2024, arXiv 2405.15682] at a constant rate, decay taken at y."""
    x = z = 1.0
    seen = []
    for step in range(1, steps + 1):
        y = (1.0 - beta) * z + beta * x
        z -= lr * (y + decay * y)
        x += (z - x) / step
        seen.append(x)
    return seen


def one() -> nn.Parameter:
    return nn.Parameter(torch.ones(1, dtype=torch.float64))


def test_sf1_the_averages_of_the_peer_are_those_worked_out_by_hand() -> None:
    weight = one()
    optimizer = schedulefree.SGDScheduleFree([weight], lr=0.5, momentum=0.9)

    assert averages(optimizer, weight, 5) == pytest.approx(SF1, abs=5e-11)
    assert published(0.5, 0.9, 0.0, 5) == pytest.approx(SF1, abs=5e-11)


def test_the_peer_decays_weights_where_it_takes_the_gradient() -> None:
    weight = one()
    optimizer = schedulefree.SGDScheduleFree([weight], lr=0.3, momentum=0.9, weight_decay=0.2)

    assert averages(optimizer, weight, 40) == pytest.approx(published(0.3, 0.9, 0.2, 40), rel=1e-9)


def test_without_the_switch_the_weights_are_not_the_averages() -> None:
    weight = one()
    optimizer = schedulefree.SGDScheduleFree([weight], lr=0.5, momentum=0.9)
    averages(optimizer, weight, 2)
    rate_free._switch(optimizer, "train")

    # y_2 = .1 z_2 + .9 x_2 with z_2 = .25
    assert weight.item() == pytest.approx(0.1 * 0.25 + 0.9 * 0.375, abs=1e-12)
    assert not rate_free._switch(torch.optim.SGD([one()], lr=0.1), "eval")
