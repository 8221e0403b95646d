"""The Power scheduler: a law from tokens seen and batch size to the learning rate."""

import math
from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray

TOKENS_OF_A_SEQUENCE = 4096
"""The batch of the law counts sequences of so many tokens, whatever the sequences of the job are."""


class Power(Family):
    """min(max_lr, beta * a * n^b), and a decay to 0 at the end: a learning rate [Shen2024, arXiv 2408.13359].

    n is the tokens seen since the schedule's zero; beta is the batch in sequences of 4096 tokens, which is made here
    from ``batch_tokens``, the tokens of one optimizer step. a = 4, b = -0.51 and max_lr = 0.02 are the paper's for this
    schedule (a = 4.6 is its law of the best rate of WSD, and the default of other code). The decay stands on the law
    where it begins, and is exponential to 0, (e^(1 - y) - 1) / (e - 1), as in the authors' code, over the last tenth.
    The warm-up rises from 0 to the law: ``Warmup(length=..., start=0.0)``, 1e9 tokens in the paper.

    The shape's 1 is ``max_lr``: ``Schedule.absolute`` sets it; another peak scales the whole law.

    Limits: a base learning rate under muP, fitted with AdamW on language models of 12M to 121M; proportional to the
    batch, so too high above the critical batch size; beta is fixed, so the batch must not change during the run.
    """

    family: Literal["power"] = "power"
    batch_tokens: int = Field(gt=0, le=2**53)
    """Tokens of one optimizer step, over all ranks and micro-batches."""
    clock: Literal["steps", "tokens"]
    """What the schedule's positions count, to find n: the job's clock."""
    a: float = Field(default=4.0, ge=1e-6, le=1e3)
    b: float = Field(default=-0.51, ge=-1.0, le=-0.1)
    max_lr: float = Field(default=0.02, ge=1e-9, le=10.0)
    decay: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of the whole schedule, warm-up included; 0 for none."""

    def learning_rate(self, tokens: float) -> float:
        """Return the law at ``tokens`` seen, without warm-up and decay."""
        if tokens <= 0.0:
            return self.max_lr
        return min(self.max_lr, self._beta * self.a * math.pow(tokens, self.b))

    def at(self, x: float, extent: Extent) -> float:
        """Return the law over ``max_lr``, at the progress ``x``."""
        begin = self._begin(extent)
        law = self.learning_rate(self._tokens(min(x, begin), extent)) / self.max_lr
        if x <= begin:
            return law
        return law * math.expm1(1.0 - (x - begin) / (1.0 - begin)) / math.expm1(1.0)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the law over ``max_lr``, at every ``x``."""
        begin = self._begin(extent)
        tokens = np.maximum(self._tokens_over(np.minimum(x, begin), extent), self._knee)
        law: FloatArray = (tokens / self._knee) ** self.b
        if begin >= 1.0:
            return law
        y = np.maximum((x - begin) / (1.0 - begin), 0.0)
        decay: FloatArray = np.expm1(1.0 - y) / math.expm1(1.0)
        return law * decay

    def initial(self, extent: Extent) -> float:
        """Return the law at the end of the warm-up."""
        return self.at(0.0, extent)

    def published_peak(self, extent: Extent) -> float:  # noqa: ARG002
        """Return ``max_lr``."""
        return self.max_lr

    def required_clock(self) -> Literal["steps", "tokens"]:
        """Return the clock that n is counted from."""
        return self.clock

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return where the law leaves ``max_lr``, and where the decay begins."""
        knee = (self._knee / self._tokens_per_unit - extent.warmup) / extent.body
        return tuple(sorted({x for x in (knee, self._begin(extent)) if 0.0 <= x < 1.0}))

    def check_extent(self, extent: Extent) -> None:
        """Check that the decay begins after the warm-up."""
        extent.check_tail(self.decay, "decay")

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        tail = (
            f", decay to 0 over the last {round(self.decay * extent.length):,}"
            if self.decay
            else ""
        )
        return f"power law {self.a:g} n^{self.b:g} at batches of {self.batch_tokens:,} tokens{tail}"

    @property
    def _beta(self) -> float:
        return self.batch_tokens / TOKENS_OF_A_SEQUENCE

    @property
    def _knee(self) -> float:
        """Tokens up to which the law is above ``max_lr``."""
        return float((self.max_lr / (self._beta * self.a)) ** (1.0 / self.b))

    @property
    def _tokens_per_unit(self) -> int:
        return self.batch_tokens if self.clock == "steps" else 1

    def _tokens(self, x: float, extent: Extent) -> float:
        return (extent.warmup + x * extent.body) * self._tokens_per_unit

    def _tokens_over(self, x: FloatArray, extent: Extent) -> FloatArray:
        return (extent.warmup + x * extent.body) * self._tokens_per_unit

    def _begin(self, extent: Extent) -> float:
        """Return the progress at which the decay begins; 1 without one."""
        return max(0.0, extent.progress(1.0 - self.decay)) if self.decay else 1.0
