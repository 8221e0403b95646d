"""A problem of which only the direction matters, and a normalised perceptron, for the tests of the projection."""

import torch
from pacesetter.projection import NormProjection
from torch import Tensor, nn

TARGET = torch.tensor([[0.3, -0.8, 0.5, 0.1]], dtype=torch.float64)


def weight(scale: float = 1.0) -> nn.Parameter:
    torch.manual_seed(0)
    return nn.Parameter(scale * torch.randn(1, 4, dtype=torch.float64))


def direction(parameter: Tensor) -> Tensor:
    turned: Tensor = (parameter / parameter.norm()).detach().clone()
    return turned


def descend(parameter: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Make one step of ``f(w) = |w / ||w|| - target|^2``."""
    optimizer.zero_grad()
    (parameter / parameter.norm() - TARGET).square().sum().backward()
    optimizer.step()


def perceptron(
    norm: type[nn.Module] = nn.LayerNorm,
    activation: type[nn.Module] = nn.ReLU,
    *,
    bias: bool = False,
    features: int = 6,
    width: int = 16,
) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(features, width, bias=bias),
        norm(width),
        activation(),
        nn.Linear(width, width, bias=bias),
        norm(width),
        activation(),
        nn.Linear(width, 3),
    )


def linear(model: nn.Sequential, index: int) -> nn.Linear:
    layer = model[index]
    assert isinstance(layer, nn.Linear)
    return layer


def projected(parameter: nn.Parameter, lr: float = 0.1, *, every: int = 1) -> NormProjection:
    """Return the projection of one weight under plain SGD."""
    return NormProjection({"w": parameter}, torch.optim.SGD([parameter], lr=lr), every=every)
