"""A byte language model that is made at any width: heads of 16, so that wider models have more of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD = 16
BASE_DEPTH = 2
"""Of whose root branches are initialised at every depth, as CompleteP has it."""


class Block(nn.Module):
    """Attention and a perceptron behind RMS norms, each added to the residual stream; no biases."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_attention = nn.RMSNorm(width)
        self.norm_perceptron = nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        for layer in (self.qkv, self.project, self.up, self.down):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        for layer in (self.project, self.down):
            with torch.no_grad():
                layer.weight.mul_((2 * BASE_DEPTH) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, width] to the same shape."""
        batch, time, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, time, 3, width // HEAD, HEAD)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, time, width))
        out: Tensor = x + self.down(functional.gelu(self.up(self.norm_perceptron(x))))
        return out


class ByteDecoder(nn.Module):
    """Two blocks by default. Embeddings N(0, .5^2) and N(0, .1^2), matrices and readout N(0, 1/fan_in)."""

    def __init__(
        self, width: int, depth: int = 2, context: int = 64, *, tied: bool = False
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(256, width)
        self.place = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.stream = nn.Identity()  # for whoever watches what the blocks add up to
        self.norm = nn.RMSNorm(width)
        self.readout = nn.Linear(width, 256, bias=False)
        nn.init.normal_(self.token.weight, std=0.5)
        nn.init.normal_(self.place.weight, std=0.1)
        nn.init.normal_(self.readout.weight, std=width**-0.5)
        if tied:
            self.readout.weight = self.token.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [batch, time, 256] of bytes [batch, time]."""
        x = self.token(inputs) + self.place(torch.arange(inputs.shape[1], device=inputs.device))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.readout(self.norm(self.stream(x)))
        return logits


def next_byte_loss(model: nn.Module, windows: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats a byte of windows [batch, time + 1]."""
    logits = model(windows[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
