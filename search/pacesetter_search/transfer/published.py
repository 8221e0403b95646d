"""Published laws of the best peak learning rate and batch, with units and ranges as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pacesetter_search.laws.published import STEP_LAW_PARAMETERS, STEP_LAW_TOKENS, step_law
from pacesetter_search.transfer.hinge import FITTED_PARAMETERS, FITTED_TOKENS, hinge_peak

Range = tuple[float, float]
SEQUENCE = 4096.0
"""Tokens that the Power scheduler counts as one sequence."""


@dataclass(frozen=True, slots=True)
class PublishedLaw:
    """A law, what it counts, and where it was fitted.

    Attributes:
        name: Stable word.
        source: Paper.
        peak: From parameters, tokens and batch (tokens of a step) to a learning rate; None: it has none.
        batch: From parameters and tokens to the best batch in tokens of a step; None: it has none.
        parameters: Range that it was fitted on, without embeddings.
        tokens: Range of tokens.
        parametrization: ``standard`` or ``mup``: of the base width.
        holds: What else has to be as it was there.
    """

    name: str
    source: str
    peak: Callable[[float, float, float], float] | None
    batch: Callable[[float, float], float] | None
    parameters: Range
    tokens: Range
    parametrization: str
    holds: str

    def covers(self, parameters: float, tokens: float) -> bool:
        """Return whether a target lies inside of what was fitted."""
        return (
            self.parameters[0] <= parameters <= self.parameters[1]
            and self.tokens[0] <= tokens <= self.tokens[1]
        )


def _compute(parameters: float, tokens: float) -> float:
    return 6.0 * parameters * tokens


_ALL = (
    PublishedLaw(
        "hinge",
        "fit to Step Law's grid [arXiv 2503.04715]",
        hinge_peak,
        None,
        FITTED_PARAMETERS,
        FITTED_TOKENS,
        "standard",
        "AdamW, a cosine to 1e-5, sequences of 2048",
    ),
    PublishedLaw(
        "step_law",
        "arXiv 2503.04715",
        lambda parameters, tokens, _: step_law(parameters, tokens),
        lambda _, tokens: 0.58 * tokens**0.571,
        STEP_LAW_PARAMETERS,
        STEP_LAW_TOKENS,
        "standard",
        "AdamW, a cosine to 1e-5, its own batch: the rate rises with tokens because the batch does",
    ),
    PublishedLaw(
        "deepseek",
        "arXiv 2401.02954",
        lambda parameters, tokens, _: 0.3118 * _compute(parameters, tokens) ** -0.1250,
        lambda parameters, tokens: 0.2920 * _compute(parameters, tokens) ** 0.3271,
        (10e6, 67e9),
        (1e9, 2e12),
        "standard",
        "a step decay (8-1-1), its own batch; compute counted as 6 N D here, non-embedding FLOPs there",
    ),
    PublishedLaw(
        "power",
        "arXiv 2408.13359",
        lambda _, tokens, batch: 4.6 * (batch / SEQUENCE) * tokens**-0.51,
        None,
        (12e6, 3e9),
        (2e9, 256e9),
        "mup",
        "WSD, the base rate under muP, a batch below the critical one",
    ),
    PublishedLaw(
        "porian",
        "arXiv 2406.19146",
        lambda parameters, _t, _b: 3.7 * parameters**-0.36,
        lambda parameters, _: 0.7576 * parameters**0.703,
        (5e6, 1e9),
        (1e8, 2e10),
        "standard",
        "20 tokens a parameter, a constant rate, beta2 tuned; read second-hand",
    ),
)

LAWS: Mapping[str, PublishedLaw] = {law.name: law for law in _ALL}


def best_batch(tokens: float) -> float:
    """Return the best batch in tokens of a step, ``.58 D^.571``, whatever the size [Li2025]; its sd is .3 octaves."""
    law = LAWS["step_law"].batch
    assert law is not None
    return law(0.0, tokens)


def weight_decay_timescale(tokens_per_parameter: float) -> float:
    """Return the best timescale of weight decay as a share of the run, ``tau = 1.084 TPP^-.527`` [arXiv 2505.13438].

    ``tau = B / (lr lambda D)``: so many passes over the run until a weight is forgotten. For 111M to 3.3B parameters
    under a linear decay; the prefactor was read second-hand.
    """
    return float(1.084 * tokens_per_parameter**-0.527)


def batch_rescaled(lr: float, factor: float) -> float:
    """Return the rate for a batch ``factor`` times as large by Adam's SDE rule, ``lr sqrt(factor)`` [arXiv 2205.10287].

    Its betas move as well, ``1 - beta`` by the factor. It holds while that stays well below 1 and below the best batch.
    """
    return float(lr * factor**0.5)
