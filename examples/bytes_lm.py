"""Train a small byte-level language model on Python's own standard library, with its learning rate steered.

    pacesetter-server serve &
    PACESETTER_URL=http://127.0.0.1:8642 python examples/bytes_lm.py

With the service away it trains on the base schedule all the same; without any, set PACESETTER_MODE=offline.
"""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pacesetter
import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS, BATCH, CONTEXT, WIDTH = 600, 16, 64, 64

sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
text = torch.from_numpy(np.frombuffer(b"".join(p.read_bytes() for p in sources), np.uint8).copy())
held_out, train = text[:200_000], text[200_000:]


class Windows:
    """Random windows; a batch is a function of its position, so the loop can rewind to any."""

    def batch_at(self, position: int) -> Tensor:
        rng = np.random.default_rng(position)
        starts = torch.from_numpy(rng.integers(0, len(train) - CONTEXT - 1, BATCH))
        return train[starts[:, None] + torch.arange(CONTEXT + 1)].long()


class GatedRecurrent(nn.Module):
    """Embedding, one GRU layer, readout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, WIDTH)
        self.recurrent = nn.GRU(WIDTH, 2 * WIDTH, batch_first=True)
        self.readout = nn.Linear(2 * WIDTH, 256)

    def forward(self, windows: Tensor) -> Tensor:
        hidden, _ = self.recurrent(self.embed(windows[:, :-1]))
        return functional.cross_entropy(
            self.readout(hidden).flatten(0, 1), windows[:, 1:].flatten()
        )


def held_out_windows() -> Iterator[Tensor]:
    for start in range(0, 64_000, 16 * (CONTEXT + 1)):
        yield held_out[start : start + 16 * (CONTEXT + 1)].view(16, CONTEXT + 1).long()


@torch.no_grad()
def validate() -> float:
    losses = [float(model(windows)) for windows in held_out_windows()]
    return sum(losses) / len(losses)


torch.manual_seed(0)
model = GatedRecurrent()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

run = pacesetter.attach(
    model, optimizer, name="bytes-gru", budget=pacesetter.Steps(STEPS), validate=validate
)
for windows in run.batches(Windows()):
    loss = model(windows)
    loss.backward()
    run.step(loss, tokens=windows.numel())
result = run.finish()
print(f"held-out loss {result.validation_loss:.4f} nats a byte after {STEPS} steps")
