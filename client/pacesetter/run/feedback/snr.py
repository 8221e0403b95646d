"""``snr`` at work."""

from typing import Any, ClassVar

from pacesetter.feedback import SignalToNoise
from pacesetter.noise import NoiseScale
from pacesetter.run.feedback.base import Regulator, Surroundings


class SignalToNoiseRegulator(Regulator):
    """Moves the multiplier with ``|G|^2 / (|G|^2 + tr(Sigma) / B)``.

    Costs a pass over the gradients of each micro-batch, one exchange between ranks, and one wait for the device a step.
    """

    sees_passes: ClassVar[bool] = True

    def __init__(self, spec: SignalToNoise, around: Surroundings) -> None:
        self.spec = spec
        self.multiplier = spec.start
        self._around = around
        self._noise = NoiseScale(spec.horizon)
        self._reference: float | None = None

    def before_step(self) -> float:
        """Return the multiplier of the step that is about to be made."""
        squares = self._around.pass_squares()
        if squares is None:
            self._noise.skipped += 1
            return self.multiplier
        small, big, count = squares
        # Every rank has its own micro-batches and the same whole batch.
        small, big = self._around.ranks.mean([small, big])
        self._noise.update(small, big, 1.0, count)
        if self._noise.steps < self.spec.horizon:
            return self.multiplier
        share = self.share(count)
        if self._reference is None and share > 0.0:
            self._reference = share
        if self._reference is not None:
            unit = self._reference / self.spec.start if self.spec.relative else 1.0
            self.multiplier = self.spec.within(share / unit, self.multiplier)
        return self.multiplier

    def share(self, micro_batches: float) -> float:
        """Return what of a batch's squared gradient is signal, in [0, 1]; 0 while no signal stands out of the noise."""
        moments = self._noise.moments
        signal, noise = max(moments.gradient, 0.0), max(moments.noise, 0.0) / micro_batches
        return signal / (signal + noise) if signal > 0.0 else 0.0

    def document(self) -> dict[str, Any]:
        """Return multiplier and running means."""
        return {
            "multiplier": self.multiplier,
            "reference": self._reference,
            "noise": self._noise.state_dict(),
        }

    def load(self, document: dict[str, Any]) -> None:
        """Take over what :meth:`document` returned."""
        self.multiplier = float(document["multiplier"])
        self._reference = document["reference"]
        self._noise.load_state_dict(document["noise"])
