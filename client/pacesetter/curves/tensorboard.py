"""Curves in TensorBoard's event files, read by its own package (``pip install "pacesetter[tensorboard]"``)."""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pacesetter.curves.columns import Wanted, best_loss, find_columns
from pacesetter.curves.tables import Raw, Series
from pacesetter.errors import ConfigurationError, CurveError


def event_files(folder: Path) -> list[Path]:
    """Return the event files of a run's folder, oldest first: each start of a run writes one of its own."""
    return sorted(folder.glob("*tfevents*"))


def read_events(files: Sequence[Path], wanted: Wanted, source: str) -> Raw:
    """Return the curve in the event files of one run; names of columns are tags of scalars.

    Raises:
        ConfigurationError: The package ``tensorboard`` is not installed.
        CurveError: A file cannot be read, or no tag is called like a learning rate or a loss.
    """
    tags: dict[str, tuple[array[float], array[float]]] = {}
    for path in files:
        for step, tag, value in _scalars(path):
            steps, values = tags.setdefault(tag, (array("d"), array("d")))
            steps.append(step)
            values.append(value)
    if not tags:
        raise CurveError(
            f"{source} holds no scalars", code="TOO_FEW_POINTS", hint="give the folder of one run"
        )
    choice = find_columns(list(tags), wanted, source, steps=False)
    loss = best_loss({name: np.array(tags[name][1]) for name in choice.losses})

    def series(tag: str | None) -> Series | None:
        if tag is None:
            return None
        steps, values = (np.array(column) for column in tags[tag])
        return Series(steps, values, np.ones(steps.size, dtype=np.bool_))

    return Raw(series(choice.lr), series(loss), loss or "")


def _scalars(path: Path) -> Iterator[tuple[float, str, float]]:
    """Yield step, tag and value of every scalar in a file."""
    try:
        # Its newer loader turns each value into a tensor first, which takes four times as long.
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError:
        raise ConfigurationError(
            f'reading {path} needs TensorBoard: pip install "pacesetter[tensorboard]"'
        ) from None
    try:
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                number = _number(value, make_ndarray)
                if number is not None:
                    yield float(event.step), value.tag, number
    except (OSError, ValueError, RuntimeError) as error:
        raise CurveError(
            f"{path} cannot be read as an event file: {error}",
            code="BAD_TABLE",
            hint="give a file that TensorBoard shows",
        ) from None


def _number(value: Any, make_ndarray: Any) -> float | None:
    """Return a scalar in either of the forms that writers use; None for anything else."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor" or value.tensor.tensor_shape.dim or value.tensor.string_val:
        return None
    return float(make_ndarray(value.tensor).item())
