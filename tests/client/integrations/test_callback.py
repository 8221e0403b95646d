"""Trials of Tune as jobs of a real controller."""

import copy
import pickle
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pacesetter.cli import main
from pacesetter.errors import ConfigurationError
from pacesetter.integrations.ray_tune import PacesetterCallback
from pacesetter.protocol import Target
from ray import tune

from tests.client.integrations.trainables import STEPS, descend, fails, keeps, plain, waits
from tests.faults.harness import ControllerProcess, eventually, free_port

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray")]


def last_of(results: tune.ResultGrid, name: str) -> list[Any]:
    """Return what each trial of a run reported last."""
    return [(results[index].metrics or {})[name] for index in range(len(results))]


def run(
    train: Any, callback: PacesetterCallback, folder: Path, space: dict[str, Any], **settings: Any
) -> tune.ResultGrid:
    """Run Tune over ``space``; the run is called as its folder."""
    tuner = tune.Tuner(
        train,
        param_space=space,
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(
            name=folder.name, storage_path=str(folder), callbacks=[callback], verbose=0, **settings
        ),
    )
    return tuner.fit()


def reporting(controller: ControllerProcess, folder: Path, **settings: Any) -> PacesetterCallback:
    known: dict[str, Any] = {
        "step": "step",
        "steps": STEPS,
        "url": controller.url,
        "directory": folder / "journal",
    }
    return PacesetterCallback(**{**known, **settings})


def jobs_of(controller: ControllerProcess, run_name: str) -> list[dict[str, Any]]:
    jobs = controller.get("/v1/jobs", page_size=100)["jobs"]
    return [job for job in jobs if job["external_id"].startswith(f"tune/{run_name}/")]


def ended_jobs(controller: ControllerProcess, run_name: str, count: int) -> list[dict[str, Any]]:
    def over() -> list[dict[str, Any]] | None:
        jobs = [
            job for job in jobs_of(controller, run_name) if job["status"] in ("completed", "failed")
        ]
        return jobs if len(jobs) == count else None

    return eventually(over, f"{count} jobs of {run_name} that have ended")


def rows_of(controller: ControllerProcess, run_name: str) -> int:
    """Return how many rows the service has of the only trial of a run."""
    jobs = jobs_of(controller, run_name)
    if not jobs:
        return 0
    return len(controller.get(f"/v1/jobs/{jobs[0]['id']}/curve")["columns"].get("position", ()))


def journal_has(folder: Path, text: bytes) -> bool:
    return any(text in each.read_bytes() for each in folder.glob("journal/*/*/journal-*.jsonl"))


def test_every_trial_is_a_job_with_its_rates_and_losses(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    target = Target(family="parabola", parameters=1e3, batch_tokens=64, regime="pretrain")
    callback = reporting(controller, tmp_path, target=target)

    results = run(descend, callback, tmp_path, {"lr": tune.grid_search([0.1, 0.2])})

    jobs = ended_jobs(controller, tmp_path.name, 2)
    assert [job["status"] for job in jobs] == ["completed", "completed"]
    losses = dict(zip(last_of(results, "peak"), last_of(results, "loss"), strict=True))
    for job in jobs:
        lr = job["tags"]["config"]["lr"]
        columns = controller.get(f"/v1/jobs/{job['id']}/curve")["columns"]
        assert columns["position"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        assert columns["lr"] == [lr] * 3 + [lr / 2] * 3
        assert columns["loss"][-1] == losses[lr]
        [kept] = eventually(
            partial(controller.events, job["id"], "curve_kept"), "the curve of a job"
        )
        assert kept["body"]["completed"] is True
    curves = controller.get("/v1/curves", family="parabola")["curves"]
    assert sorted(curve["record"]["peak_lr"] for curve in curves) == [0.1, 0.2]


def test_a_trial_that_raises_is_a_failed_job_with_its_traceback(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    results = run(fails, reporting(controller, tmp_path), tmp_path, {"lr": 0.1})

    assert len(results.errors) == 1
    [job] = ended_jobs(controller, tmp_path.name, 1)
    assert job["status"] == "failed"
    [finished] = controller.events(job["id"], "finished")
    assert "ZeroDivisionError: no data here" in finished["body"]["detail"]
    columns = controller.get(f"/v1/jobs/{job['id']}/curve")["columns"]
    assert columns["loss"] == [1.0, 0.5]


def test_a_trial_that_tune_starts_again_goes_on_in_its_job(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    failures = tune.FailureConfig(max_failures=1)

    run(fails, reporting(controller, tmp_path), tmp_path, {"lr": 0.1}, failure_config=failures)

    [job] = ended_jobs(controller, tmp_path.name, 1)
    assert len(controller.events(job["id"], "session_began")) == 1
    assert len(controller.events(job["id"], "finished")) == 1
    # Without a checkpoint the second start took its two steps anew, from the beginning.
    columns = controller.get(f"/v1/jobs/{job['id']}/curve")["columns"]
    assert columns["position"] == [0.0, 1.0, 0.0, 1.0]


def test_what_a_trial_measures_while_the_service_is_dead_arrives_once_it_is_back(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.write_text("2")

    def kill_and_start() -> None:
        eventually(lambda: rows_of(controller, tmp_path.name) == 2, "two rows of the trial")
        controller.kill()
        gate.write_text("5")
        eventually(lambda: journal_has(tmp_path, b'"position":[4.0]'), "its fifth row, kept here")
        controller.start()
        eventually(lambda: rows_of(controller, tmp_path.name) == 5, "what came in between")
        gate.write_text("6")

    thread = threading.Thread(target=kill_and_start)
    thread.start()
    results = run(waits, reporting(controller, tmp_path), tmp_path, {"lr": 0.1, "gate": str(gate)})
    thread.join()

    assert last_of(results, "step") == [STEPS]
    [job] = ended_jobs(controller, tmp_path.name, 1)
    assert job["status"] == "completed"
    columns = controller.get(f"/v1/jobs/{job['id']}/curve")["columns"]
    assert columns["position"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_without_a_service_tune_runs_and_a_sync_brings_its_trials(
    controller: ControllerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacesetter.integrations.ray_tune.callback.CLOSE_SECONDS", 0.5)
    nobody = f"http://127.0.0.1:{free_port()}"

    results = run(descend, reporting(controller, tmp_path, url=nobody), tmp_path, {"lr": 0.1})

    assert last_of(results, "step") == [STEPS]
    assert jobs_of(controller, tmp_path.name) == []
    assert main(["sync", str(tmp_path / "journal"), "--url", controller.url]) == 0
    [job] = ended_jobs(controller, tmp_path.name, 1)
    assert rows_of(controller, tmp_path.name) == STEPS
    assert job["status"] == "completed"


def test_a_trial_that_ends_before_its_last_step_is_a_job_that_did_not_complete(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    callback = PacesetterCallback(steps=10, url=controller.url, directory=tmp_path / "journal")

    run(plain, callback, tmp_path, {"lr": 0.1})

    [job] = ended_jobs(controller, tmp_path.name, 1)
    assert job["status"] == "failed"
    [finished] = controller.events(job["id"], "finished")
    assert finished["body"]["detail"] == "stopped after 6 of 10 steps"
    columns = controller.get(f"/v1/jobs/{job['id']}/curve")["columns"]
    # The configuration's rate, where results have none.
    assert columns["lr"] == [0.1] * 6


def test_a_restored_run_goes_on_in_a_new_session_of_its_job(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    run(keeps, reporting(controller, tmp_path), tmp_path, {"lr": 0.1})
    restored = tune.Tuner.restore(
        str(tmp_path / tmp_path.name), trainable=keeps, resume_errored=True
    )

    restored.fit()

    [job] = eventually(
        lambda: [
            each for each in jobs_of(controller, tmp_path.name) if each["status"] == "completed"
        ],
        "the job to be completed",
    )
    began = controller.events(job["id"], "session_began")
    assert [event["body"]["resumed"] for event in began] == [False, True]
    columns = controller.get(f"/v1/jobs/{job['id']}/curve")["columns"]
    assert columns["position"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_results_that_say_no_rate_are_said_once_and_left_out(
    controller: ControllerProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(
        plain,
        reporting(controller, tmp_path, step="training_iteration", lr="rate"),
        tmp_path,
        {"lr": 0.1},
    )

    assert jobs_of(controller, tmp_path.name) == []
    said = [
        record.message
        for record in caplog.records
        if "lack 'training_iteration' or 'rate'" in record.message
    ]
    assert len(said) == 1


def test_a_run_of_unknown_length_is_refused_before_it_starts(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    callback = PacesetterCallback(url=controller.url)

    with pytest.raises(
        ConfigurationError, match="nothing says how many steps a trial has; pass steps=1000"
    ):
        callback.setup(stop={})
    callback.setup(stop={"training_iteration": 6})


def test_without_any_address_the_callback_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACESETTER_URL", raising=False)

    with pytest.raises(ConfigurationError, match="set PACESETTER_URL"):
        PacesetterCallback()


def test_tune_may_copy_and_keep_the_callback(controller: ControllerProcess) -> None:
    callback = PacesetterCallback(steps=7, metric="l", url=controller.url)

    for twin in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert (twin._steps, twin._metric, twin._jobs) == (7, "l", {})
