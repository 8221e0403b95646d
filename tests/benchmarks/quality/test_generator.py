from collections import Counter

import pytest

from benchmarks.quality.address import describe
from benchmarks.quality.generator import FINAL_SEED, draw
from benchmarks.quality.tasks import TASKS, Task

DEVELOPMENT_SEED = 1000


def test_a_seed_always_draws_the_same_tasks_and_fewer_are_the_first_of_more() -> None:
    assert draw(DEVELOPMENT_SEED, 30) == draw(DEVELOPMENT_SEED, 30)
    assert draw(DEVELOPMENT_SEED, 5) == draw(DEVELOPMENT_SEED, 30)[:5]


def test_seeds_draw_different_tasks() -> None:
    first, second = draw(DEVELOPMENT_SEED, 20), draw(DEVELOPMENT_SEED + 1, 20)
    assert len({repr(describe(task.recipe)) for task in (*first, *second)}) > 35


def test_draws_are_varied() -> None:
    tasks = draw(DEVELOPMENT_SEED, 200)
    kinds = Counter(task.kind for task in tasks)
    optimizers = Counter(task.optimizer.split(":")[0] for task in tasks)
    assert set(kinds) == {"language", "sequence", "vision", "tabular"}
    assert min(kinds.values()) >= 8
    assert len(optimizers) == 6
    assert min(optimizers.values()) >= 10
    assert all(200 <= task.steps <= 3000 for task in tasks)


def test_no_drawn_task_is_one_of_the_named() -> None:
    named = {repr(describe(task.recipe)) for task in TASKS}
    assert not named & {repr(describe(task.recipe)) for task in draw(DEVELOPMENT_SEED, 200)}


def test_the_final_seed_is_not_one_of_development() -> None:
    assert FINAL_SEED >= 1000
    assert FINAL_SEED not in range(1000, 2000)


WITHOUT_MNIST1D = [task for task in draw(DEVELOPMENT_SEED, 16) if "mnist1d" not in task.optimizer]
"""Making that data set takes seconds."""


@pytest.mark.parametrize("task", WITHOUT_MNIST1D, ids=lambda task: task.name)
def test_a_drawn_task_trains(task: Task) -> None:
    trial = task.open(seed=0)
    loss = trial.loss(trial.batch_at(0))
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    for optimizer in trial.optimizers:
        optimizer.step()
    assert trial.validate("A") > 0.0
