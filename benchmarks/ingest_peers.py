"""The peers of ``ingest.py``: a bare PostgreSQL commit, Optuna's storage, MLflow's storage."""

import importlib.util
import tempfile
import threading
import time
import warnings
from pathlib import Path

from benchmarks.reporting import Report

ROWS = 100


def postgresql_commits_per_second(database: str, commits: int) -> dict[int, float]:
    """Return the rate of one-row inserts, each in a transaction of its own, with 1 and 8 connections."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE bare (id bigserial PRIMARY KEY, value bytea)")

    def write() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            for _ in range(commits):
                connection.execute("INSERT INTO bare (value) VALUES (%s)", (b"x" * 1700,))

    rates = {}
    for writers in (1, 8):
        threads = [threading.Thread(target=write) for _ in range(writers)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates[writers] = writers * commits / (time.perf_counter() - began)
    return rates


def measure_peers(report: Report, batches: int) -> None:
    """Add what the storages of Optuna and MLflow take, in batches of 100 rows; one row where one is not installed."""
    for name, package, measure in (
        ("Optuna RDBStorage on SQLite", "optuna", _optuna_points_per_second),
        ("MLflow SQL store on SQLite", "mlflow", _mlflow_points_per_second),
    ):
        if importlib.util.find_spec(package) is None:
            report.row(f"{name}, 1 writer: points", "not installed", "1/s")
            continue
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report.row(f"{name}, 1 writer: points", measure(Path(folder), batches), "1/s")


def _optuna_points_per_second(folder: Path, batches: int) -> float:
    """Optuna keeps one value a step: a point is one ``trial.report``, which is a transaction of its own."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db")
    trial = study.ask()
    began = time.perf_counter()
    for step in range(10 * batches):
        trial.report(2.0 + step * 1e-6, step)
    return 10 * batches / (time.perf_counter() - began)


def _mlflow_points_per_second(folder: Path, batches: int) -> float:
    """MLflow takes 1000 metrics a call at most; 100 rows of two metrics are 200 of them."""
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.create_run(client.create_experiment("ingest")).info.run_id
    began = time.perf_counter()
    for batch in range(batches):
        steps = range(batch * ROWS, (batch + 1) * ROWS)
        metrics = [Metric(key, 2.0, 0, step) for step in steps for key in ("loss", "lr")]
        client.log_batch(run, metrics=metrics)
    return 2 * ROWS * batches / (time.perf_counter() - began)
