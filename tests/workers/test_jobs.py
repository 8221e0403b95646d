"""Trials that run as jobs of the controller: with segments, reports and a ledger of their own."""

from pathlib import Path
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Value
from pacesetter_workers.conduct import conduct
from pacesetter_workers.errors import JobRefused
from pacesetter_workers.outcome import Done, Failed
from pacesetter_workers.running import RunningTrial
from pacesetter_workers.site import JobAccess, Site

from tests.faults.harness import eventually
from tests.workers.conftest import Fleet
from tests.workers.support import OWN, Recorded, a_trial, allowing

STEPS = 100
USUAL = 2.0**-6
AT = {lr: {"lr": {"kind": "choice", "values": [lr]}} for lr in (USUAL, 0.5, 1e6)}
TRAINING: dict[str, Value] = {
    "steps": STEPS,
    "width": 32,
    "seed": 3,
    "clip": 1.0,
    "weight_decay": 0.1,
    "parametrization": "mup",
    "base_width": 16,
}


def nobody(folder: Path) -> JobAccess:
    """Return a controller that nobody asks: these tests work offline."""
    return JobAccess("http://127.0.0.1:9", folder)


def measured(fleet: Fleet, trial: dict[str, Any]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = fleet.controller.get(
        f"/v1/trials/{trial['id']}", max_points=2_000
    )["columns"]
    return columns


def ended(fleet: Fleet, **fixed: Value) -> dict[str, Any]:
    """Run one trial of the perceptron; return it."""
    experiment = fleet.experiment("mlp", 1, space=AT[USUAL], fixed={**TRAINING, **fixed})
    return fleet.ended(experiment, 1)[0]


@pytest.mark.faults
@pytest.mark.parametrize("lr", [USUAL, 0.5], ids=["usual", "unstable"])
def test_a_trial_that_runs_as_a_job_trains_the_same_bits(fleet: Fleet, lr: float) -> None:
    """At a rate that is too high as well: nobody brings it down."""
    fleet.worker("only", "--slots", "1", "--jobs")
    experiments = [
        fleet.experiment("mlp", 1, space=AT[lr], fixed={**TRAINING, **more})
        for more in ({}, {"job": True})
    ]

    alone, as_job = [fleet.ended(each, 1)[0] for each in experiments]

    assert (as_job["status"], as_job["error"], alone["job"]) == ("done", "", None)
    assert as_job["loss"] == alone["loss"]
    assert measured(fleet, as_job)["loss"] == measured(fleet, alone)["loss"]
    assert measured(fleet, as_job)["lr"] == pytest.approx(measured(fleet, alone)["lr"], rel=1e-12)
    job = fleet.controller.get(f"/v1/jobs/{as_job['job']}")
    assert (job["external_id"], job["status"]) == (as_job["id"], "completed")
    assert (job["budget"], job["main_position"]) == (STEPS, STEPS)
    ledger = fleet.controller.get(f"/v1/jobs/{as_job['job']}/ledger")
    assert (ledger["totals"]["main_steps"], ledger["totals"]["probe_steps"]) == (STEPS, 0)
    curve = fleet.controller.get(f"/v1/jobs/{as_job['job']}/curve", columns="loss")["columns"]
    assert curve["loss"] == measured(fleet, alone)["loss"]
    assert fleet.controller.get(f"/v1/jobs/{as_job['job']}/segments", after=0)["segments"]


@pytest.mark.faults
def test_what_a_person_says_to_the_job_holds_in_the_trial(fleet: Fleet) -> None:
    experiment = fleet.experiment("followed", 1)
    fleet.worker("only", "--slots", "1", "--jobs", "--allow", f"{OWN}:followed")
    trial = fleet.leased(experiment, 3)
    job = eventually(lambda: fleet.controller.job_id(trial["id"]), "the job to register")

    halved = {"kind": "multiplier", "multiplier": 0.5}
    assert fleet.controller.api.post(f"/v1/jobs/{job}/overrides", json=halved).is_success
    [trial] = fleet.ended(experiment, 1)

    assert (trial["status"], trial["loss"], trial["job"]) == ("done", 0.5, job)


@pytest.mark.faults
def test_a_job_that_somebody_ended_leaves_its_trial_without_a_result(fleet: Fleet) -> None:
    endless = {**TRAINING, "steps": 1_000_000, "job": True}
    experiment = fleet.experiment("mlp", 1, space=AT[USUAL], fixed=endless)
    fleet.worker("only", "--slots", "1", "--jobs")
    trial = fleet.leased(experiment, 3)
    job = eventually(lambda: fleet.controller.job_id(trial["id"]), "the job to register")

    assert fleet.controller.api.post(f"/v1/jobs/{job}:cancel").is_success
    [trial] = fleet.ended(experiment, 1)

    assert (trial["status"], trial["loss"], trial["attempts"]) == ("failed", None, 1)
    assert "the job that this trial runs as was ended at step" in trial["error"]


@pytest.mark.faults
def test_after_its_worker_was_killed_a_trial_resumes_its_job(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = fleet.experiment("resumed", 1)
    options = ("--slots", "1", "--jobs", "--allow", f"{OWN}:resumed")
    first = fleet.worker("first", *options)
    fleet.leased(experiment, 20)
    first.kill()
    fleet.worker("second", *options)

    [trial] = fleet.ended(experiment, 1)

    assert (trial["status"], trial["attempts"], trial["worker"]) == ("done", 2, "second")
    assert trial["job"] == fleet.controller.job_id(trial["id"])
    began = fleet.controller.events(trial["job"], "session_began")
    assert [event["body"]["position"] >= 10 for event in began] == [False, True]
    path = f"/v1/jobs/{trial['job']}/curve"
    curve = fleet.controller.get(path, columns="loss", max_points=20_000)["columns"]
    # Of what the first attempt did, rows that were on their way are lost with its machine.
    resumed_at = began[1]["body"]["position"]
    assert [at for at in curve["position"] if at >= resumed_at] == list(range(resumed_at, 200))
    monkeypatch.setenv("PACESETTER_MODE", "offline")
    site = allowing(tmp_path / "alone", "resumed", jobs=nobody(tmp_path / "alone"))
    undisturbed = conduct(a_trial("resumed", attempt=2), site, Recorded())
    assert isinstance(undisturbed, Done)
    assert trial["loss"] == undisturbed.outcome.loss


@pytest.mark.faults
def test_a_trial_that_diverged_names_its_job(fleet: Fleet) -> None:
    fleet.worker("only", "--slots", "1", "--jobs")
    wild = {**TRAINING, "job": True, "optimizer": "sgd", "parametrization": "standard"}
    del wild["base_width"]
    [trial] = fleet.ended(fleet.experiment("mlp", 1, space=AT[1e6], fixed=wild), 1)

    assert (trial["status"], trial["loss"]) == ("done", None)
    assert fleet.controller.get(f"/v1/jobs/{trial['job']}")["external_id"] == trial["id"]


@pytest.mark.parametrize(
    ("allowed", "mode", "job", "message"),
    [
        (False, "", True, "start it with --jobs, and a token that has the scope `register`"),
        (True, "disabled", True, "unset PACESETTER_MODE where the worker runs"),
        (True, "", "yes", "job is 'yes'; expected true or false"),
    ],
    ids=["without the operator's word", "disabled", "no flag"],
)
def test_a_trial_that_cannot_run_as_a_job_fails_with_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allowed: bool,
    mode: str,
    job: Value,
    message: str,
) -> None:
    monkeypatch.setenv("PACESETTER_MODE", mode)
    site = Site(tmp_path, jobs=nobody(tmp_path) if allowed else None)

    ending = conduct(a_trial("mlp", lr=0.01, steps=2, job=job), site, Recorded())

    assert isinstance(ending, Failed)
    assert message in ending.error


def test_a_trial_trains_on_where_nobody_answers_its_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACESETTER_MODE", "offline")
    trial = a_trial("mlp", lr=0.01, steps=3, job=True)

    ending = conduct(trial, Site(tmp_path, jobs=nobody(tmp_path)), Recorded())

    assert isinstance(ending, Done), ending
    assert ending.outcome.job is None
    # What it would have reported is kept for `pacesetter sync`, wherever the trial's own files go.
    assert list(tmp_path.glob("trial-1/*/session.json"))


def test_a_trial_is_one_job_under_its_own_name(tmp_path: Path) -> None:
    trial = RunningTrial(a_trial("mlp"), tmp_path, Recorded(), jobs=nobody(tmp_path))
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    arguments: dict[str, Any] = {"budget": pacesetter.Steps(5), "mode": "offline"}
    with trial:
        with pytest.raises(JobRefused, match="external_id of a trial's job cannot be chosen"):
            trial.attach(model, optimizer, external_id="mine", **arguments)
        run = trial.attach(model, optimizer, **arguments)
        with pytest.raises(JobRefused, match="runs as a job already"):
            trial.attach(model, optimizer, **arguments)
    assert run.job.external_id == "trial-1"
    assert run.finish().steps == 0


def test_the_token_of_jobs_is_in_no_log() -> None:
    site = Site(Path("/tmp"), jobs=JobAccess("https://example.org", Path("/tmp"), "secret-token"))
    assert "secret-token" not in repr(site)
