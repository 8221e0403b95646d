"""Laws of the final loss in size and data."""

import math

from pacesetter_search.transfer.published.law import PublishedLaw

REPEATS = 15.4
"""Repetitions after which data have given 63 % of all that repeating them ever will."""


def chinchilla_loss(parameters: float, tokens: float) -> float:
    """Return the final loss in nats a token, ``1.69 + 406.4 N^-.34 + 410.7 D^-.28`` [Hoffmann2022, approach 3].

    Of MassiveText and its tokenizer, at a tuned rate. On other data the level differs by tens of per cent.
    """
    return float(1.69 + 406.4 * parameters**-0.34 + 410.7 * tokens**-0.28)


def effective_tokens(tokens: float, epochs: float) -> float:
    """Return how many new tokens those are worth that are seen several times, ``U (1 + 15.4 (1 - e^(-r / 15.4)))``.

    U are the tokens that differ and r the repetitions after the first pass [Muennighoff2023]: up to four passes they
    are nearly as good as new ones.

    Args:
        tokens: Of all passes.
        epochs: Passes.
    """
    if epochs <= 1.0:
        return tokens
    unique, repetitions = tokens / epochs, epochs - 1.0
    return unique * (1.0 - REPEATS * math.expm1(-repetitions / REPEATS))


LOSSES = (
    PublishedLaw(
        name="chinchilla",
        source="arXiv 2203.15556",
        trust="second_hand",
        units="nats a token of its own tokenizer",
        holds="a cosine of the run's length, a tuned rate, MassiveText; other data move the level",
        parameters=(70e6, 16e9),
        tokens=(5e9, 500e9),
        parametrization="any",
        loss=chinchilla_loss,
    ),
    PublishedLaw(
        name="repeated_data",
        source="arXiv 2305.16264",
        trust="memory",
        units="passes over the data, the first one counted",
        holds="language models of 10M to 9B; the form second-hand, its constant from memory",
        parameters=(10e6, 9e9),
        tokens=(0.0, 9e11),
        parametrization="any",
        effective_tokens=effective_tokens,
    ),
)
