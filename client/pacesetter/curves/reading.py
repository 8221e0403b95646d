"""Curves from files of any kind that trainers and trackers leave."""

from dataclasses import dataclass, replace
from pathlib import Path

from pacesetter.curves import mlflow, tensorboard
from pacesetter.curves.columns import Wanted, is_validation
from pacesetter.curves.points import Points
from pacesetter.curves.series import join
from pacesetter.curves.tables import Raw, read_csv, read_json, read_jsonl
from pacesetter.errors import CurveError

ROWS = {".jsonl", ".ndjson"}


@dataclass(frozen=True, slots=True)
class Recording:
    """A curve that was read from a file.

    Attributes:
        name: Of the run.
        loss_name: The column that its losses were taken from.
        validated: Whether those are of a validation, by the column's name.
        notes: What a person should know of how it was read.
    """

    name: str
    points: Points
    loss_name: str
    validated: bool
    notes: tuple[str, ...]


def read_curve(
    path: Path, wanted: Wanted | None = None, *, warmup: int = 0, lr_from: Path | None = None
) -> Recording:
    """Return the curve in a file or a run's folder.

    CSV, JSON (rows, columns, or the ``trainer_state.json`` of Hugging Face's Trainer), JSONL, TensorBoard event files
    or their folder, and a run of MLflow's file store.

    Args:
        path: The file or folder.
        wanted: Columns to take; those that are None are found by their usual names.
        warmup: Steps over which the rate rose from zero before the first row.
        lr_from: A file with the learning rates, where ``path`` has losses alone (W&B's charts export one metric each).

    Raises:
        CurveError: There is no usable curve in it; the message names the file and what to do.
        ConfigurationError: A package that it takes is not installed.
    """
    wanted = wanted or Wanted()
    try:
        name, raw = _raw(path, wanted, lr_from)
        joined = join(raw, str(path), warmup)
    except OSError as error:
        raise CurveError(
            f"{path} cannot be read: {error.strerror or error}",
            code="NO_SUCH_FILE",
            hint="give a file or a run's folder",
        ) from None
    except UnicodeDecodeError:
        raise CurveError(
            f"{path} is no text in UTF-8", code="BAD_TABLE", hint="export it as CSV or JSON"
        ) from None
    return Recording(name, joined.points, raw.loss_name, is_validation(raw.loss_name), joined.notes)


def _raw(path: Path, wanted: Wanted, lr_from: Path | None) -> tuple[str, Raw]:
    if lr_from is None:
        return _read(path, wanted)
    rates = _read(lr_from, replace(wanted, parts=("lr",)))[1]
    name, raw = _read(path, replace(wanted, parts=("loss",)))
    return name, replace(raw, lrs=rates.lrs)


def _read(path: Path, wanted: Wanted) -> tuple[str, Raw]:
    if path.is_dir():
        return _read_folder(path, wanted)
    if "tfevents" in path.name:
        return path.parent.resolve().name, tensorboard.read_events([path], wanted, str(path))
    source = str(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        kind = path.suffix.lower()
        if kind in ROWS:
            return path.stem, read_jsonl(file, wanted, source)
        if kind == ".json":
            return path.stem, read_json(file.read(), wanted, source)
        return path.stem, read_csv(file, wanted, source, "\t" if kind == ".tsv" else ",")


def _read_folder(path: Path, wanted: Wanted) -> tuple[str, Raw]:
    metrics = mlflow.metrics_folder(path)
    if metrics is not None:
        return mlflow.run_name(metrics), mlflow.read_metrics(metrics, wanted)
    files = tensorboard.event_files(path)
    if files:
        return path.resolve().name, tensorboard.read_events(files, wanted, str(path))
    hint = "give the folder of one run: one with event files, or a run of MLflow's file store"
    if any(path.glob("*.wandb")):
        hint = "export the run: wandb.Api().run(...).history(pandas=True).to_csv(...), or a chart as CSV"
    raise CurveError(f"{path} holds no curve", code="NO_SUCH_FILE", hint=hint)
