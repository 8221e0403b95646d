"""Two figures that a person wants to know of: whether the batch size changed, and how often gradients are clipped."""

import torch

from pacesetter.errors import ConfigurationError
from pacesetter.run.rows import Scalar

CHANGE = 0.1
"""Relative change of the tokens of a step that counts: packed sequences vary by less."""

STEPS = 5
"""Steps in a row that must show it: the last batch of an epoch is one alone."""


def check_batch(tokens: int, expected: float) -> None:
    """Compare the tokens of a first step with those that its learning rate is for.

    Raises:
        ConfigurationError: They differ by more than packed sequences do.
    """
    if abs(tokens - expected) > CHANGE * expected:
        raise ConfigurationError(
            f"the first step has {tokens} tokens and the recommended learning rate is for {expected:g}: train with "
            f"that batch, or ask with batch_tokens={tokens}"
        )


class BatchSize:
    """Notices that the tokens of a step changed for good."""

    def __init__(self) -> None:
        self.tokens: int | None = None
        self._deviating = 0

    @property
    def usual(self) -> int | None:
        """Tokens of a step that changes nothing here; None while steps deviate."""
        return None if self._deviating else self.tokens

    def changed(self, tokens: int) -> tuple[int, int] | None:
        """Take the tokens of a step; return the old and the new size once a change has lasted."""
        if self.tokens is None:
            self.tokens = tokens
        if abs(tokens - self.tokens) <= CHANGE * self.tokens:
            self._deviating = 0
            return None
        self._deviating += 1
        if self._deviating < STEPS:
            return None
        before, self.tokens, self._deviating = self.tokens, tokens, 0
        return before, tokens


class ClipRate:
    """Counts clipped steps on the device, without waiting for it."""

    def __init__(self) -> None:
        self._steps = 0
        self._clipped: float | torch.Tensor = 0.0

    def count(self, clipped: Scalar) -> None:
        """Take whether a step was clipped; None if it was not asked to be."""
        if clipped is None:
            return
        self._steps += 1
        self._clipped = self._clipped + clipped

    def value(self) -> float | None:
        """Return the share of clipped steps; waits for the device."""
        return float(self._clipped) / self._steps if self._steps else None
