"""The same training four times: steered, and three times as a user would run it without the service."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pacesetter
import torch
from torch import Tensor

from demo.model import ByteTransformer
from demo.text import Corpus, Windows

POOR_LR = 3e-5
"""Some 50 times too low for this model: the mistake that the demo starts from."""
TUNED_LR = 8e-3
"""The best of a sweep by factors of 2 at the demo's length: what the user would have had after half a dozen runs."""
BATCH, CONTEXT, SEED = 16, 64, 0
VALIDATION_BATCHES = 8

Progress = Callable[[int, float, float, bool], None]
"""Called after each step with main-line position, loss, learning rate, and whether the step was on the main line."""


@dataclass
class Outcome:
    """What one training run cost and reached. Losses are in nats a byte, on split B, which steered nothing."""

    name: str
    loss_before: float
    loss_after: float
    main_steps: int
    total_steps: int
    seconds: float
    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)


def build(learning_rate: float) -> tuple[ByteTransformer, torch.optim.AdamW]:
    """Return model and optimizer, the same on every call but for the learning rate."""
    torch.manual_seed(SEED)
    model = ByteTransformer(context=CONTEXT)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.1
    )
    return model, optimizer


@torch.no_grad()
def evaluate(model: ByteTransformer, text: Tensor) -> float:
    """Return the mean loss over fixed windows of ``text``."""
    windows = Windows(text, 4 * BATCH, CONTEXT, seed=SEED + 1)
    losses = [float(model(windows.batch_at(index))) for index in range(VALIDATION_BATCHES)]
    return sum(losses) / len(losses)


def train_unsteered(
    corpus: Corpus, steps: int, peak: float, name: str, progress: Progress
) -> Outcome:
    """Train with warm-up to ``peak`` and linear decay to zero: the base schedule, unsteered."""
    model, optimizer = build(peak)
    schedule = pacesetter.Schedule.default_base(steps)
    windows = Windows(corpus.train, BATCH, CONTEXT, SEED)
    before, started = evaluate(model, corpus.validation_b), time.perf_counter()
    outcome = Outcome(name, before, before, steps, steps, 0.0)
    for step in range(steps):
        learning_rate = peak * schedule.at(step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        loss = model(windows.batch_at(step))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        outcome.losses.append(loss.item())
        outcome.learning_rates.append(learning_rate)
        progress(step + 1, loss.item(), learning_rate, True)
    outcome.seconds = time.perf_counter() - started
    outcome.loss_after = evaluate(model, corpus.validation_b)
    return outcome


def train_steered(
    corpus: Corpus, steps: int, url: str, external_id: str, progress: Progress
) -> Outcome:
    """Train from the same poor learning rate while the service at ``url`` steers it."""
    model, optimizer = build(POOR_LR)
    windows = Windows(corpus.train, BATCH, CONTEXT, SEED)
    before, started = evaluate(model, corpus.validation_b), time.perf_counter()
    run = pacesetter.attach(
        model,
        optimizer,
        name="demo-byte-transformer",
        external_id=external_id,
        budget=pacesetter.Steps(steps),
        validate=lambda: evaluate(model, corpus.validation_a),
        strategy="zero_tuning",
        url=url,
        seed=SEED,
    )
    total_steps = 0
    for batch in run.batches(windows):
        learning_rate = optimizer.param_groups[0]["lr"]
        on_main_line = run.on_main_line
        loss = model(batch)
        loss.backward()
        run.step(loss, tokens=batch.shape[0] * CONTEXT)
        total_steps += 1
        progress(run.position, loss.item(), learning_rate, on_main_line)
    run.finish()
    seconds = time.perf_counter() - started
    after = evaluate(model, corpus.validation_b)
    return Outcome("steered", before, after, steps, total_steps, seconds)
