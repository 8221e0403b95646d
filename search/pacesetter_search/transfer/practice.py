"""Where practice starts with each optimizer, between large language models and small nets."""

FIELD_DEFAULTS = {
    "sgd": 0.05,
    "adam": 2e-3,
    "adamw": 2e-3,
    "nadam": 2e-3,
    "radam": 2e-3,
    "adamax": 2e-3,
    "rmsprop": 2e-3,
    "adagrad": 1e-2,
    "adadelta": 1.0,
    "lion": 3e-4,
    "muon": 2e-2,
}
"""By the optimizer's class, in small letters."""

ANY_DEFAULT = 2e-3
FIELD_SD = 3.0
"""Octaves that the best rate lies from the field's default (published tables span 1e-5 to .1 for Adam alone)."""


def field_default(optimizer: str) -> float:
    """Return the rate that practice starts from with an optimizer's class."""
    return FIELD_DEFAULTS.get(optimizer.lower(), ANY_DEFAULT)
