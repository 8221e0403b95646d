"""Laws of the best and of the critical batch."""

from pacesetter_search.transfer.published.law import PublishedLaw

POWER_LINES_SEQUENCE = 2048.0
"""Tokens that Power Lines counts as one sequence."""

ZHANG_SEQUENCE = 512.0
ZHANG_TOKENS = 1e6
"""What the law of the critical batch counts in: sequences of 512 tokens, by millions of tokens. It is quoted without
units, or with billions. In these it gives 998 at the 3.07e9 tokens where the paper's law in parameters, ``621 N^.087``
in millions, gives 961 at 151M; in billions it would be 39."""


def best_batch(tokens: float) -> float:
    """Return the best batch in tokens of a step, ``.58 D^.571``, whatever the size [Li2025]; its sd is .3 octaves."""
    return float(0.58 * tokens**0.571)


def power_lines_batch(tokens: float) -> float:
    """Return the best batch in tokens of a step, ``.0306 D^.383`` sequences of 2048 [Bergsma2025]."""
    return float(POWER_LINES_SEQUENCE * 0.0306 * tokens**0.383)


def power_lines_critical(tokens: float) -> float:
    """Return the critical batch in tokens of a step, ``.0471 D^.462`` sequences of 2048 [Bergsma2025]."""
    return float(POWER_LINES_SEQUENCE * 0.0471 * tokens**0.462)


def zhang_critical(tokens: float) -> float:
    """Return the critical batch in tokens of a step, ``22.91 D^.47`` [Zhang2024]: a fifth more steps than linear."""
    return float(ZHANG_SEQUENCE * 22.91 * (tokens / ZHANG_TOKENS) ** 0.47)


BATCHES = (
    PublishedLaw(
        name="power_lines",
        source="arXiv 2505.13738",
        trust="memory",
        units="batches in sequences of 2048 tokens there, in tokens here",
        holds="AdamW under muP, a linear decay to zero, weight decay tuned; exponents second-hand",
        parameters=(111e6, 3.3e9),
        parametrization="any",
        batch=lambda _, tokens: power_lines_batch(tokens),
        critical_batch=lambda _, tokens: power_lines_critical(tokens),
    ),
    PublishedLaw(
        name="zhang",
        source="arXiv 2410.21676",
        trust="memory",
        units="sequences of 512 tokens, by millions of tokens; quoted without units",
        holds="Adam, a constant rate with averaged weights; it grows with tokens, hardly with parameters",
        parameters=(85e6, 1.2e9),
        parametrization="any",
        critical_batch=lambda _, tokens: zhang_critical(tokens),
    ),
    PublishedLaw(
        name="scion",
        source="arXiv 2510.03871",
        trust="second_hand",
        units="exponents only",
        holds="Scion, a spectral optimizer",
        optimizers=frozenset({"scion"}),
        parametrization="any",
        carry=lambda lr, change: float(lr * change.batch**0.62 * change.tokens**-0.56),
        carry_batch=lambda change: float(change.tokens**0.45),
    ),
)
