"""Measured optima that were published: facts, as a table."""

from typing import NamedTuple

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


class Recipe(NamedTuple):
    """What somebody trained a model with: a convention rather than an optimum."""

    model: str
    parameters: float
    tokens: float
    batch: float
    """Tokens of a step; of a ramp that end for which the columns below come out."""
    lr: float
    step_law: float | None
    """Octaves that Step Law's rate, scaled down to this batch, is noted to lie above ``lr``."""
    deepseek: float | None
    """The same of DeepSeek's law."""


RECIPES = (
    Recipe("Cerebras-GPT 111M", 111e6, 2.22e9, 246e3, 6.0e-4, 2.0, 1.5),
    Recipe("Cerebras-GPT 256M", 256e6, 5.12e9, 541e3, 6.0e-4, 1.5, 1.2),
    Recipe("Cerebras-GPT 590M", 590e6, 11.8e9, 541e3, 2.0e-4, 2.6, 2.5),
    Recipe("Cerebras-GPT 1.3B", 1.3e9, 26.3e9, 1.08e6, 2.0e-4, 2.2, 2.2),
    Recipe("Cerebras-GPT 2.7B", 2.7e9, 53e9, 1.08e6, 2.0e-4, 1.7, 1.9),
    Recipe("Cerebras-GPT 6.7B", 6.7e9, 133e9, 2.13e6, 1.2e-4, 1.9, 2.3),
    Recipe("Cerebras-GPT 13B", 13e9, 257e9, 1.47e6, 1.2e-4, 1.3, 2.1),
    Recipe("Pythia 70M", 70e6, 300e9, 2.1e6, 1.0e-3, 3.9, -0.1),
    Recipe("Pythia 160M", 160e6, 300e9, 2.1e6, 6e-4, 3.8, 0.5),
    Recipe("Pythia 410M", 410e6, 300e9, 2.1e6, 3e-4, 3.9, 1.4),
    Recipe("Pythia 1B", 1.0e9, 300e9, 2.1e6, 3e-4, 2.9, 1.2),
    Recipe("Pythia 1.4B", 1.4e9, 300e9, 2.1e6, 2e-4, 3.2, 1.7),
    Recipe("Pythia 2.8B", 2.8e9, 300e9, 2.1e6, 1.6e-4, 2.8, 1.9),
    Recipe("Pythia 6.9B", 6.9e9, 300e9, 2.1e6, 1.2e-4, 2.3, 2.2),
    Recipe("Pythia 12B", 12e9, 300e9, 2.1e6, 1.2e-4, 1.7, 2.1),
    Recipe("GPT-3 125M", 125e6, 300e9, 0.5e6, 6e-4, 2.5, 0.6),
    Recipe("GPT-3 1.3B", 1.3e9, 300e9, 1e6, 2e-4, 2.5, 1.7),
    Recipe("GPT-3 6.7B", 6.7e9, 300e9, 2e6, 1.2e-4, 2.3, 2.2),
    Recipe("GPT-3 175B", 175e9, 300e9, 3.2e6, 0.6e-4, -0.1, 2.6),
    Recipe("LLaMA 7B", 7e9, 1.0e12, 4e6, 3e-4, 1.5, 0.6),
    Recipe("LLaMA 13B", 13e9, 1.0e12, 4e6, 3e-4, None, None),
    Recipe("LLaMA 33B", 33e9, 1.4e12, 4e6, 1.5e-4, None, None),
    Recipe("LLaMA 65B", 65e9, 1.4e12, 4e6, 1.5e-4, 0.1, 1.2),
    Recipe("Llama-2 70B", 70e9, 2e12, 4e6, 1.5e-4, -0.1, 1.1),
    Recipe("Llama-3 8B", 8e9, 15e12, 8e6, 3e-4, 1.6, 0.1),
    Recipe("Llama-3 70B", 70e9, 15e12, 8e6, 1.5e-4, 0.3, 0.7),
    Recipe("Llama-3 405B", 405e9, 15.6e12, 16e6, 8e-5, 0.2, 1.3),
    Recipe("OLMo-2 7B", 7.3e9, 3.9e12, 4.19e6, 3.0e-4, 1.2, 0.4),
    Recipe("DeepSeek LLM 7B", 6.9e9, 2e12, 9.44e6, 4.2e-4, 1.3, 0.0),
    Recipe("DeepSeek LLM 67B", 67e9, 2e12, 18.9e6, 3.2e-4, -0.7, 0.0),
    Recipe("Falcon-Mamba 7B", 7.3e9, 5.5e12, 2048 * 2048, 6.4e-4, 0.1, -0.8),
    Recipe("MiniCPM 2.4B, hidden layers", 2.4e9, 1.1e12, 3.93e6, 1.11e-3, 0.6, -1.1),
)
"""Of published models. Those that give a base rate alone, of muP, are left out."""

INDEPENDENT_LOSSES = (3.271, 3.192, 3.282, 3.476, 3.721, 4.740)
"""What the runs at :data:`INDEPENDENT` ended with."""
