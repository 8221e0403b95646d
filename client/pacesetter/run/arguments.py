"""What the training loop passes at every step, checked before anything is stepped with it.

A value that no record can hold would otherwise cost the whole report, or stop the clock for good.
"""

from typing import Any

import torch

from pacesetter.errors import ConfigurationError


def checked_scalar(value: Any, name: str) -> float | torch.Tensor:
    """Return a loss or norm as a float, or as a tensor of one real number, left on its device.

    Raises:
        ConfigurationError: It is something else; NaN and infinity are numbers.
    """
    if type(value) is float:
        return value
    if isinstance(value, torch.Tensor):
        if value.numel() == 1 and not value.is_complex():
            return value
        shown = f"a {value.dtype} tensor of shape {tuple(value.shape)}"
        raise ConfigurationError(
            f"{name} is {shown}; expected one real number: pass its mean, or {name}.item()"
        )
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"{name} is a {type(value).__name__} that is no float ({error}); expected a number or a "
            "tensor of one element"
        ) from error


def host_scalar(value: Any, name: str) -> float:
    """Return a loss or norm as a float, read at once: on a CPU there is nothing to wait for.

    Raises:
        ConfigurationError: It is no real number; NaN and infinity are numbers.
    """
    if type(value) is torch.Tensor and value.numel() == 1:
        number = value.item()
        if type(number) is float:
            return number
    checked = checked_scalar(value, name)
    return float(checked.item()) if isinstance(checked, torch.Tensor) else checked


def checked_tokens(tokens: Any) -> int | None:
    """Return a count of tokens as an int; None where none was passed.

    Raises:
        ConfigurationError: It is negative, or not a whole number.
    """
    if tokens is None:
        return None
    whole = tokens if type(tokens) is int else _whole(tokens)
    if whole is None or whole < 0:
        raise ConfigurationError(
            f"tokens is {tokens}; expected the count of this step, a whole number of 0 or more"
        )
    return whole


def _whole(value: Any) -> int | None:
    """Return the int that equals ``value``; None if there is none."""
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return whole if whole == value else None
