from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.quality.engine import RateWriter, advance, shaped, train
from benchmarks.quality.tasks import TASKS, Task, Trial, named
from benchmarks.quality.tasks.data import load
from benchmarks.quality.tasks.policy import PolicyTrial
from benchmarks.quality.tasks.quadratic import QuadraticRecipe
from benchmarks.quality.tasks.supervised import SupervisedRecipe

WITHOUT_MNIST1D = [task for task in TASKS if not task.name.startswith("mnist1d")]
"""Making that data set takes seconds; its tasks differ from the digits' in the network alone."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fingerprint(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    return b"".join(map(fingerprint, value)) if isinstance(value, tuple) else repr(value).encode()


@pytest.mark.parametrize("task", WITHOUT_MNIST1D, ids=lambda task: task.name)
def test_a_batch_is_a_function_of_its_position(task: Task) -> None:
    first, second = task.open(seed=7), task.open(seed=7)
    wanted = [fingerprint(first.batch_at(position)) for position in (0, 1, 50, 3)]
    assert [fingerprint(second.batch_at(p)) for p in (3, 50, 1, 0)] == wanted[::-1]
    assert len(set(wanted)) == 4


@pytest.mark.parametrize("task", WITHOUT_MNIST1D, ids=lambda task: task.name)
def test_two_trials_of_a_seed_train_alike_and_validation_leaves_no_trace(task: Task) -> None:
    plain, watched = task.open(seed=3), task.open(seed=3)
    expected = advance(plain, RateWriter(plain.optimizers), [1.0] * 4)
    rates = RateWriter(watched.optimizers)
    found = advance(watched, rates, [1.0] * 2)
    assert watched.validate("A") == watched.validate("A")
    assert all(module.training for module in watched.model.modules())
    assert found + advance(watched, rates, [1.0] * 2, first=2) == expected


def test_every_name_and_kind_is_there() -> None:
    names = [task.name for task in TASKS]
    assert len(set(names)) == len(names) >= 9
    assert {task.kind for task in TASKS} == {
        "language",
        "vision",
        "sequence",
        "policy",
        "quadratic",
    }


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ValueError, match=r"no task imagenet; choose of digits-mlp, .*"):
        named("digits-mlp,imagenet")


def test_splits_share_no_example_and_held_out_labels_are_clean() -> None:
    clean, noisy = load("digits"), load("digits", label_noise=0.5)
    rows = [
        {tuple(row) for row in part.inputs.tolist()}
        for part in (clean.train, clean.held_out["A"], clean.held_out["B"])
    ]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    assert torch.equal(clean.held_out["B"].targets, noisy.held_out["B"].targets)
    changed = (clean.train.targets != noisy.train.targets).float().mean().item()
    assert 0.38 < changed < 0.52  # half are drawn anew, a tenth of those hits its own class


def test_an_epoch_holds_every_example_once_but_for_the_rest() -> None:
    recipe = SupervisedRecipe("diabetes", "linear", "sgd", batch=16)
    trial = recipe.open(seed=0, lr=0.1)
    count = trial.epoch_batches
    assert count == len(load("diabetes").train.inputs) // 16
    for epoch in range(2):
        seen = [trial.batch_at(epoch * count + index)[0] for index in range(count)]
        rows = {tuple(row) for batch in seen for row in batch.tolist()}
        assert len(rows) == 16 * count
    assert not torch.equal(trial.batch_at(0)[0], trial.batch_at(count)[0])


def test_the_quadratic_ends_where_the_recursion_in_numpy_does() -> None:
    steps, lr = 2000, 0.5
    curvature = np.arange(1, 201, dtype=np.float64) ** -1.5
    moments = np.ones(200)
    for multiplier in shaped("cosine", steps).over(np.arange(steps, dtype=np.float64)):
        rate = lr * multiplier
        moments = (1 - rate * curvature) ** 2 * moments + rate**2 * 0.02 * curvature
    (task,) = named("noisy-quadratic")
    found = train(task, shaped("cosine", steps), lr, steps, seed=0)
    expected = 0.5 * float(curvature @ moments)
    reached = (found.A, found.B)
    assert reached == pytest.approx((expected, expected), rel=1e-9)


def test_the_quadratic_does_not_depend_on_the_seed() -> None:
    trials = [QuadraticRecipe().open(seed, 0.5) for seed in (0, 1)]
    assert trials[0].validate("A") == trials[1].validate("B")


def test_a_diverged_run_scores_what_the_untrained_model_does() -> None:
    (task,) = named("digits-mlp")
    found = train(task, shaped("linear", 60), 1e6, 60, seed=0)
    untrained = task.open(seed=0)
    assert found.diverged
    assert found.lost
    assert found.steps < 60
    reached = (found.A, found.B)
    assert reached == (untrained.validate("A"), untrained.validate("B"))


def test_muon_and_adamw_share_one_multiplier() -> None:
    (task,) = named("bytes-lm-muon")
    trial = task.open(seed=0, lr=0.01)
    assert [type(optimizer).__name__ for optimizer in trial.optimizers] == ["Muon", "AdamW"]
    RateWriter(trial.optimizers).write(0.25)
    assert [group["lr"] for each in trial.optimizers for group in each.param_groups] == [
        0.0025,
        0.0025,
    ]
    names = [parameter for each in trial.optimizers for parameter in each.param_groups[0]["params"]]
    assert len(names) == len(list(trial.model.parameters()))


def test_a_policy_with_broken_weights_costs_nothing_to_evaluate_and_has_no_loss() -> None:
    (task,) = named("point-mass-policy")
    trial: Trial = task.open(seed=0)
    assert isinstance(trial, PolicyTrial)
    with torch.no_grad():
        next(trial.model.parameters()).fill_(float("nan"))
    assert torch.isnan(trial.loss(trial.batch_at(0)))
    assert np.isfinite(trial.validate("B"))


def test_the_policy_learns() -> None:
    (task,) = named("point-mass-policy")
    found = train(replace(task, steps=150), shaped("wsd50", 150), 2.0**-6, 150, seed=0)
    untrained = task.open(seed=0).validate("B")
    assert found.B / untrained < 0.7
