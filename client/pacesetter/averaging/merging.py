"""Checkpoints of a trunk, merged when a model is asked for."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pacesetter.averaging.average import Named, WeightAverage
from pacesetter.averaging.weights import decay_equivalent_weights
from pacesetter.errors import ConfigurationError
from pacesetter.schedules import Schedule


class CheckpointMerge(WeightAverage):
    """Keeps the last weights of a run, each with its position, and merges them.

    Each kept one takes as much memory as the weights: update every hundred steps or so, not at every one. How long the
    merged stretch is matters more than how many there are in it [WSM, arXiv 2507.17634].

    Args:
        model: Whose weights are kept.
        last: How many of them.
        decay: What the merge stands for, as a schedule over positions; None: uniform weights, a linear decay.

    Raises:
        ConfigurationError: ``last`` is below 1.
    """

    def __init__(self, model: nn.Module, last: int, decay: Schedule | None = None) -> None:
        super().__init__(model)
        if last < 1:
            raise ConfigurationError(
                f"keeping the last {last} weights is impossible; give 1 or more"
            )
        self.decay = decay
        self._kept: deque[tuple[float, Named]] = deque(maxlen=last)

    def update(self, position: float | None = None) -> None:
        """Keep the weights as they are now.

        Args:
            position: Of the run, such as ``run.position``; None: the count of updates.

        Raises:
            ConfigurationError: It is not beyond the last one.
        """
        self.updates += 1
        place = float(self.updates if position is None else position)
        if self._kept and place <= self._kept[-1][0]:
            raise ConfigurationError(
                f"weights at {place:g} after those at {self._kept[-1][0]:g}: positions rise. After a rollback load the "
                "state of the merge too, by extras= of attach"
            )
        self._kept.append((place, self._now()))

    @property
    def positions(self) -> tuple[float, ...]:
        """Positions of the weights that are kept, oldest first."""
        return tuple(place for place, _ in self._kept)

    def weights(self) -> list[float]:
        """Return the weight of each one kept, oldest first."""
        if self.decay is None:
            return [1.0 / len(self._kept)] * len(self._kept)
        return list(map(float, decay_equivalent_weights(self.decay, self.positions)))

    @torch.no_grad()
    def average(self) -> Named:
        """Return the merged weights by name."""
        if not self._kept:
            raise ConfigurationError("nothing was kept yet; call update() after a step")
        shares, newest = self.weights(), self._kept[-1][1]
        merged = {}
        for name, last in newest.items():
            if not last.is_floating_point():
                merged[name] = last
                continue
            total = torch.zeros_like(last, dtype=torch.float64)
            for share, (_, kept) in zip(shares, self._kept, strict=True):
                total.add_(kept[name], alpha=share)
            merged[name] = total.to(last.dtype)
        return merged

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept, with its positions."""
        return {
            "updates": self.updates,
            "kept": [(place, dict(values)) for place, values in self._kept],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        kept = [(float(place), dict(values)) for place, values in state["kept"]]
        for _, values in kept:
            self._check(values)
        self.updates = int(state["updates"])
        self._kept.clear()
        self._kept.extend(kept)
