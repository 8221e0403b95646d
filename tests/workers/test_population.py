"""Populations on a real Ray: what comes back is what the best member was trained at, and what all of them took."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pacesetter.protocol import TrialPoint, Value
from pacesetter.schedules import parse_schedule
from pacesetter_workers.cli import open_executor
from pacesetter_workers.errors import ParameterRefused
from pacesetter_workers.executors import Executor
from pacesetter_workers.outcome import Done, Ending, Failed
from pacesetter_workers.population.evolving import schedule_of
from pacesetter_workers.population.order import read_order
from pacesetter_workers.site import Site

from tests.faults.harness import eventually
from tests.workers.conftest import Fleet
from tests.workers.support import a_trial, finish

pytestmark = pytest.mark.slow

STEPS, INTERVALS, MEMBERS = 60, 3, 3
POPULATION: dict[str, Value] = {
    "scheduler": "pb2",
    "steps": STEPS,
    "members": MEMBERS,
    "intervals": INTERVALS,
    "quantile": 0.25,
    "lr_low": 2.0**-12,
    "lr_high": 2.0**-3,
    "seed": 5,
    "width": 16,
}


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    """Ray with one slot and no CPU besides."""
    opened = open_executor("ray", Site(tmp_path_factory.mktemp("population")), 1)
    yield opened
    opened.close()


def train(
    executor: Executor, proxy: str, parameters: dict[str, Value]
) -> tuple[list[TrialPoint], Ending]:
    trial = a_trial(proxy).model_copy(update={"parameters": parameters})
    return finish(executor, trial)


@pytest.fixture(scope="module", params=["pb2", "pbt"])
def found(request: pytest.FixtureRequest, executor: Executor) -> tuple[list[TrialPoint], Done]:
    """What a population of the perceptron says, and how it ends."""
    points, ending = train(
        executor, "population:mlp", {**POPULATION, "scheduler": str(request.param)}
    )
    assert isinstance(ending, Done), ending
    return points, ending


def test_the_trajectory_is_constant_between_perturbations_and_covers_the_run(
    found: tuple[list[TrialPoint], Done],
) -> None:
    points, ending = found

    assert [point.step for point in points] == list(range(1, STEPS + 1))
    every = STEPS // INTERVALS
    parts = [points[start : start + every] for start in range(0, STEPS, every)]
    held = [{point.lr for point in part} for part in parts]
    assert all(len(rates) == 1 for rates in held)
    # The best one may have kept its rate from the beginning; whoever was worst last did not.
    assert ending.outcome.metrics["rate_changes"] >= 1
    assert len(set.union(*held)) - 1 <= ending.outcome.metrics["rate_changes"]
    schedule = ending.outcome.schedule
    assert schedule is not None
    assert (schedule.unit, schedule.length) == ("absolute", STEPS)
    assert [schedule.at(step) for step in range(STEPS)] == pytest.approx(
        [point.lr for point in points], rel=1e-12
    )
    assert all(2.0**-12 <= schedule.at(step) <= 2.0**-3 for step in range(STEPS))


def test_what_all_members_took_is_counted(found: tuple[list[TrialPoint], Done]) -> None:
    _, ending = found

    assert ending.cost.steps == MEMBERS * STEPS
    assert ending.cost.tokens == MEMBERS * STEPS * 64.0
    # 6 for every multiplication of a forward pass of an image, in batches of 64.
    products = 64 * 16 + 16**2 + 10 * 16
    assert ending.cost.flops == MEMBERS * STEPS * 6.0 * products * 64


def test_its_schedule_run_alone_from_the_same_seed_trains_the_same_model(
    executor: Executor, found: tuple[list[TrialPoint], Done]
) -> None:
    points, ending = found
    schedule = ending.outcome.schedule
    assert schedule is not None
    alone: dict[str, Value] = {
        "steps": STEPS,
        "seed": 5,
        "width": 16,
        "lr": schedule.peak,
        "schedule": schedule.body.model_dump_json(),
        "warmup": 0.0,
    }

    again, replayed = train(executor, "mlp", alone)

    assert isinstance(replayed, Done)
    assert [point.lr for point in again] == pytest.approx([p.lr for p in points], rel=1e-12)
    assert [point.loss for point in again] == pytest.approx([p.loss for p in points], rel=1e-5)
    assert replayed.outcome.loss == pytest.approx(ending.outcome.loss, rel=1e-5)
    of_the_best = {
        name: value for name, value in ending.outcome.metrics.items() if name != "rate_changes"
    }
    assert replayed.outcome.metrics == pytest.approx(of_the_best, rel=1e-2)


def test_a_population_whose_members_all_diverge_has_diverged(executor: Executor) -> None:
    mad: dict[str, Value] = {"lr_low": 2.0**12, "lr_high": 2.0**14, "optimizer": "sgd"}
    few: dict[str, Value] = {"members": 2, "intervals": 2, "steps": 20, "scheduler": "pbt"}

    points, ending = train(executor, "population:mlp", {**POPULATION, **mad, **few})

    assert isinstance(ending, Done), ending
    assert (points, ending.outcome.loss, ending.outcome.schedule) == ([], None, None)
    assert 0 < ending.cost.steps < 2 * 20


def test_members_whose_code_raises_fail_the_trial_with_what_they_said(executor: Executor) -> None:
    _, ending = train(executor, "population:mlp", {**POPULATION, "wdith": 16, "members": 2})

    assert isinstance(ending, Failed)
    assert "no member of the population ran to its end" in ending.error
    assert "mlp has no parameter 'wdith'" in ending.error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.1}, "lr cannot be given to a population, which finds the schedule"),
        ({"job": True}, "job cannot be given to a population"),
        ({"lr_low": 1.0, "lr_high": 0.5}, "lr_low 1 is not below lr_high 0.5; swap them"),
        ({"intervals": 61}, "60 steps have no 61 intervals"),
        ({"scheduler": "asha"}, "scheduler is 'asha'; expected one of pb2, pbt"),
        ({"quantile": 0.75}, "quantile is 0.75; expected 0 to 0.5"),
    ],
)
def test_what_no_population_can_be_is_refused(changes: dict[str, Value], message: str) -> None:
    with pytest.raises(ParameterRefused, match=message):
        read_order("mlp", {**POPULATION, **changes}, 0)


def test_without_ray_a_population_is_refused_with_what_to_start(tmp_path: Path) -> None:
    # In a process of its own: in this one Ray runs.
    executor = open_executor("process", Site(tmp_path), 1)
    try:
        _, ending = train(executor, "population:mlp", POPULATION)
    finally:
        executor.close()

    assert isinstance(ending, Failed)
    assert "start it with --executor ray" in ending.error


def test_intervals_cover_the_steps_and_first_rates_the_range() -> None:
    order = read_order("mlp", {**POPULATION, "members": 4, "steps": 10, "intervals": 3}, 0)

    assert (order.every, order.boundaries) == (4, (4, 8, 10))
    rates = np.log2(order.first_rates())
    assert rates == pytest.approx([-10.875, -8.625, -6.375, -4.125])
    schedule = schedule_of(order, [0.1] * 4 + [0.2] * 4 + [0.05] * 2)
    assert [schedule.at(step) for step in range(10)] == pytest.approx(
        [0.1] * 4 + [0.2] * 4 + [0.05] * 2, rel=1e-12
    )


@pytest.mark.faults
def test_workers_with_ray_alone_take_a_population_and_its_schedule_is_in_the_trial(
    fleet: Fleet,
) -> None:
    experiment = fleet.experiment(
        "population:mlp",
        3,
        space={"lr": {"kind": "range", "low": 2.0**-12, "high": 2.0**-3}},
        fixed={"steps": 40, "width": 16, "seed": 5},
        strategy={"name": "population", "parameters": {"members": 2, "intervals": 2}},
        # Less than the population takes: that it gets on is said at every boundary.
        progress_seconds=60.0,
    )
    fleet.worker("processes", "--slots", "1")
    # Idle: it has asked for trials, and there is none for it.
    [after] = fleet.ended(fleet.experiment("noop", 1), 1)
    assert (after["worker"], fleet.trials(experiment)[0]["status"]) == ("processes", "queued")
    fleet.worker("ray", "--slots", "1", "--executor", "ray")

    [trial] = fleet.ended(experiment, 1, 280.0)

    assert (trial["status"], trial["worker"], trial["error"]) == ("done", "ray", "")
    assert (trial["step"], trial["cost"]["steps"]) == (40, 2 * 40)
    schedule = parse_schedule(trial["schedule"])
    columns = fleet.controller.get(f"/v1/trials/{trial['id']}")["columns"]
    assert columns["step"] == [float(step) for step in range(1, 41)]
    assert columns["lr"] == pytest.approx([schedule.at(step) for step in range(40)], rel=1e-12)
    over = fleet.controller.get(f"/v1/experiments/{experiment}")
    assert (over["status"], over["trials"]["done"]) == ("completed", 1)


@pytest.mark.faults
def test_a_population_of_a_cancelled_experiment_ends_at_its_next_boundary(fleet: Fleet) -> None:
    experiment = fleet.experiment(
        "population:mlp",
        1,
        space={"lr": {"kind": "range", "low": 2.0**-12, "high": 2.0**-3}},
        fixed={"steps": 1_000_000, "width": 16},
        strategy={"name": "population", "parameters": {"members": 2, "intervals": 1000}},
    )
    worker = fleet.worker("ray", "--slots", "1", "--executor", "ray")
    members = f"{fleet.folder}/checkpoints/trials/{experiment}/1/population/tune"
    eventually(lambda: list(Path(members).glob("*/checkpoint_*")), "a boundary", 200.0)

    assert fleet.controller.api.post(f"/v1/experiments/{experiment}:cancel").is_success
    [trial] = fleet.ended(experiment, 1)

    assert trial["status"] == "cancelled"
    assert worker.process.poll() is None
    assert fleet.ended(fleet.experiment("noop", 1), 1)[0]["status"] == "done"
