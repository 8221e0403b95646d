"""Says what a sweep at the target itself finds: nine rates by half octaves, and more where the best is near an end."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pacesetter.protocol import Cost, Value
from pacesetter_search.studies import Finished, transfer_study

from benchmarks.fidelity.studies import common, experiment
from benchmarks.fidelity.trials import Trials

APART, BESIDE = 0.5, 2
"""Octaves between rates, and how many of them lie on either side of the best one at least."""
_FREE = Cost()
FURTHEST = 4.0
"""Octaves from the centre beyond which a sweep does not go."""


@dataclass(frozen=True)
class Judgement:
    """What a sweep found.

    Attributes:
        losses: By log2 of the rate; infinite where it diverged.
        optimum: log2 of the best rate, by the landscape that studies fit, through all of the sweep.
        sd: Of that.
    """

    losses: Mapping[float, float]
    optimum: float
    sd: float

    @property
    def best(self) -> float:
        """The least loss of the sweep."""
        return min(self.losses.values())

    @property
    def parabola(self) -> float:
        """Log2 of the rate at the bottom of the parabola through the best one and those an octave from it."""
        best = min(self.losses, key=lambda rate: self.losses[rate])
        below, here, above = (
            self.losses.get(best + away, math.nan) for away in (-2.0 * APART, 0.0, 2.0 * APART)
        )
        slope, curvature = (above - below) / 2.0, above - 2.0 * here + below
        return best - 2.0 * APART * slope / curvature

    def above_best(self, loss: float | None) -> float:
        """Return by how many per cent a loss lies above the best of the sweep; infinite for one that diverged."""
        return math.inf if loss is None else 100.0 * (loss / self.best - 1.0)


def judge(trials: Trials, target: Mapping[str, Value], centre: float) -> Judgement:
    """Sweep a target.

    Args:
        trials: Who trains.
        target: Everything but the learning rate.
        centre: log2 of the middle one of the nine rates.
    """
    begin(trials, target, centre)
    losses = {rate: loss_at(trials, target, rate) for rate in _nine(centre)}
    while missing := _missing(losses, centre):
        losses |= {rate: loss_at(trials, target, rate) for rate in missing}
    found, sd = _optimum(losses, target)
    return Judgement(dict(sorted(losses.items())), found, sd)


def begin(trials: Trials, target: Mapping[str, Value], centre: float) -> None:
    """Let the nine rates of a sweep be trained, without waiting for them."""
    for rate in _nine(centre):
        trials.start(at(target, rate))


def _nine(centre: float) -> list[float]:
    return [centre + APART * place for place in range(-4, 5)]


def at(target: Mapping[str, Value], log2_lr: float) -> dict[str, Value]:
    """Return the parameters of a run of the target."""
    return common({**target, "lr": math.exp2(log2_lr)})


def loss_at(trials: Trials, target: Mapping[str, Value], log2_lr: float) -> float:
    """Return the loss of a run of the target; infinite where it diverged."""
    loss = trials.result(at(target, log2_lr)).loss
    return math.inf if loss is None else loss


def _missing(losses: Mapping[float, float], centre: float) -> list[float]:
    best = min(losses, key=lambda rate: losses[rate])
    wanted = (best + APART * away for away in range(-BESIDE, BESIDE + 1))
    return [rate for rate in wanted if rate not in losses and abs(rate - centre) <= FURTHEST]


def _optimum(losses: Mapping[float, float], target: Mapping[str, Value]) -> tuple[float, float]:
    spec = experiment("sweep", "grid", {}, {}, target)
    finished = [
        Finished(number, at(target, rate), None if math.isinf(loss) else loss, _FREE)
        for number, (rate, loss) in enumerate(losses.items(), 1)
    ]
    (cell,) = transfer_study(spec, finished).cells
    assert cell.found is not None
    return cell.found.mean, cell.found.sd
