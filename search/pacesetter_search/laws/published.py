"""Published laws of the best peak learning rate, each inside the range it was fitted on and nowhere else."""

STEP_LAW_PARAMETERS = (60e6, 1e9)
STEP_LAW_TOKENS = (2e9, 100e9)


def step_law_peak(parameters: float, tokens: float) -> float | None:
    """Return Step Law's best peak for pretraining with AdamW, ``1.79 N^-.713 D^.307`` [Li2025, arXiv 2503.04715].

    It stands for a cosine to a floor of 1e-5 at the law's own batch of ``.58 D^.571`` tokens; the best rate at another
    batch differs, and it rises with ``D`` only because that batch does.

    Args:
        parameters: Number of parameters without embeddings.
        tokens: Tokens of the whole budget.

    Returns:
        A learning rate, or None outside of what was fitted: 60 million to 1 billion parameters, 2 to 100
        billion tokens.
    """
    inside = (
        STEP_LAW_PARAMETERS[0] <= parameters <= STEP_LAW_PARAMETERS[1]
        and STEP_LAW_TOKENS[0] <= tokens <= STEP_LAW_TOKENS[1]
    )
    return step_law(parameters, tokens) if inside else None


def step_law(parameters: float, tokens: float) -> float:
    """Return the formula of :func:`step_law_peak`, also outside of what it was fitted on."""
    return float(1.79 * parameters**-0.713 * tokens**0.307)
