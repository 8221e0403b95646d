"""What a population is to be, read from its trial's parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from pacesetter.protocol import Value

from pacesetter_workers.errors import ParameterRefused
from pacesetter_workers.proxies.parameters import Parameters

FOUND = ("lr", "schedule", "warmup", "floor", "checkpoint_every", "job")
"""Parameters of the proxies that a population sets by itself; its members are no jobs."""


@dataclass(frozen=True, slots=True)
class Order:
    """A population.

    Attributes:
        proxy: What its members train.
        scheduler: Who moves their rates.
        members: How many.
        intervals: In how many stretches they train; rates move between them.
        quantile: Share of the members that give up, each for a copy of one of the best as many.
        low: Lowest learning rate.
        high: Highest one.
        steps: Optimizer steps of each member.
        seed: Of weights and data: all members see the same batches, so that their losses compare.
        others: Parameters of the proxy beside those.
    """

    proxy: str
    scheduler: Literal["pb2", "pbt"]
    members: int
    intervals: int
    quantile: float
    low: float
    high: float
    steps: int
    seed: int
    others: Mapping[str, Value]

    @property
    def every(self) -> int:
        """Steps of an interval; the last one may be shorter."""
        return -(-self.steps // self.intervals)

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Steps at which an interval ends, the last step among them."""
        return (*range(self.every, self.steps, self.every), self.steps)

    def first_rates(self) -> tuple[float, ...]:
        """Return the members' first rates, in the middles of equal parts of the range in octaves."""
        parts = (np.arange(self.members) + 0.5) / self.members
        return tuple(float(rate) for rate in self.low * (self.high / self.low) ** parts)

    def parameters(self, lr: float) -> dict[str, Value]:
        """Return those of a member that trains at ``lr`` until it is told otherwise."""
        own: dict[str, Value] = {"lr": lr, "schedule": "constant", "warmup": 0.0}
        every: dict[str, Value] = {"checkpoint_every": self.every}
        return {**self.others, "steps": self.steps, "seed": self.seed, **own, **every}


def read_order(proxy: str, given: Mapping[str, Value], seed: int) -> Order:
    """Return the population that a trial's parameters ask for.

    Args:
        proxy: What its members train.
        given: The parameters.
        seed: Of the trial, where they have none.

    Raises:
        ParameterRefused: One of them cannot be.
    """
    taken = sorted(given.keys() & set(FOUND))
    if taken:
        raise ParameterRefused(
            f"{', '.join(taken)} cannot be given to a population, which finds the schedule; leave it out"
        )
    parameters = Parameters(given)
    low, high = parameters.positive("lr_low"), parameters.positive("lr_high")
    order = Order(
        proxy=proxy,
        scheduler=cast(
            Literal["pb2", "pbt"], parameters.choice("scheduler", ("pb2", "pbt"), "pb2")
        ),
        members=parameters.count("members", low=2),
        intervals=parameters.count("intervals", low=2),
        quantile=parameters.number("quantile", low=0.0, high=0.5),
        low=low,
        high=high,
        steps=parameters.count("steps"),
        seed=parameters.count("seed", seed, low=0),
        others={name: value for name, value in given.items() if name not in _READ},
    )
    if not low < high:
        raise ParameterRefused(f"lr_low {low:g} is not below lr_high {high:g}; swap them")
    if order.steps < order.intervals:
        raise ParameterRefused(
            f"{order.steps} steps have no {order.intervals} intervals; give fewer intervals, or more steps"
        )
    return order


_READ = (*("lr_low", "lr_high", "scheduler", "members", "intervals", "quantile", "steps", "seed"),)
