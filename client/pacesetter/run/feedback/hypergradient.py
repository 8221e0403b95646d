"""``hypergradient`` at work."""

import math
from typing import Any

from pacesetter.feedback import Hypergradient
from pacesetter.run.feedback.base import Regulator, Surroundings
from pacesetter.run.feedback.dots import Displacement
from pacesetter.run.feedback.rise import Rise


class HypergradientRegulator(Regulator):
    """Moves the multiplier by ``g . u``: one inner product over all tensors, then the update.

    The direction ``u`` is the change of the weights over the learning rate, so it is that of any optimizer. It was made
    with the minibatch before; the same one never serves twice. Costs a copy of the parameters and one wait for the
    device a step. After a state was loaded the first step moves nothing, as at the start.
    """

    def __init__(self, spec: Hypergradient, around: Surroundings) -> None:
        self.spec = spec
        self.multiplier = spec.start
        self._around = around
        self._displacement: Displacement | None = None
        self._rise = Rise(spec.rise)
        self._beta = spec.beta
        self._squares = 0.0
        self._target: float | None = None

    def before_step(self) -> float:
        """Return the multiplier of the step that is about to be made."""
        if self._displacement is None:
            self._displacement = Displacement(self._around.parameters())
        sums = self._displacement.measure()
        if sums is not None:
            sums_here = self._around.ranks.mean(list(sums))
            if not all(map(math.isfinite, sums_here)):
                return (
                    self.multiplier
                )  # what a scaler skips; the direction stays for the next gradient
            self.multiplier = self.spec.within(self._wanted(*sums_here), self.multiplier)
        self._displacement.keep()
        return self.multiplier

    def after_step(self, loss: float) -> None:
        """Go back towards the last good multiplier where the smoothed loss has risen."""
        (mean,) = self._around.ranks.mean([loss])
        good = self._rise.judge(mean, self.multiplier)
        if good is not None:
            self._target = max(0.5 * good, self.spec.lowest)
            self._beta *= 0.5

    def forget_weights(self) -> None:
        """Forget the last step."""
        self._displacement = None

    def document(self) -> dict[str, Any]:
        """Return multiplier, step size and what is known of the loss."""
        return {
            "multiplier": self.multiplier,
            "beta": self._beta,
            "squares": self._squares,
            "target": self._target,
            "rise": self._rise.document(),
        }

    def load(self, document: dict[str, Any]) -> None:
        """Take over what :meth:`document` returned."""
        self.multiplier = float(document["multiplier"])
        self._beta = float(document["beta"])
        self._squares = float(document["squares"])
        self._target = document["target"]
        self._rise.load(document["rise"])
        self.forget_weights()

    def _wanted(self, gd: float, gg: float, dd: float) -> float:
        """Return the multiplier that the rule asks for, whatever the bounds say."""
        if self._target is not None:
            if self.multiplier > self._target:
                return self._target
            self._target = None
        if self.spec.form == "multiplicative":
            length = math.sqrt(gg * dd)
            return self.multiplier * (1.0 + self._beta * (gd / length if length > 0.0 else 0.0))
        # The derivative by the rate before the schedule: d is (rate x schedule) x direction.
        lr = self._around.base_lr()
        if self.spec.form == "hdm":
            # g . u / |u|^2, with d = lr x multiplier x u: free of the scale of the loss but for the rate itself.
            normalised = lr * self.multiplier * gd / dd if dd > 0.0 else 0.0
            self._squares += normalised * normalised
            size = math.sqrt(self._squares)
            return self.multiplier + (self._beta * normalised / size if size > 0.0 else 0.0)
        hypergradient = gd / (lr * self.multiplier)
        return self.multiplier + self._beta * hypergradient / lr
