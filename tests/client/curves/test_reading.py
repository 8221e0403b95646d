"""Files as trainers and trackers leave them, written by their own packages where those are installed."""

import csv
import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pacesetter import ConfigurationError, CurveError
from pacesetter.curves import Wanted, read_curve

STEPS = [10, 20, 30, 40, 50]
RATES = [1e-3, 2e-3, 2e-3, 1e-3, 5e-4]
LOSSES = [4.0, 3.0, 2.5, 2.25, 2.125]
"""Exact in float32, which event files keep."""


def is_the_curve(path: Path, loss_name: str = "loss", **named: Any) -> None:
    found = read_curve(path, **named)
    assert found.points.steps.tolist() == STEPS
    assert found.points.lrs == pytest.approx(RATES, rel=1e-6)
    assert found.points.losses.tolist() == LOSSES
    assert found.loss_name == loss_name


def table(path: Path, header: str, *columns: list[Any], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([header.split(","), *zip(*columns, strict=True)])
    return path


# -- tables --


def test_a_csv_is_a_run_of_its_own_name(tmp_path: Path) -> None:
    path = table(tmp_path / "gpt 124m.csv", "step,lr,loss", STEPS, RATES, LOSSES)
    is_the_curve(path)
    assert read_curve(path).name == "gpt 124m"
    is_the_curve(table(tmp_path / "t.tsv", "step,lr,loss", STEPS, RATES, LOSSES, delimiter="\t"))


def test_a_mark_of_its_encoding_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "step,lr,loss", STEPS, RATES, LOSSES)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    is_the_curve(path)


def test_a_warm_up_before_the_first_row_is_kept(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "step,lr,loss", STEPS, RATES, LOSSES)
    assert read_curve(path, warmup=8).points.with_warmup()[0].tolist() == [0, 8, *STEPS]


def test_columns_may_be_named(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "t,eta,nats,loss", STEPS, RATES, LOSSES, [9.0] * 5)
    is_the_curve(path, "nats", wanted=Wanted(step="t", lr="eta", loss="nats"))


def test_the_state_of_a_trainer_is_a_curve(tmp_path: Path) -> None:
    """As Hugging Face's Trainer keeps it beside its checkpoints: evaluations are rows of their own."""
    log: list[dict[str, float]] = []
    for step, lr, loss in zip(STEPS, RATES, LOSSES, strict=True):
        log.append({"epoch": step / 50, "learning_rate": lr, "loss": loss, "step": step})
        if step % 20 == 0:
            log.append({"epoch": step / 50, "eval_loss": 9.0, "eval_runtime": 1.0, "step": step})
    log.append({"epoch": 1.0, "total_flos": 1e9, "train_loss": 2.775, "step": 50})
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"best_metric": None, "global_step": 50, "log_history": log}))
    is_the_curve(path)


def test_a_history_of_wandb_is_a_curve(tmp_path: Path) -> None:
    """``run.history()`` as CSV and as JSONL: keys start with an underscore, rows lack what was not logged."""
    header = ",_step,_runtime,_timestamp,train/loss,train/learning_rate"
    numbers = list(range(5))
    path = table(tmp_path / "h.csv", header, numbers, STEPS, numbers, numbers, LOSSES, RATES)
    is_the_curve(path, "train/loss")
    rows: list[dict[str, Any]] = []
    for step, lr, loss in zip(STEPS, RATES, LOSSES, strict=True):
        rows.append({"_step": step, "_timestamp": 1.0, "train/loss": loss})
        rows.append({"_step": step, "_timestamp": 1.0, "train/learning_rate": lr})
    lines = tmp_path / "wandb-history.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)))
    is_the_curve(lines, "train/loss")


def test_a_history_of_wandb_that_its_own_package_wrote(tmp_path: Path) -> None:
    """Offline runs write a log of their own form; the folder says how to export it."""
    wandb = pytest.importorskip("wandb", reason="wandb is in the extra benchmarks")
    settings = wandb.Settings(console="off", silent=True, x_disable_stats=True)
    run = wandb.init(mode="offline", dir=str(tmp_path), settings=settings)
    for step, lr, loss in zip(STEPS, RATES, LOSSES, strict=True):
        run.log({"lr": lr, "loss": loss}, step=step)
    run.finish()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    with pytest.raises(CurveError, match=r"holds no curve.*Export the run: wandb\.Api\(\)"):
        read_curve(folder)


def test_charts_of_wandb_hold_one_metric_each(tmp_path: Path) -> None:
    """The export of a chart: a band beside each line, and the learning rate in a file of its own."""
    header = "Step,gpt - loss,gpt - loss__MIN,gpt - loss__MAX"
    losses = table(tmp_path / "loss.csv", header, STEPS, LOSSES, LOSSES, LOSSES)
    with pytest.raises(CurveError, match="called like a learning rate"):
        read_curve(losses)
    rates = table(
        tmp_path / "lr.csv",
        header.replace("loss", "lr"),
        [0, *STEPS],
        [0, *RATES],
        [0] * 6,
        [0] * 6,
    )
    found = read_curve(losses, lr_from=rates)
    assert found.points.steps.tolist() == [0, *STEPS]
    assert found.points.lrs.tolist() == [0.0, *RATES]
    assert found.points.losses[1:].tolist() == LOSSES


def test_a_validation_is_told_by_its_name(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "step,lr,val_loss", STEPS, RATES, LOSSES)
    assert read_curve(path).validated
    assert not read_curve(table(tmp_path / "b.csv", "step,lr,loss", STEPS, RATES, LOSSES)).validated


# -- TensorBoard --

Write = Callable[[Path, list[int], list[float], list[float]], None]


def write_simple(folder: Path, steps: list[int], rates: list[float], losses: list[float]) -> None:
    """As torch's SummaryWriter and most others do."""
    proto = pytest.importorskip("tensorboard.compat.proto.summary_pb2")
    _write(
        folder, steps, rates, losses, lambda tag, x: proto.Summary.Value(tag=tag, simple_value=x)
    )


def write_tensors(folder: Path, steps: list[int], rates: list[float], losses: list[float]) -> None:
    """As TensorFlow 2 does: each scalar as a tensor."""
    pytest.importorskip("tensorboard")
    from tensorboard.plugins.scalar import metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    proto = pytest.importorskip("tensorboard.compat.proto.summary_pb2")
    about = metadata.create_summary_metadata(display_name="", description="")

    def value(tag: str, number: float) -> Any:
        tensor = make_tensor_proto(np.float32(number))
        return proto.Summary.Value(tag=tag, tensor=tensor, metadata=about)

    _write(folder, steps, rates, losses, value)


def _write(
    folder: Path, steps: list[int], rates: list[float], losses: list[float], value: Any
) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    text = Summary.Value(tag="notes", tensor={"dtype": 7, "string_val": [b"hello"]})
    writer.add_event(Event(step=0, wall_time=1.0, summary=Summary(value=[text])))
    for step, rate, loss in zip(steps, rates, losses, strict=True):
        values = [value("train/lr", rate), value("train/loss", loss)]
        writer.add_event(Event(step=step, wall_time=1.0 + step, summary=Summary(value=values)))
    writer.close()


@pytest.mark.parametrize("write", [write_simple, write_tensors])
def test_scalars_of_tensorboard_are_a_curve(tmp_path: Path, write: Write) -> None:
    folder = tmp_path / "run 7"
    write(folder, STEPS, RATES, LOSSES)
    is_the_curve(folder, "train/loss")
    (file,) = folder.glob("*tfevents*")
    is_the_curve(file, "train/loss")
    assert read_curve(folder).name == read_curve(file).name == "run 7"


def test_a_run_that_was_started_again_has_an_event_file_a_start(tmp_path: Path) -> None:
    write_simple(tmp_path, [10, 20, 30, 40], [9.0] * 4, [8.0, 7.0, 6.0, 5.0])
    (first,) = tmp_path.glob("*tfevents*")
    first.rename(tmp_path / "events.out.tfevents.0")
    write_simple(tmp_path, [20, 30, 50], [1.0] * 3, [3.0, 2.0, 1.0])
    found = read_curve(tmp_path)
    assert found.points.steps.tolist() == [10, 20, 30, 50]
    assert found.points.losses.tolist() == [8.0, 3.0, 2.0, 1.0]
    assert found.points.lrs.tolist() == [9.0, 1.0, 1.0, 1.0]
    assert "fall back at 1 places, first from 40 to 20" in found.notes[0]


def test_an_event_file_that_is_none_is_a_problem(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"no events are in here, whatever the name says")
    with pytest.raises(CurveError, match=r"tfevents.1 holds no scalars|cannot be read"):
        read_curve(path)


def test_without_tensorboard_the_package_to_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"")
    name = "tensorboard.backend.event_processing.event_file_loader"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"pip install \"pacesetter\[tensorboard\]\""):
        read_curve(path)


# -- MLflow --


def run_of_mlflow(folder: Path) -> Path:
    """Return a run's folder in the documented layout of the file store."""
    (folder / "metrics" / "train").mkdir(parents=True)
    (folder / "meta.yaml").write_text("artifact_uri: x\nrun_id: 0f3c\nrun_name: 'swift-fox-1'\n")
    for name, values in (("lr", RATES), ("train/loss", LOSSES)):
        lines = [
            f"17000000{step} {value!r} {step}" for step, value in zip(STEPS, values, strict=True)
        ]
        (folder / "metrics" / name).write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_of_mlflows_file_store_is_a_curve(tmp_path: Path) -> None:
    folder = run_of_mlflow(tmp_path / "0" / "0f3c")
    is_the_curve(folder, "train/loss")
    is_the_curve(folder / "metrics", "train/loss")
    assert read_curve(folder).name == "swift-fox-1"


def test_a_run_that_mlflow_wrote_is_a_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is in the extra benchmarks")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = tracking.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
        run = client.create_run(client.create_experiment("one"), run_name="quick-owl")
        for step, lr, loss in zip(STEPS, RATES, LOSSES, strict=True):
            client.log_metric(run.info.run_id, "lr", lr, step=step)
            client.log_metric(run.info.run_id, "train/loss", loss, step=step)
        client.log_metric(run.info.run_id, "accuracy", 0.5, step=50)
    folder = tmp_path / "mlruns" / run.info.experiment_id / run.info.run_id
    is_the_curve(folder, "train/loss")
    assert read_curve(folder).name == "quick-owl"


def test_a_line_that_mlflow_would_not_write_is_named(tmp_path: Path) -> None:
    folder = run_of_mlflow(tmp_path / "run")
    (folder / "metrics" / "lr").write_text("1 0.1 10\nhello\n")
    with pytest.raises(
        CurveError, match=r"metrics/lr, line 2: 'hello' is not time, value and step"
    ):
        read_curve(folder)


def test_a_loss_of_nan_is_a_divergence(tmp_path: Path) -> None:
    folder = run_of_mlflow(tmp_path / "run")
    with (folder / "metrics" / "train" / "loss").open("a") as file:
        file.write("1700000060 nan 60\n")
    found = read_curve(folder)
    assert found.points.diverged
    assert found.points.losses[-1] == math.inf


# -- what is no curve --


def test_what_is_no_file_and_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(CurveError, match=r"nothing\.csv cannot be read: No such file") as error:
        read_curve(tmp_path / "nothing.csv")
    assert error.value.code == "NO_SUCH_FILE"
    with pytest.raises(CurveError, match="holds no curve"):
        read_curve(tmp_path)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(CurveError, match=r"picture\.csv is no text in UTF-8"):
        read_curve(tmp_path / "picture.csv")
