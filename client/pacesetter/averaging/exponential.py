"""The running average of weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pacesetter.averaging.average import Named, WeightAverage
from pacesetter.errors import ConfigurationError


class ExponentialAverage(WeightAverage):
    """``avg += (theta - avg) max(1 / t, 1 / horizon)`` at the t-th update: first the plain mean, then the running one.

    While fewer updates than ``horizon`` were made all count alike, so the start needs no correction and is forgotten as
    fast as it can be; afterwards each counts ``1 - 1 / horizon`` times what the next one does.

    Args:
        model: Whose weights are averaged.
        horizon: Updates that count, about; infinity is the mean of all.

    Raises:
        ConfigurationError: ``horizon`` is below 1.
    """

    def __init__(self, model: nn.Module, horizon: float) -> None:
        super().__init__(model)
        if not horizon >= 1.0:
            raise ConfigurationError(
                f"a horizon of {horizon} updates is impossible; give 1 or more (1 is the newest weights alone)"
            )
        self.horizon = horizon
        self._average: Named | None = None

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        self.updates += 1
        now = self._now()
        if self._average is None:
            self._average = now
            return
        share = max(1.0 / self.updates, 1.0 / self.horizon)
        floating = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self._average[name] for name in floating], [now[name] for name in floating], share
        )

    def average(self) -> Named:
        """Return the averaged weights by name."""
        if self._average is None:
            raise ConfigurationError("nothing was averaged yet; call update() after a step")
        return self._average

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the count of updates."""
        average = self._average or {}
        return {
            "updates": self.updates,
            "average": {name: value.clone() for name, value in average.items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        average = state["average"]
        if average:
            self._check(average)
        now = self._now()
        self.updates = int(state["updates"])
        self._average = (
            {n: now[n].copy_(torch.as_tensor(average[n])) for n in now} if average else None
        )
