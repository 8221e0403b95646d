"""What Tune's results say, by the names that the training gave them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacesetter.protocol import Cost, Message, Name, TrialPoint
from pacesetter.protocol.trials import MOST_AMOUNT, MOST_STEPS


class Numbers(Message):
    """What a trial reported last, as far as the service wants to know it."""

    step: int
    """Optimizer steps done."""
    loss: float | None
    """The objective, lower is better; None: not reported."""
    lr: float | None
    metrics: dict[Name, float]
    cost: Cost

    def point(self) -> TrialPoint | None:
        """Return it as a point of the trial's curve; None where it has no loss."""
        if self.loss is None:
            return None
        return TrialPoint(step=self.step, lr=self.lr, loss=self.loss)


@dataclass(frozen=True, slots=True)
class Reading:
    """Which names of a result, or of the configuration, hold what.

    Attributes:
        lr: The learning rate; where a result has none, that of the configuration.
        step: Optimizer steps done.
        tokens: Consumed so far; None: not counted.
        flops: Spent so far; None: not counted.
        metrics: What else to keep of the last result.
    """

    lr: str
    step: str
    tokens: str | None = None
    flops: str | None = None
    metrics: Sequence[str] = ()

    def read(
        self, result: Mapping[str, Any], config: Mapping[str, Any], metric: str, mode: str
    ) -> Numbers:
        """Return what a flat result says.

        Args:
            result: As the trial reported it.
            config: Of the trial, flat.
            metric: Name of the objective.
            mode: ``min``, or ``max``, whose objective is told with its sign turned.
        """
        value = number(result, metric)
        lr = number(result, self.lr)
        step = _amount(result, self.step, MOST_STEPS)
        return Numbers(
            step=int(step),
            loss=value if value is None or mode == "min" else -value,
            lr=number(config, self.lr) if lr is None else lr,
            metrics={
                name: found for name in self.metrics if (found := number(result, name)) is not None
            },
            cost=Cost(
                steps=int(step),
                tokens=_amount(result, self.tokens),
                flops=_amount(result, self.flops),
                seconds=_amount(result, "time_total_s"),
            ),
        )


def number(values: Mapping[str, Any], name: str) -> float | None:
    """Return a value as a number; None where it is none, or missing."""
    value = values.get(name)
    if value is None or isinstance(value, bool | str):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _amount(values: Mapping[str, Any], name: str | None, most: float = MOST_AMOUNT) -> float:
    """Return what a service takes as an amount: 0 or more, and no more than it counts to."""
    value = None if name is None else number(values, name)
    if value is None or math.isnan(value):
        return 0.0
    return min(max(0.0, value), most)
