"""Says what a sweep at the target itself finds: nine rates by half octaves, and more where the best is near an end.

Where the best rate lies between them is said twice: by the landscape that studies fit, through all of them, and by a
parabola through the best three. An answer is held against whichever it is further from.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pacesetter.protocol import Cost, Value
from pacesetter_search.studies import Finished, transfer_study

from benchmarks.fidelity.studies import common, experiment
from benchmarks.fidelity.trials import Trials
from benchmarks.reporting import Report

APART, BESIDE = 0.5, 2
"""Octaves between rates, and how many of them lie on either side of the best one at least."""
FURTHEST = 4.0
"""Octaves from the centre beyond which a sweep does not go."""


@dataclass(frozen=True)
class Judgement:
    """What a sweep found.

    Attributes:
        losses: By log2 of the rate, means over seeds; infinite where one diverged.
        landscape: log2 of the best rate, by the landscape that studies fit, through all of the sweep.
        sd: Of that.
    """

    losses: Mapping[float, float]
    landscape: float
    sd: float

    @property
    def best(self) -> float:
        """The least loss of the sweep."""
        return min(self.losses.values())

    @property
    def parabola(self) -> float:
        """Log2 of the rate at the bottom of the parabola through the best one and its neighbours; NaN at an end."""
        best = min(self.losses, key=lambda rate: self.losses[rate])
        below, here, above = (self.losses.get(best + away, math.nan) for away in (-APART, 0, APART))
        slope, curvature = (above - below) / 2.0, above - 2.0 * here + below
        return best - APART * slope / curvature

    def off(self, log2_lr: float) -> float:
        """Return how many octaves a rate is off the best one: by whichever of the two says more."""
        return max(abs(log2_lr - self.landscape), abs(log2_lr - self.parabola))

    def within(self, interval: tuple[float, float]) -> bool:
        """Return whether an interval of rates holds the best one, wherever of the two that is."""
        low, high = interval
        return all(low <= math.exp2(one) <= high for one in (self.landscape, self.parabola))

    def above_best(self, loss: float) -> float:
        """Return by how many per cent a loss lies above the best of the sweep."""
        return 100.0 * (loss / self.best - 1.0)

    def add_rows(self, report: Report, name: str) -> None:
        """Add what was found."""
        for rate, loss in self.losses.items():
            report.row(f"{name} at 2^{rate:g}", loss, "nats a byte")
        report.row(f"{name}: best peak of its sweep, landscape", self.landscape, "log2")
        report.row(f"{name}: sd of that", self.sd, "octaves")
        report.row(f"{name}: best peak of its sweep, parabola", self.parabola, "log2")


@dataclass(frozen=True)
class Target:
    """What is swept.

    Attributes:
        trials: Who trains.
        parameters: Everything but learning rate and seed.
        centre: log2 of the middle one of the nine rates.
        seeds: Of weights and batches; losses are means over them.
    """

    trials: Trials
    parameters: Mapping[str, Value]
    centre: float
    seeds: tuple[int, ...]

    def begin(self, rates: Iterable[float] | None = None) -> None:
        """Let rates be trained, log2 of each, without waiting for them; None: the nine."""
        for rate in self._nine() if rates is None else rates:
            for seed in self.seeds:
                self.trials.start(self._at(rate, seed))

    def loss(self, log2_lr: float) -> float:
        """Return the loss at a rate; infinite where a run diverged."""
        self.begin([log2_lr])
        losses = [self.trials.result(self._at(log2_lr, seed)).loss for seed in self.seeds]
        return math.fsum(math.inf if loss is None else loss for loss in losses) / len(losses)

    def judge(self) -> Judgement:
        """Sweep it: the nine rates, and further ones until the best has two on either side."""
        self.begin()
        losses = {rate: self.loss(rate) for rate in self._nine()}
        while missing := _missing(losses, self.centre):
            losses |= {rate: self.loss(rate) for rate in missing}
        found, sd = self._landscape(losses)
        return Judgement(dict(sorted(losses.items())), found, sd)

    def _nine(self) -> list[float]:
        return [self.centre + APART * place for place in range(-4, 5)]

    def _at(self, log2_lr: float, seed: int) -> dict[str, Value]:
        return common({**self.parameters, "seed": seed, "lr": math.exp2(log2_lr)})

    def _landscape(self, losses: Mapping[float, float]) -> tuple[float, float]:
        spec = experiment("sweep", "grid", {}, {}, self.parameters)
        finished = [
            Finished(number, self._at(rate, 0), None if math.isinf(loss) else loss, Cost())
            for number, (rate, loss) in enumerate(losses.items(), 1)
        ]
        (cell,) = transfer_study(spec, finished).cells
        assert cell.found is not None
        return cell.found.mean, cell.found.sd


def _missing(losses: Mapping[float, float], centre: float) -> list[float]:
    best = min(losses, key=lambda rate: losses[rate])
    wanted = (best + APART * away for away in range(-BESIDE, BESIDE + 1))
    return [rate for rate in wanted if rate not in losses and abs(rate - centre) <= FURTHEST]
