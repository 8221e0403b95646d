"""Measured optima that were published: facts, as a table."""

from pacesetter_search.transfer import Optimum

_STEP_LAW = (
    (214.7, 4.0, 2.00e-3, 180),
    (214.7, 11.4, 2.75e-3, 333),
    (214.7, 20.0, 4.16e-3, 716),
    (214.7, 100.0, 3.64e-3, 1269),
    (268.3, 5.0, 1.90e-3, 199),
    (268.3, 14.2, 2.34e-3, 324),
    (268.3, 25.0, 3.57e-3, 670),
    (268.3, 80.0, 3.38e-3, 1156),
    (429.3, 8.0, 1.18e-3, 205),
    (429.3, 22.7, 1.74e-3, 423),
    (429.3, 40.0, 1.92e-3, 602),
    (429.3, 50.0, 2.07e-3, 649),
    (536.9, 10.0, 1.12e-3, 234),
    (536.9, 28.4, 1.56e-3, 422),
    (536.9, 50.0, 1.77e-3, 630),
    (1074.0, 20.0, 0.90e-3, 347),
    (1074.0, 56.9, 1.07e-3, 573),
)
"""Millions of parameters, billions of tokens, best rate and best batch in thousands of tokens, of a quadratic through
the runs within 1 % of the best [Li2025, arXiv 2503.04715]."""

STEP_LAW = tuple(
    Optimum(1e6 * parameters, 1e9 * tokens, 1e3 * batch, lr)
    for parameters, tokens, lr, batch in _STEP_LAW
)

INDEPENDENT = (
    Optimum(46.0e6, 2.156e9, 262e3, 3.906e-3),
    Optimum(46.0e6, 4.313e9, 262e3, 3.906e-3),
    Optimum(109.1e6, 0.910e9, 131e3, 1.953e-3),
    Optimum(368.1e6, 0.269e9, 65.5e3, 9.77e-4),
    Optimum(872.4e6, 0.114e9, 65.5e3, 4.88e-4),
    Optimum(2.944e9, 33.7e6, 65.5e3, 2.44e-4),
)
"""Of another code, on a grid of factor two [Lingle2025]."""

WIDTHS = (128, 256, 512, 1024, 2048)
WIDTH_STANDARD = (9.77e-4, 4.88e-4, 2.44e-4, 1.22e-4, 6.10e-5)
WIDTH_MUP = (9.77e-4, 9.77e-4, 9.77e-4, 9.77e-4, 1.95e-3)
"""Best rates by width, of Megatron-LM's sweep (its pull request 3058)."""

RECIPES = (
    (111e6, 2.22e9, 246e3, 6.0e-4),
    (6.7e9, 133e9, 2.13e6, 1.2e-4),
    (70e6, 300e9, 2.1e6, 1.0e-3),
    (410e6, 300e9, 2.1e6, 3e-4),
    (1.4e9, 300e9, 2.1e6, 2e-4),
    (7e9, 1.0e12, 4e6, 3e-4),
    (8e9, 15e12, 8e6, 3e-4),
    (70e9, 15e12, 8e6, 1.5e-4),
    (7.3e9, 3.9e12, 4.19e6, 3.0e-4),
)
"""Parameters, tokens, batch and rate of published models: conventions, a median of 1.5 octaves below the optimum."""

INDEPENDENT_LOSSES = (3.271, 3.192, 3.282, 3.476, 3.721, 4.740)
"""What the runs at :data:`INDEPENDENT` ended with."""
