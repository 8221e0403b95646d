"""A model with a tensor of every class."""

from torch import nn


def perceptron(width: int) -> nn.Module:
    """Return a perceptron: an input, a hidden matrix, a readout, and their biases."""
    return nn.Sequential(
        nn.Linear(7, width), nn.ReLU(), nn.Linear(width, 3 * width), nn.Linear(3 * width, 5)
    )
