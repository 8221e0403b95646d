"""A byte-level language model: what a transformer's learning rate does shows within seconds."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacesetter_workers.errors import ParameterRefused
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.proxies.coordinates import check
from pacesetter_workers.proxies.parameters import Parameters
from pacesetter_workers.proxies.recipe import read_recipe
from pacesetter_workers.proxies.text import Text, load_text, windows
from pacesetter_workers.proxies.training import Setting, Task, train
from pacesetter_workers.running import RunningTrial

HEAD = 16
"""Width of an attention head at every width, so that attention itself is the same in all of them."""
BASE_WIDTH, BASE_DEPTH = 32, 2
BRANCHES = ("blocks.*.out", "blocks.*.down")
"""What is added to the residual stream."""
EVALUATION_WINDOWS = 384
_EVALUATION_SEED = 2**31


def byte_lm(trial: RunningTrial) -> Outcome:
    """Train it and return its loss on held-out text, in nats a byte.

    Parameters beside those of every training (``recipe.py``): ``width`` (32, a multiple of 16), ``depth`` (2),
    ``batch`` (16), ``context`` (64), ``text`` (the standard library's sources).
    """
    given = Parameters(trial.parameters)
    width = given.count("width", BASE_WIDTH)
    depth = given.count("depth", BASE_DEPTH)
    batch, context = given.count("batch", 16), given.count("context", 64)
    named = given.text("text", "")
    recipe = read_recipe(given, trial, steps=300, base_width=BASE_WIDTH, base_depth=BASE_DEPTH)
    given.finish("byte_lm")
    compared = [("a width of coordinates", each) for each in recipe.coordinates]
    for name, value in (("width", width), ("base_width", recipe.base_width), *compared):
        if value % HEAD:
            raise ParameterRefused(
                f"{name} is {value}; expected a multiple of {HEAD}, the width of a head"
            )
    # CompleteP scales the branches themselves; the plain form starts them lower, the more there are.
    scaled = recipe.base_depth if recipe.parametrization == "mup" else depth

    def make(wide: int, deep: int) -> nn.Module:
        return ByteLM(wide, deep, context, scaled)

    text = load_text(trial.data, named)

    def task(wide: int) -> NextByte:
        return NextByte(text, wide, depth, batch, context, recipe.seed)

    setting = Setting(make, task, depth, recipe, BRANCHES)
    return check(trial, setting) if recipe.coordinates else train(trial, setting, width)


class ByteLM(nn.Module):
    """A pre-norm decoder with learned positions, without biases and gains, as in GPT-2 but for its norm.

    Args:
        width: A multiple of 16.
        depth: Blocks.
        context: Longest window.
        scaled_depth: The depth for which the branches are initialised.
    """

    def __init__(self, width: int, depth: int, context: int, scaled_depth: int) -> None:
        super().__init__()
        self.token = nn.Embedding(256, width)
        self.place = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.readout = nn.Linear(width, 256, bias=False)
        nn.init.normal_(self.token.weight, std=0.5)
        nn.init.normal_(self.place.weight, std=0.1)
        nn.init.normal_(self.readout.weight, std=width**-0.5)
        for block in self.blocks:
            for name, weight in block.named_parameters():
                ending = (
                    (2 * scaled_depth) ** -0.5 if name in ("out.weight", "down.weight") else 1.0
                )
                nn.init.normal_(weight, std=ending * weight.shape[1] ** -0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map bytes [batch, time] to logits [batch, time, 256]."""
        x = self.token(inputs) + self.place(torch.arange(inputs.shape[1], device=inputs.device))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.readout(functional.rms_norm(x, x.shape[-1:]))
        return logits


class Block(nn.Module):
    """Attention and a two-layer perceptron, each added to the residual stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, width] to the same shape."""
        batch, time, width = x.shape
        qkv = self.qkv(functional.rms_norm(x, (width,))).view(batch, time, 3, -1, HEAD)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time, width))
        hidden = functional.gelu(self.up(functional.rms_norm(x, (width,))))
        out: Tensor = x + self.down(hidden)
        return out


class NextByte(Task):
    """Predict the next byte of random windows."""

    def __init__(
        self, text: Text, width: int, depth: int, batch: int, context: int, seed: int
    ) -> None:
        self._text, self._batch, self._context, self._seed = text, batch, context, seed
        self.tokens = float(batch * context)
        # 6 N D, with the N that multiply: the embeddings are looked up.
        self.flops = 6.0 * (12 * depth * width**2 + 256 * width) * self.tokens

    def loss(self, model: nn.Module, step: int) -> Tensor:
        """Return the mean cross-entropy in nats a byte."""
        return _cross_entropy(
            model, windows(self._text.train, self._batch, self._context, (self._seed, step))
        )

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return the mean loss over windows that are the same for all trials."""
        held_out = windows(
            self._text.held_out, EVALUATION_WINDOWS, self._context, (_EVALUATION_SEED,)
        )
        losses = [
            float(_cross_entropy(model, part)) for part in held_out.view(-1, 64, self._context + 1)
        ]
        return {"loss": sum(losses) / len(losses)}


def _cross_entropy(model: nn.Module, batch: Tensor) -> Tensor:
    batch = batch.to(next(model.parameters()).device)
    logits = model(batch[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
