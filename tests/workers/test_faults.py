"""Workers as real processes, killed and stopped in the middle of trials."""

import time

import pytest

from tests.faults.harness import eventually
from tests.workers.conftest import LEASE_SECONDS, Fleet
from tests.workers.support import OWN

pytestmark = pytest.mark.faults

ONE_SLOT = ("--slots", "1")


def allow(*names: str) -> tuple[str, ...]:
    return tuple(option for name in names for option in ("--allow", f"{OWN}:{name}"))


def test_two_workers_do_each_of_200_trials_exactly_once(fleet: Fleet) -> None:
    experiment = fleet.experiment("noop", 200)
    for name in ("a", "b"):
        fleet.worker(name, *ONE_SLOT)

    trials = fleet.ended(experiment, 200)

    assert [trial["number"] for trial in trials] == list(range(1, 201))
    assert {trial["status"] for trial in trials} == {"done"}
    assert {trial["attempts"] for trial in trials} == {1}
    assert {trial["worker"] for trial in trials} == {"a", "b"}
    # Work that was done twice would count its step twice.
    assert sum(trial["cost"]["steps"] for trial in trials) == 200


def test_a_trial_of_a_killed_worker_goes_on_elsewhere_from_its_checkpoint(fleet: Fleet) -> None:
    experiment = fleet.experiment("slow", 1, fixed={"steps": 40})
    first = fleet.worker("first", *ONE_SLOT, *allow("slow"))
    fleet.leased(experiment, 10)

    first.kill()
    killed = time.monotonic()
    fleet.worker("second", *ONE_SLOT, *allow("slow"))
    [trial] = fleet.ended(experiment, 1)

    assert (trial["status"], trial["attempts"], trial["worker"]) == ("done", 2, "second")
    # The second attempt began where the first one was kept, and both are in its state.
    assert (trial["loss"], trial["metrics"]["begun"], trial["cost"]["tokens"]) == (2.0, 2.0, 40.0)
    # A lease, a poll and 2 s of training, with five times that much of slack.
    assert time.monotonic() - killed < 5 * (LEASE_SECONDS + 1.0 + 2.0)


@pytest.mark.parametrize("executor", ["process", "ray"])
def test_a_worker_that_is_told_to_stop_returns_its_lease_uncounted(
    fleet: Fleet, executor: str
) -> None:
    experiment = fleet.experiment("slow", 2, fixed={"steps": 200})
    worker = fleet.worker("first", *ONE_SLOT, *allow("slow"), "--executor", executor)
    fleet.leased(experiment, 5)

    status = worker.stop()
    trials = fleet.trials(experiment)

    assert status == 0, worker.log.read_text()
    assert [(one["status"], one["attempts"]) for one in trials] == [("queued", 0), ("queued", 0)]


def test_a_worker_goes_on_while_the_controller_is_away_and_brings_the_result(fleet: Fleet) -> None:
    experiment = fleet.experiment("slow", 1, fixed={"steps": 60})
    fleet.worker("only", *ONE_SLOT, *allow("slow"))
    fleet.leased(experiment, 5)

    fleet.controller.kill()
    fleet.controller.start()
    [trial] = fleet.ended(experiment, 1)

    assert (trial["status"], trial["attempts"], trial["cost"]["tokens"]) == ("done", 1, 60.0)


def test_what_a_trial_does_wrong_ends_it_alone(fleet: Fleet) -> None:
    names = ("broken", "killed", "silent", "misnamed", "quadratic")
    experiments = {
        name: fleet.experiment(name, 1, progress_seconds=2.0, max_attempts=2) for name in names
    }
    fleet.worker("only", *ONE_SLOT, *allow(*names))

    found = {name: fleet.ended(experiments[name], 1)[0] for name in names}

    assert {name: trial["status"] for name, trial in found.items()} == {
        "broken": "failed",
        "killed": "done",
        "silent": "done",
        "misnamed": "failed",
        "quadratic": "done",
    }
    assert "ZeroDivisionError: float division by zero" in found["broken"]["error"]
    assert found["broken"]["attempts"] == 1
    # The machine's faults are tried again: the loss is the number of the attempt.
    assert (found["killed"]["attempts"], found["killed"]["loss"]) == (2, 2.0)
    assert "killed by SIGKILL" in found["killed"]["error"]
    assert (found["silent"]["attempts"], found["silent"]["loss"]) == (2, 2.0)
    assert "The proxy's outcome cannot be sent" in found["misnamed"]["error"]
    assert "step stayed at 1 for 2 s" in found["silent"]["error"]


def test_a_trial_of_a_cancelled_experiment_stops_and_frees_its_worker(fleet: Fleet) -> None:
    experiment = fleet.experiment("slow", 1, fixed={"steps": 10_000})
    fleet.worker("only", *ONE_SLOT, *allow("slow"))
    fleet.leased(experiment, 3)

    assert fleet.controller.api.post(f"/v1/experiments/{experiment}:cancel").is_success
    [trial] = fleet.ended(experiment, 1)
    after = fleet.experiment("noop", 1)
    [other] = fleet.ended(after, 1)

    assert (trial["status"], other["status"]) == ("cancelled", "done")
    assert trial["step"] < 10_000


def test_a_worker_whose_lease_ran_out_changes_nothing(fleet: Fleet) -> None:
    experiment = fleet.experiment("slow", 1, fixed={"steps": 20})
    first = fleet.worker("first", *ONE_SLOT, *allow("slow"))
    fleet.leased(experiment, 5)
    # It sleeps over the end of its lease, and wakes when somebody else has the trial.
    first.pause()
    fleet.worker("second", *ONE_SLOT, *allow("slow"))
    [trial] = fleet.ended(experiment, 1)

    first.resume()
    eventually(lambda: "is not ours any more" in first.log.read_text(), "the first worker to see")
    [after] = fleet.trials(experiment)

    assert (trial["worker"], trial["attempts"]) == ("second", 2)
    assert after == trial


def test_a_trial_that_says_that_it_gets_on_is_waited_for(fleet: Fleet) -> None:
    experiment = fleet.experiment("thinks", 1, progress_seconds=2.0)
    fleet.worker("only", *ONE_SLOT, *allow("thinks"))

    [trial] = fleet.ended(experiment, 1)

    assert (trial["status"], trial["attempts"], trial["loss"]) == ("done", 1, 1.0)
