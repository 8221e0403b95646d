"""Laws of the best peak learning rate."""

import math

from pacesetter_search.laws.published import STEP_LAW_PARAMETERS, STEP_LAW_TOKENS, step_law
from pacesetter_search.transfer.hinge import FITTED_PARAMETERS, FITTED_TOKENS, hinge_peak
from pacesetter_search.transfer.published.batches import best_batch
from pacesetter_search.transfer.published.law import Change, PublishedLaw

SEQUENCE = 4096.0
"""Tokens that the Power scheduler counts as one sequence."""

KAPLAN_LARGEST = 1e10
"""Beyond it Kaplan's logarithm would soon be below zero, and it was not meant."""


def compute(parameters: float, tokens: float) -> float:
    """Return training compute in FLOPs as ``6 N D``.

    DeepSeek counts non-embedding FLOPs a token with attention, ``M D``, which is larger for small models: 10 % more
    compute is 1.2 % of their rate.
    """
    return 6.0 * parameters * tokens


def kaplan_peak(parameters: float) -> float:
    """Return ``.003239 - .0001395 ln N`` [Kaplan2020], constant beyond ten billion parameters."""
    return 0.003239 - 0.0001395 * math.log(min(parameters, KAPLAN_LARGEST))


def bjorck_carried(lr: float, change: Change) -> float:
    """Return the peak at another size and budget of one batch, ``lr n^-.23 d^-.32`` [Bjorck2024].

    Its absolute constant is printed differently in different places, so only ratios are used.
    """
    return float(lr * change.parameters**-0.23 * change.tokens**-0.32)


PEAKS = (
    PublishedLaw(
        name="hinge",
        source="fit to Step Law's grid [arXiv 2503.04715]",
        trust="measured",
        units="parameters without embeddings, batch in tokens",
        holds="AdamW, a cosine to 1e-5, sequences of 2048",
        parameters=FITTED_PARAMETERS,
        tokens=FITTED_TOKENS,
        peak=hinge_peak,
    ),
    PublishedLaw(
        name="step_law",
        source="arXiv 2503.04715",
        trust="first_hand",
        units="parameters without embeddings, batch in tokens",
        holds="AdamW, a cosine to 1e-5, its own batch: the rate rises with tokens because the batch does",
        parameters=STEP_LAW_PARAMETERS,
        tokens=STEP_LAW_TOKENS,
        peak=lambda parameters, tokens, _: step_law(parameters, tokens),
        batch=lambda _, tokens: best_batch(tokens),
    ),
    PublishedLaw(
        name="deepseek",
        source="arXiv 2401.02954",
        trust="first_hand",
        units="compute in FLOPs: 6 N D here, non-embedding FLOPs a token times tokens there; batch in tokens",
        holds="a step decay (8-1-1), its own batch; a band of .25 % around its optima is wide",
        parameters=(10e6, 67e9),
        tokens=(1e9, 2e12),
        peak=lambda parameters, tokens, _: 0.3118 * compute(parameters, tokens) ** -0.1250,
        batch=lambda parameters, tokens: 0.2920 * compute(parameters, tokens) ** 0.3271,
    ),
    PublishedLaw(
        name="power",
        source="arXiv 2408.13359",
        trust="first_hand",
        units="batch in sequences of 4096 tokens there, in tokens here",
        holds="WSD, the base rate under muP, a batch below the critical one; a = 4.6, where the scheduler has 4",
        parameters=(12e6, 3e9),
        tokens=(2e9, 256e9),
        parametrization="mup",
        peak=lambda _, tokens, batch: 4.6 * (batch / SEQUENCE) * tokens**-0.51,
    ),
    PublishedLaw(
        name="porian",
        source="arXiv 2406.19146",
        trust="second_hand",
        units="batch in tokens",
        holds="20 tokens a parameter, a constant rate, beta2 tuned (.95, .99 at small batches)",
        parameters=(5e6, 1e9),
        tokens=(1e8, 2e10),
        peak=lambda parameters, _t, _b: 3.7 * parameters**-0.36,
        batch=lambda parameters, _: 0.7576 * parameters**0.703,
    ),
    PublishedLaw(
        name="minicpm",
        source="arXiv 2404.06395",
        trust="first_hand",
        units="batch in tokens, a quotient by a power of C4's loss (a product in some prints)",
        holds="WSD, the base rate under muP at base width 256, C4; constant only at comparable budgets",
        parameters=(9e6, 2.1e9),
        parametrization="mup",
        peak=lambda _n, _t, _b: 0.01,
        batch_at_loss=lambda loss: 1.21e9 / loss**6.24,
    ),
    PublishedLaw(
        name="kaplan",
        source="arXiv 2001.08361",
        trust="memory",
        units="batch in tokens, by a power of the loss; copies print 2e18 for 2e8",
        holds="Adam, a cosine, a batch of half a million tokens; no word of the budget",
        parameters=(0.0, KAPLAN_LARGEST),
        peak=lambda parameters, _t, _b: kaplan_peak(parameters),
        batch_at_loss=lambda loss: 2.1e8 / loss**4.76,
    ),
    PublishedLaw(
        name="bjorck",
        source="arXiv 2409.19913",
        trust="second_hand",
        units="ratios only: copies of its constant disagree",
        holds="AdamW, one batch for all budgets",
        parametrization="any",
        carry=bjorck_carried,
    ),
)
