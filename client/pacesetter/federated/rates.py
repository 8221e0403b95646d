"""FedHyper's three rates, in the form of the paper [Wang2024, arXiv 2310.03156]; its released code differs.

A round's update ``Delta`` is the weights before it less the mean of the clients' weights after it, so that ``w <- w -
alpha Delta``. A rate grows where successive updates agree and falls where they do not. The paper has no step size for
it: the inner product has the square of the updates' scale, so what a rate does depends on that of model and rate.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

Vectors = Iterable[Any]
"""Arrays or tensors of one update, in the same order every time."""

GLOBAL_BOUND = 3.0
"""``gamma_alpha``: the server's rate stays within 1/3 and 3."""
LOCAL_BOUND = 10.0
"""``gamma_beta``: a client's rate stays within a tenth and ten times its first one."""


def dot(one: Vectors, other: Vectors) -> float:
    """Return the inner product of two updates over all of their arrays, which agree in number and shape.

    Raises:
        ValueError: They do not.
    """
    total = 0.0
    for ours, theirs in zip(one, other, strict=True):
        if tuple(ours.shape) != tuple(theirs.shape):
            raise ValueError(
                f"updates of shapes {tuple(ours.shape)} and {tuple(theirs.shape)} have no product; keep the order of "
                "the arrays from round to round"
            )
        total += float((ours * theirs).sum())
    return total


@dataclass(slots=True)
class _Bounded:
    """A rate within bounds, and the update before. A product that is not finite changes nothing."""

    rate: float
    lowest: float
    highest: float
    before: list[Any] | None = None

    def _move(self, by: float) -> None:
        if by == by and abs(by) != float("inf"):
            self.rate = min(max(self.rate + by, self.lowest), self.highest)

    def state_dict(self) -> dict[str, Any]:
        """Return the rate, its bounds and the update before, for a checkpoint."""
        return {**asdict(self), "before": None if self.before is None else list(self.before)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.rate, self.lowest = float(state["rate"]), float(state["lowest"])
        self.highest, self.before = float(state["highest"]), state["before"]


class GlobalRate(_Bounded):
    """FedHyper-G: ``alpha <- clip(alpha + Delta . Delta_before, 1/3, 3)``, which multiplies a round's update.

    As a job of the service it is the strategy ``fedhyper``, whose rounds are its steps.
    """

    def __init__(self, rate: float = 1.0, bound: float = GLOBAL_BOUND) -> None:
        _Bounded.__init__(self, rate, 1.0 / bound, bound)

    def update(self, delta: Vectors) -> float:
        """Return the rate of this round, given its aggregated update."""
        return _follow(self, delta)


class ServerLocalRate(_Bounded):
    """FedHyper-SL: ``beta <- clip(beta + Delta . Delta_before, beta_0 / 10, 10 beta_0)``, sent to all clients."""

    def __init__(self, rate: float, bound: float = LOCAL_BOUND) -> None:
        _Bounded.__init__(self, rate, rate / bound, rate * bound)

    def update(self, delta: Vectors) -> float:
        """Return the clients' rate of the next round, given this round's aggregated update."""
        return _follow(self, delta)


class ClientLocalRate(_Bounded):
    """FedHyper-CL: a client moves its own rate at each local step.

    ``beta <- clip(beta + g . g_before + (g . Delta_before) / K, beta_0 / 10, 10 beta_0)``: the last term ties it to
    where all clients went in the round before.

    Args:
        rate: ``beta_0``.
        steps: ``K``, local steps of a round.
        bound: How far it may go from the first one.
    """

    steps: int
    towards: list[Any] | None

    def __init__(self, rate: float, steps: int, bound: float = LOCAL_BOUND) -> None:
        if steps < 1:
            raise ValueError(f"{steps} local steps are no round; give 1 or more")
        _Bounded.__init__(self, rate, rate / bound, rate * bound)
        self.steps, self.towards = steps, None

    def begin_round(self, delta: Vectors | None) -> None:
        """Begin a round: ``delta`` is the aggregated update of the one before, None in the first."""
        self.towards = None if delta is None else list(delta)
        self.before = None

    def update(self, gradient: Vectors) -> float:
        """Return the rate of the next local step, given the gradient of this one."""
        now = list(gradient)
        change = 0.0 if self.before is None else dot(now, self.before)
        if self.towards is not None:
            change += dot(now, self.towards) / self.steps
        self._move(change)
        self.before = now
        return self.rate


def _follow(bounded: _Bounded, delta: Vectors) -> float:
    now = list(delta)
    if bounded.before is not None:
        bounded._move(dot(now, bounded.before))
    bounded.before = now
    return bounded.rate
