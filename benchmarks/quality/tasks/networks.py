"""The networks of the tasks that are not language models."""

from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

NetworkName: TypeAlias = Literal["linear", "mlp", "batchnorm_mlp", "cnn", "residual", "autoencoder"]


class Sequence1d(nn.Module):
    """Adds the channel that convolutions want: [batch, length] to [batch, 1, length]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1)


class Image8x8(nn.Module):
    """Gives the digits their shape back: [batch, 64] to [batch, 1, 8, 8]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, 1, 8, 8)


class ResidualBlock(nn.Module):
    """Two convolutions with batch normalisation, added to their input [He2016, arXiv 1512.03385]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm_first, self.norm_second = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.norm_first(self.first(x)))
        return torch.relu(x + self.norm_second(self.second(hidden)))


def build_network(
    name: NetworkName, features: int, outputs: int, width: int, depth: int
) -> nn.Module:
    """Return a network from [batch, features] to [batch, outputs]; ``depth`` counts hidden layers or blocks."""
    match name:
        case "linear":
            return nn.Linear(features, outputs)
        case "mlp":
            return _perceptron([features, *[width] * depth, outputs], normed=False)
        case "batchnorm_mlp":
            return _perceptron([features, *[width] * depth, outputs], normed=True)
        case "autoencoder":
            return _perceptron([features, width, width // 8, width, features], normed=False)
        case "cnn":
            return _convolutions(features, outputs, width, depth)
        case "residual":
            blocks = [ResidualBlock(width) for _ in range(depth)]
            stem = nn.Conv2d(1, width, 3, padding=1, stride=2, bias=False)
            pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, outputs))
            head = (Image8x8(), stem, nn.BatchNorm2d(width), nn.ReLU())
            return nn.Sequential(*head, *blocks, *pooled)


def _perceptron(widths: list[int], *, normed: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers.append(nn.Linear(inputs, outputs))
        if normed:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def _convolutions(length: int, outputs: int, channels: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = [Sequence1d()]
    for index in range(depth):
        kernel = 5 if index == 0 else 3
        layers.append(
            nn.Conv1d(channels if index else 1, channels, kernel, stride=2, padding=kernel // 2)
        )
        layers.append(nn.ReLU())
        length = (length + 1) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * length, outputs))
