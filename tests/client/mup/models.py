"""A model with a tensor of every class, and one with a residual stream."""

from torch import Tensor, nn


def perceptron(width: int) -> nn.Module:
    """Return a perceptron: an input, a hidden matrix, a readout, and their biases."""
    return nn.Sequential(
        nn.Linear(7, width), nn.ReLU(), nn.Linear(width, 3 * width), nn.Linear(3 * width, 5)
    )


class ResidualPerceptron(nn.Module):
    """A stream that blocks add to; what ends a branch is ``blocks.*.2``."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.input = nn.Linear(16, width, bias=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width, bias=False),
                nn.Tanh(),
                nn.Linear(width, width, bias=False),
            )
            for _ in range(depth)
        )
        self.readout = nn.Linear(width, 10, bias=False)

    def stream(self, x: Tensor) -> Tensor:
        """Return the stream after the last block."""
        x = self.input(x)
        for block in self.blocks:
            x = x + block(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.readout(self.stream(x))
        return logits
