"""A member of a population: a built-in proxy, trained an interval at a time at the rate that Tune gives it.

What it was trained at before travels with its checkpoint, so a member that copies another one has that one's past.
"""

import math
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from pacesetter.protocol import Trial, TrialPoint
from ray import tune

from pacesetter_workers import checkpoints
from pacesetter_workers.errors import TrialDiverged
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.population.order import Order
from pacesetter_workers.proxies import resolve
from pacesetter_workers.proxies.training import DIVERGED
from pacesetter_workers.running import RunningTrial

LR, LOG2_LR = "lr", "log2_lr"
"""What PBT moves, by a factor, and what PB2 does, whose model has a linear scale: rates differ in octaves."""


class _Nobody:
    """The channel of a member: its worker hears of the population as a whole."""

    def send(self, point: TrialPoint) -> None:
        pass

    def alive(self) -> None:
        pass

    def is_cancelled(self) -> bool:
        return False


class Member(RunningTrial):
    """One start of a member, as its proxy sees it: its checkpoints go to Tune, with all that it measured so far.

    Args:
        data: The folder of texts that the worker's operator named, or None.
        order: The population.
        lr: The rate from now on.
        kept: What the checkpoint holds that it goes on from; None: it begins.
    """

    def __init__(
        self, data: Path | None, order: Order, lr: float, kept: Mapping[str, Any] | None
    ) -> None:
        trial = Trial(
            id="member",
            experiment="population",
            number=1,
            proxy=order.proxy,
            parameters=order.parameters(lr),
            seed=order.seed,
            attempt=1,
            progress_seconds=math.inf,
        )
        super().__init__(trial, Path(), _Nobody(), data)
        self._order, self._lr = order, lr
        self._state = None if kept is None else kept["state"]
        self.losses: list[float] = [] if kept is None else list(kept["losses"])
        self.lrs: list[float] = [] if kept is None else list(kept["lrs"])
        self._trained, self._told = 0, self.cost
        self._began_at = monotonic()

    @property
    def done(self) -> int:
        """Optimizer steps done, those before it copied another member included."""
        return len(self.losses)

    def restore(self) -> dict[str, Any] | None:
        """Return the state of the training in the checkpoint."""
        return self._state

    def report(self, step: Any, *, loss: Any, lr: Any = None, **amounts: float) -> None:
        """Keep a measurement; one that is no number ends the training."""
        super().report(step, loss=loss, lr=lr, **amounts)
        self._trained += 1
        self.losses.append(float(loss))
        self.lrs.append(float(lr))

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Tell Tune how it went in the interval that ends here; Tune may end this start of the member by that."""
        self.tell(dict(state), self.done, self.score())

    def score(self) -> float:
        """Return the mean loss of the second half of the interval: the same batches in all members."""
        return float(np.mean(self.losses[-max(1, self._order.every // 2) :]))

    def tell(self, state: dict[str, Any] | None, step: int, score: float, **more: float) -> None:
        """Report to Tune, with a checkpoint; ``state`` None: it diverged, and trains no more."""
        cost, told = self.cost, self._told
        numbers = {
            "score": score,
            "step": step,
            "lr": self._lr,
            "trained": self._trained,
            "tokens": cost.tokens - told.tokens,
            "flops": cost.flops - told.flops,
            "seconds": monotonic() - self._began_at,
            **more,
        }
        self._trained, self._told, self._began_at = 0, cost, monotonic()
        document = {"state": state, "step": step, "losses": self.losses, "lrs": self.lrs}
        with tempfile.TemporaryDirectory() as folder:
            checkpoints.write(Path(folder), document)
            tune.report(numbers, checkpoint=tune.Checkpoint.from_directory(folder))


def train_member(config: dict[str, Any], order: Order, data: Path | None) -> None:
    """Train a member from where its checkpoint stands, to its end or until Tune ends it: Tune's trainable."""
    torch.set_num_threads(1)
    lr = config[LR] if LR in config else 2.0 ** config[LOG2_LR]
    kept = _kept()
    member = Member(data, order, lr, kept)
    if kept is not None and kept["state"] is None:
        _wait(member, order, kept["step"])
        return
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(order.seed % 2**32)
    try:
        outcome = resolve(order.proxy, ())(member)
    except TrialDiverged:
        _wait(member, order, 0)
        return
    assert isinstance(outcome, Outcome)
    if outcome.loss is None:
        _wait(member, order, order.steps - 1)
        return
    metrics = {f"metric/{name}": value for name, value in outcome.metrics.items()}
    member.tell({}, order.steps, member.score(), objective=outcome.loss, **metrics)


def _wait(member: Member, order: Order, after: int) -> None:
    """Report a loss that nobody wants at every boundary that is left: Tune then copies another member in its place."""
    worst = DIVERGED * member.losses[0]
    for boundary in order.boundaries:
        if boundary > after and boundary >= member.done:
            member.tell(None, boundary, worst)


def _kept() -> dict[str, Any] | None:
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return checkpoints.read(Path(folder))
