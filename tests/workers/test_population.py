"""Populations on a real Ray: what comes back is what the best member was trained at, and what all of them took."""

from collections.abc import Iterator

import pytest
from pacesetter.protocol import TrialPoint, Value
from pacesetter_workers.cli import open_executor
from pacesetter_workers.executors import Executor
from pacesetter_workers.outcome import Done, Ending
from pacesetter_workers.site import Site

from tests.workers.support import a_trial, finish

pytestmark = pytest.mark.slow

STEPS, INTERVALS, MEMBERS = 60, 4, 4
POPULATION: dict[str, Value] = {
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
    assert replayed.outcome.metrics == pytest.approx(ending.outcome.metrics, rel=1e-2)
