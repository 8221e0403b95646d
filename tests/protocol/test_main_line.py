"""What a search must never do: leave traces, meet another job, pass its cap, or hand over a probe as the result."""

import math
from typing import Any

import pacesetter
import torch
from torch.optim import Optimizer

from tests.faults.harness import ControllerProcess, eventually
from tests.protocol.training import BASE, Training

SEARCH: dict[str, Any] = {
    "steps": 200,
    "strategy": "autolrs",
    "strategy_parameters": {"candidates": 3, "min_multiplier": 0.1, "max_multiplier": 10.0},
    "limits": pacesetter.Limits(max_multiplier=10.0),
    "seed": 3,
}


def enter_a_probe(training: Training) -> None:
    while training.run.on_main_line:
        assert not training.run.done, "the job was never probed"
        training.step()


def weights(training: Training) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in training.model.parameters()])


def test_finishing_inside_a_probe_hands_over_the_main_line(controller: ControllerProcess) -> None:
    training = Training(controller, **SEARCH)
    enter_a_probe(training)
    at_leaving = weights(training).clone()
    training.step()
    training.step()
    assert [on_main for _, on_main, _, _ in training.rows[-2:]] == [False, False]
    assert not torch.equal(weights(training), at_leaving)
    result = training.run.finish()
    assert torch.equal(weights(training), at_leaving)
    assert training.run.on_main_line
    assert not result.completed


def test_every_step_runs_at_the_announced_rate_the_first_after_a_restore_too(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, **SEARCH)
    used: list[float] = []

    def record(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        del args, kwargs
        used.append(float(optimizer.param_groups[0]["lr"]))

    training.adam.register_step_pre_hook(record)
    training.finish_training()
    training.run.finish()
    assert used == [rates["body"] for _, _, rates, _ in training.rows]
    policies = {each["seq"]: each["policy"] for each in training.segments()}
    curve = controller.get(
        f"/v1/jobs/{training.job}/curve", columns="lr,multiplier", max_points=5000
    )
    assert curve["columns"]["lr"] == used
    # A constant policy's first step, right after a restore, is at its peak.
    starts = [i for i in range(1, len(used)) if curve["segments"][i] != curve["segments"][i - 1]]
    assert len(starts) == 4, "three probes, each after a restore, and the stage after the last"
    for index in starts:
        peak = policies[curve["segments"][index]]["peak"]
        assert math.isclose(used[index], peak * BASE["body"], rel_tol=1e-12)


def test_two_jobs_at_once_do_not_influence_each_other(controller: ControllerProcess) -> None:
    alone = Training(controller, **SEARCH)
    alone.finish_training()
    alone.run.finish()
    first = Training(controller, **SEARCH)
    other = Training(controller, **{**SEARCH, "seed": 11, "steps": 160})
    while not (first.run.done and other.run.done):
        for training in (first, other):
            if not training.run.done:
                training.step()
    first.run.finish()
    other.run.finish()
    assert first.rows == alone.rows
    assert first.segments() == alone.segments()
    assert other.segments() != alone.segments()


def test_a_probe_whose_loss_is_not_finite_ends_at_once_and_the_search_goes_on(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, **SEARCH)
    enter_a_probe(training)
    training.step(spoil=float("inf"))
    training.finish_training()
    result = training.run.finish()
    assert result.completed
    job = training.job
    ended = [event["body"] for event in controller.events(job, "segment_ended")]
    probe = next(each for each in ended if each["kind"] == "probe")
    assert (probe["outcome"], probe["code"], probe["steps"]) == ("stopped", "NON_FINITE", 1)
    assert any(event["body"]["code"] == "diverged" for event in controller.events(job, "decision"))
    assert sorted(training.main_line()) == list(range(200))
    ledger = controller.get(f"/v1/jobs/{job}/ledger")
    assert ledger["totals"]["probe_steps"] <= ledger["planned_probe"] <= 200


def test_losses_that_are_not_finite_are_recorded_as_such_and_training_goes_on(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, steps=30, strategy_parameters={"guard": False})
    spoilt = {5: float("nan"), 6: float("inf"), 7: float("-inf")}
    for position in range(30):
        training.step(spoil=spoilt.get(position, 1.0))
    training.run.finish()
    job = training.job
    curve = controller.get(f"/v1/jobs/{job}/curve", columns="loss", max_points=100)
    assert curve["columns"]["loss"][5:8] == ["NaN", "Infinity", "-Infinity"]
    assert [int(position) for position in curve["columns"]["position"]] == list(range(30))
    assert eventually(lambda: controller.get(f"/v1/jobs/{job}")["status"] == "completed", "the end")
