r"""One law for all 157 optima of Step Law's grid, whose batch saturates.

.. math::
    \log_2 \eta^* = 4.05 - .648 \log_2 N - .280 \log_2 D + .820 \log_2 \min(B, .48 D^{.571})

N parameters, D tokens, B tokens of a step; AdamW, standard parametrisation, no muP. Fitted to parabolas through the
released grid [Li2025, arXiv 2503.04715]: residual .19 octaves, .44 without the hinge. The best rate rises with the
batch by .69 octaves an octave below the best batch and by -.04 above it. It reconciles Bjorck [arXiv 2409.19913], who
held the batch (``D^-.32``), with Step Law, whose batch grows (``D^+.307``).
"""

import math

INTERCEPT, BY_PARAMETERS, BY_TOKENS, BY_BATCH = 4.05, -0.648, -0.280, 0.820
BATCH_FACTOR, BATCH_POWER = 0.48, 0.571

FITTED_PARAMETERS = (60e6, 1.1e9)
FITTED_TOKENS = (2e9, 100e9)
"""Where the grid lies."""


def hinge_batch(tokens: float, factor: float = BATCH_FACTOR) -> float:
    """Return the batch in tokens above which a larger one asks for no larger rate."""
    return float(factor * tokens**BATCH_POWER)


def hinge_peak(parameters: float, tokens: float, batch: float) -> float:
    """Return the best peak learning rate.

    Args:
        parameters: Without embeddings.
        tokens: Of the whole budget.
        batch: Tokens of an optimizer step.

    Raises:
        ValueError: One of them is not above 0.
    """
    if not min(parameters, tokens, batch) > 0.0:
        raise ValueError(
            f"{parameters} parameters, {tokens} tokens and a batch of {batch} are impossible; give counts above 0"
        )
    log2_lr = (
        INTERCEPT
        + BY_PARAMETERS * math.log2(parameters)
        + BY_TOKENS * math.log2(tokens)
        + BY_BATCH * math.log2(min(batch, hinge_batch(tokens)))
    )
    return math.exp2(log2_lr)
