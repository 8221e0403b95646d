"""Curves in MLflow's file store: ``mlruns/EXPERIMENT/RUN/metrics/NAME``, one line a value: time, value, step."""

from pathlib import Path

import numpy as np

from pacesetter.curves.columns import Wanted, best_loss, find_columns
from pacesetter.curves.tables import Raw, Series
from pacesetter.errors import CurveError


def metrics_folder(folder: Path) -> Path | None:
    """Return where the metrics of a run lie; None if this is no run of MLflow's."""
    if (folder / "meta.yaml").is_file() and (folder / "metrics").is_dir():
        return folder / "metrics"
    return folder if folder.name == "metrics" and (folder.parent / "meta.yaml").is_file() else None


def run_name(metrics: Path) -> str:
    """Return the name of a run, or its id where it has none."""
    for line in (metrics.parent / "meta.yaml").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "run_name" and value.strip(" '\""):
            return value.strip(" '\"")
    return metrics.parent.name


def read_metrics(metrics: Path, wanted: Wanted) -> Raw:
    """Return the curve of a run; names of columns are those of its metrics.

    Raises:
        CurveError: No metric is called like a learning rate or a loss, or a line is not as MLflow writes it.
    """
    files = {
        path.relative_to(metrics).as_posix(): path
        for path in sorted(metrics.rglob("*"))
        if path.is_file()
    }
    choice = find_columns(list(files), wanted, str(metrics), steps=False)
    losses = {name: _series(files[name]) for name in choice.losses}
    loss = best_loss({name: each.values for name, each in losses.items()})
    rates = None if choice.lr is None else _series(files[choice.lr])
    return Raw(rates, None if loss is None else losses[loss], loss or "")


def _series(path: Path) -> Series:
    steps, values = [], []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            fields = line.split()
            try:
                values.append(float(fields[1]))
                steps.append(float(fields[2]))
            except (IndexError, ValueError):
                raise CurveError(
                    f"{path}, line {number}: {line.strip()[:60]!r} is not time, value and step",
                    code="BAD_CELL",
                    hint="give a run's folder as MLflow's file store writes it",
                ) from None
    return Series(np.array(steps), np.array(values), np.ones(len(steps), dtype=np.bool_))
