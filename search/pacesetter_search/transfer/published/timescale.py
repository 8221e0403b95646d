"""Weight decay by its timescale: what transfers is how much of the run a weight remembers."""

from pacesetter_search.transfer.published.law import PublishedLaw


def weight_decay_timescale(tokens_per_parameter: float) -> float:
    """Return the best timescale of weight decay as a share of the run, ``tau = 1.084 TPP^-.527`` [arXiv 2505.13738].

    ``tau = B / (lr lambda D)``: so many passes over the run until a weight is forgotten. For 111M to 3.3B parameters
    under a linear decay; the prefactor was read second-hand.
    """
    return float(1.084 * tokens_per_parameter**-0.527)


def weight_decay_of(timescale: float, *, batch: float, lr: float, tokens: float) -> float:
    """Return the decay that has a timescale, ``B / (lr tau D)``, decoupled and multiplied by the rate as torch's.

    It grows with the batch at one rate. Under muP hidden weights run at ``lr / m``, so theirs is m times as large.

    Args:
        timescale: Share of the run.
        batch: Tokens of an optimizer step.
        lr: Peak.
        tokens: Of the whole budget.
    """
    return batch / (lr * timescale * tokens)


TIMESCALE = PublishedLaw(
    name="weight_decay_timescale",
    source="arXiv 2505.13738; arXiv 2405.13698",
    trust="memory",
    units="a share of the run: B / (lr lambda D), with torch's coupling of decay and rate",
    holds="AdamW under muP, a linear decay to zero; the exponent second-hand",
    parameters=(111e6, 3.3e9),
    tokens=(2e9, 300e9),
    parametrization="any",
    optimizers=frozenset({"adamw"}),
    timescale=weight_decay_timescale,
)
