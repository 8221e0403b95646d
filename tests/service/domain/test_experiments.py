"""Experiments: planned, run, counted, over; on both databases."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.protocol import (
    Cost,
    Lease,
    StrategyChoice,
    TrialFailure,
    TrialReturn,
    Workload,
)
from pacesetter.protocol.trials import MOST_AMOUNT, MOST_STEPS
from pacesetter.schedules import Schedule, Table
from pacesetter_service.controller import Controller
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import NotFound, Refused, StrategyRefused
from pacesetter_service.experiments.planning import AHEAD
from pacesetter_service.experiments.repository import change_experiment, trial_seed

from tests.service.domain.conftest import OPTIONS, Open
from tests.service.domain.experimenting import (
    claim,
    finish,
    loss_of,
    run_all,
    run_out,
    search,
    trials_of,
)


async def test_an_experiment_runs_to_its_last_trial_and_has_its_best(
    controller: Controller,
) -> None:
    experiment = await controller.experiments.create(search(7), "default")
    assert (experiment.status, experiment.trials.queued, experiment.best) == ("running", 7, None)
    assert await run_all(controller, most=3) == [1, 2, 3, 4, 5, 6, 7]
    over = await controller.experiments.get(experiment.id)
    assert (over.status, over.reason) == ("completed", "its strategy plans no more trials")
    assert (over.trials.done, over.trials.pending) == (7, 0)
    assert over.cost == Cost(steps=70, tokens=4480.0, flops=7e6, seconds=3.5)
    trials = await trials_of(controller, experiment.id)
    losses = [trial.loss for trial in trials]
    assert over.best is not None
    assert over.best.loss == min(loss for loss in losses if loss is not None)
    assert over.best.number == 1 + losses.index(over.best.loss)
    assert over.ended_at is not None
    assert over.ended_at >= over.created_at


async def test_a_trial_says_why_it_was_planned_and_what_came_of_it(controller: Controller) -> None:
    experiment = await controller.experiments.create(search(5, strategy="grid"), "default")
    (lease,) = await claim(controller)
    assert lease.trial.parameters["width"] == 32
    assert (lease.trial.number, lease.trial.attempt, lease.trial.proxy) == (1, 1, "noop")
    assert lease.trial.seed == trial_seed(7, 1) < 2**32
    done = await finish(controller, lease, metrics={"top": 0.5, "gap": math.nan}, job="job_1")
    assert done.why == "cell 1 of the 5 of the grid"
    assert done.numbers == {"cell": 1, "cells": 5}
    assert (done.status, done.attempts, done.worker, done.job) == ("done", 1, "worker-1", "job_1")
    assert done.loss == loss_of(lease.trial.parameters)
    assert done.metrics["top"] == 0.5
    assert math.isnan(done.metrics["gap"])
    assert done.cost == Cost(steps=10, tokens=640.0, flops=1e6, seconds=0.5)
    assert done.parameters == lease.trial.parameters
    assert done.experiment == experiment.id


async def test_a_population_is_one_trial_that_is_told_what_to_search(
    controller: Controller,
) -> None:
    spec = search(
        3, strategy="population", proxy="population:mlp", fixed={"steps": 40, "width": 32}
    )
    experiment = await controller.experiments.create(spec, "default")

    (trial,) = await trials_of(controller, experiment.id)

    assert trial.parameters == {
        "scheduler": "pb2",
        "members": 4,
        "intervals": 8,
        "quantile": 0.25,
        "lr_low": 2.0**-10,
        "lr_high": 2.0**-2,
        "steps": 40,
        "width": 32,
    }
    with pytest.raises(Refused, match="there is no study"):
        await controller.experiments.study(experiment.id)


async def test_the_schedule_that_a_trial_found_comes_back_as_it_was(controller: Controller) -> None:
    await controller.experiments.create(search(2), "default")
    body = Table(positions=(0.0, 1 / 3, 1.0), values=(1.0, 0.1, 0.1), interpolation="hold")
    schedule = Schedule(length=60, peak=2.0**-7, unit="absolute", body=body)
    first, second = await claim(controller, most=2)

    found = await finish(controller, first, metrics={"top": 0.5}, schedule=schedule)
    none = await finish(controller, second, metrics={"top": 0.25})

    assert found.schedule == schedule
    assert [found.schedule.at(step) for step in (0, 19, 20, 59)] == [
        2.0**-7,
        2.0**-7,
        0.1 * 2.0**-7,
        0.1 * 2.0**-7,
    ]
    assert (found.metrics, none.metrics, none.schedule) == ({"top": 0.5}, {"top": 0.25}, None)


@given(st.integers(0, 2**63 - 1), st.integers(1, 10_000))
def test_seeds_of_trials_fit_every_library_and_are_repeatable(seed: int, number: int) -> None:
    assert 0 <= trial_seed(seed, number) < 2**32
    assert trial_seed(seed, number) == trial_seed(seed, number)
    assert trial_seed(seed, number) != trial_seed(seed, number + 1)


async def test_the_same_seed_plans_the_same_trials_however_they_are_claimed(
    controller: Controller,
) -> None:
    found = []
    for most in (1, 5):
        experiment = await controller.experiments.create(search(100), "default")
        await run_all(controller, most=most)
        trials = await trials_of(controller, experiment.id)
        found.append([(trial.parameters["lr"], trial.seed) for trial in trials])
    assert found[0] == found[1]
    assert len(set(found[0])) == 100


async def test_no_more_is_planned_ahead_than_one_claim_takes(controller: Controller) -> None:
    experiment = await controller.experiments.create(search(1000), "default")
    assert experiment.trials.queued == AHEAD == 64
    leases = await claim(controller, most=40)
    assert len(leases) == 40
    later = await controller.experiments.get(experiment.id)
    assert (later.trials.leased, later.trials.queued) == (40, AHEAD)


async def test_a_diverged_trial_is_a_result_and_the_best_is_another(controller: Controller) -> None:
    experiment = await controller.experiments.create(search(3), "default")
    leases = await claim(controller, most=3)
    for lease, loss in zip(leases, (None, math.inf, 2.5), strict=True):
        await finish(controller, lease, loss=loss)
    over = await controller.experiments.get(experiment.id)
    assert (over.status, over.trials.done, over.trials.diverged) == ("completed", 3, 2)
    assert over.best is not None
    assert (over.best.number, over.best.loss) == (3, 2.5)
    first, *_ = await trials_of(controller, experiment.id)
    assert (first.status, first.loss, first.diverged) == ("done", None, True)


async def test_an_exception_fails_the_trial_and_not_the_experiment(controller: Controller) -> None:
    experiment = await controller.experiments.create(search(3), "default")
    (lease,) = await claim(controller)
    failure = TrialFailure(
        token=lease.token, error="Traceback ...\nValueError: no such width", cost=Cost(steps=4)
    )
    failed = await controller.experiments.fail(lease.trial.id, failure)
    assert (failed.status, failed.error, failed.cost.steps) == ("failed", failure.error, 4)
    assert await run_all(controller) == [2, 3]
    over = await controller.experiments.get(experiment.id)
    assert (over.status, over.trials.failed, over.trials.done) == ("completed", 1, 2)
    assert over.cost.steps == 24


async def test_flops_that_are_spent_end_the_experiment(controller: Controller) -> None:
    experiment = await controller.experiments.create(search(50, max_flops=3e6), "default")
    leases = await claim(controller, most=4)
    for lease in leases[:3]:
        await finish(controller, lease)
    spent = await controller.experiments.get(experiment.id)
    assert (spent.status, spent.trials.queued, spent.trials.leased) == ("running", 0, 1)
    assert spent.trials.cancelled == 46
    await finish(controller, leases[3])
    over = await controller.experiments.get(experiment.id)
    assert (over.status, over.reason) == ("completed", "its 3e+06 FLOPs are spent")
    assert over.cost.flops == 4e6


async def returned(controller: Controller, lease: Lease) -> None:
    await controller.experiments.give_back(lease.trial.id, TrialReturn(token=lease.token))


async def failed(controller: Controller, lease: Lease) -> None:
    failure = TrialFailure(token=lease.token, error="no memory", retry=True, cost=Cost(flops=1e6))
    await controller.experiments.fail(lease.trial.id, failure)


async def silent(controller: Controller, lease: Lease) -> None:
    await run_out(controller, lease.trial.id)
    assert await claim(controller) == ()
    await controller.experiments.reap()


@pytest.mark.parametrize(
    ("end", "status"), [(returned, "cancelled"), (failed, "failed"), (silent, "failed")]
)
async def test_a_trial_whose_lease_ends_after_the_flops_were_spent_is_not_run_again(
    controller: Controller, end: Callable[[Controller, Lease], Awaitable[None]], status: str
) -> None:
    experiment = await controller.experiments.create(search(10, max_flops=1e6), "default")
    first, second = await claim(controller, most=2)
    await finish(controller, first)
    await end(controller, second)
    over = await controller.experiments.get(experiment.id)
    assert (over.status, over.reason) == ("completed", "its 1e+06 FLOPs are spent")
    assert getattr(over.trials, status) == (9 if status == "cancelled" else 1)
    assert over.trials.pending == 0
    assert await claim(controller) == ()


async def test_a_trial_that_comes_back_to_an_experiment_whose_strategy_failed_is_cancelled(
    controller: Controller,
) -> None:
    experiment = await controller.experiments.create(search(3), "default")
    (lease,) = await claim(controller)

    def end(tx: Transaction) -> None:
        change_experiment(tx, experiment.id, status="failed", reason="its strategy failed")

    await controller._store.write(end)
    await returned(controller, lease)
    counts = (await controller.experiments.get(experiment.id)).trials
    assert (counts.cancelled, counts.pending) == (3, 0)


async def test_what_no_report_may_say_a_sum_of_reports_may_come_to(controller: Controller) -> None:
    """Were the bounds of a report those of a sum, one wild worker would lose the results of the others."""
    experiment = await controller.experiments.create(search(4, max_attempts=2), "default")
    wild = Cost(steps=MOST_STEPS, tokens=MOST_AMOUNT, flops=MOST_AMOUNT, seconds=MOST_AMOUNT)
    for _ in range(2):
        (lease,) = await claim(controller)
        failure = TrialFailure(token=lease.token, error="odd", retry=True, cost=wild)
        await controller.experiments.fail(lease.trial.id, failure)
    (lease,) = await claim(controller)
    assert (await finish(controller, lease)).status == "done"
    seen = await controller.experiments.get(experiment.id)
    assert seen.cost == wild
    assert (await trials_of(controller, experiment.id))[0].cost == wild
    assert (seen.trials.done, seen.trials.failed) == (1, 1)


async def test_cancelling_leaves_nothing_to_claim_and_tells_who_runs(
    controller: Controller,
) -> None:
    experiment = await controller.experiments.create(search(5), "default")
    (lease,) = await claim(controller)
    cancelled = await controller.experiments.cancel(experiment.id, by="ada")
    assert (cancelled.status, cancelled.reason) == ("cancelled", "ada cancelled it")
    assert (cancelled.trials.cancelled, cancelled.trials.leased) == (4, 1)
    assert await claim(controller) == ()
    done = await finish(controller, lease)  # what it had by then is kept
    assert done.status == "done"
    again = await controller.experiments.cancel(experiment.id, by="bob")
    assert (again.reason, again.ended_at) == (cancelled.reason, cancelled.ended_at)


async def test_a_completed_experiment_is_not_cancelled_any_more(controller: Controller) -> None:
    experiment = await controller.experiments.create(search(1), "default")
    await run_all(controller)
    assert (await controller.experiments.cancel(experiment.id)).status == "completed"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        pytest.param({"strategy": "gridd"}, "UNKNOWN_STRATEGY", "gridd", id="unknown"),
        pytest.param(
            {"strategy": StrategyChoice(name="grid", parameters={"point": 3})},
            "BAD_STRATEGY_PARAMETERS",
            "point",
            id="misspelt parameter",
        ),
        pytest.param(
            {"strategy": "grid", "trials": 4}, "STRATEGY_CANNOT_PLAN", "5 cells", id="grid too fine"
        ),
    ],
)
async def test_a_strategy_that_cannot_plan_it_is_refused(
    controller: Controller, changes: dict[str, object], code: str, words: str
) -> None:
    fields = dict(changes)
    strategy = fields.pop("strategy")
    if isinstance(strategy, str):
        strategy = StrategyChoice(name=strategy)
    trials = fields.pop("trials", 9)
    assert isinstance(trials, int)
    with pytest.raises(StrategyRefused, match=words) as caught:
        await controller.experiments.create(
            search(trials).model_copy(update={"strategy": strategy}), "default"
        )
    assert caught.value.code == code
    if code == "STRATEGY_CANNOT_PLAN":
        assert "random" in caught.value.fitting
    assert (await controller.experiments.page()).items == ()


async def test_projects_neither_see_nor_run_each_other_s_trials(controller: Controller) -> None:
    ours = await controller.experiments.create(search(2), "ours")
    assert await claim(controller, project="theirs") == ()
    with pytest.raises(NotFound):
        await controller.experiments.get(ours.id, "theirs")
    with pytest.raises(NotFound):
        await controller.experiments.trials(ours.id, "theirs")
    with pytest.raises(NotFound):
        await controller.experiments.cancel(ours.id, "theirs")
    (lease,) = await claim(controller, project="ours")
    with pytest.raises(NotFound):
        await controller.experiments.trial(lease.trial.id, "theirs")
    assert (await controller.experiments.page("theirs")).items == ()


async def test_a_worker_gets_only_what_it_may_run(controller: Controller) -> None:
    await controller.experiments.create(search(1, proxy="my.module:train"), "default")
    assert await claim(controller) == ()


async def test_lists_page_and_filter(controller: Controller) -> None:
    ids = [(await controller.experiments.create(search(3), "default")).id for _ in range(3)]
    first = await controller.experiments.page(page_size=2)
    rest = await controller.experiments.page(page_size=2, page_token=first.next_page_token)
    assert [one.id for one in (*first.items, *rest.items)] == ids[::-1]
    await claim(controller)
    page = await controller.experiments.trials(ids[0], page_size=2)
    assert [one.number for one in page.items] == [1, 2]
    last = await controller.experiments.trials(ids[0], page_token=page.next_page_token)
    assert [one.number for one in last.items] == [3]
    assert last.next_page_token == ""
    leased = await controller.experiments.trials(ids[0], status="leased")
    assert [one.number for one in leased.items] == [1]
    assert (await controller.experiments.page(status="completed")).items == ()
    with pytest.raises(Refused, match="page_token"):
        await controller.experiments.trials(ids[0], page_token="one")


async def test_an_experiment_goes_on_after_a_restart(open_controller: Open) -> None:
    first = await open_controller()
    experiment = await first.experiments.create(search(40), "default")
    held, *_ = await claim(first, most=9)
    await first.close()
    second = await open_controller(OPTIONS)
    await finish(second, held)
    await run_all(second, most=7)
    stopped = await second.experiments.get(experiment.id)
    # Eight leases of before are held by workers that the service has not heard of since.
    assert (stopped.trials.done, stopped.trials.leased, stopped.status) == (32, 8, "running")


async def test_a_check_of_coordinates_follows_the_last_trial_once(controller: Controller) -> None:
    kept: dict[str, Any] = {
        "max_attempts": 2,
        "tags": {"team": "a"},
        "regime": "pretrain",
        "progress_seconds": 9.0,
        "workload": Workload(family="lines"),
    }
    spec = search(3, coordinates=(32, 128), **kept)
    experiment = await controller.experiments.create(spec, "theirs")
    for _ in range(4):
        (lease,) = await claim(controller, project="theirs")
        await finish(controller, lease)
    assert await claim(controller) == ()
    over = await controller.experiments.get(experiment.id)
    assert (over.status, over.trials.done) == ("completed", 3)
    assert over.coordinates is not None
    check = await controller.experiments.get(over.coordinates)
    assert (check.status, check.trials.done, check.coordinates) == ("completed", 1, None)
    assert (check.name, check.project, check.spec.seed) == ("coordinates of rates", "theirs", 7)
    assert {name: getattr(check.spec, name) for name in kept} == kept
    assert over.best is not None
    assert check.spec.fixed == {**over.best.parameters, "coordinates": "32 128"}
    assert len((await controller.experiments.page("theirs")).items) == 2
    assert (await controller.experiments.page("default")).items == ()
    cancelled = await controller.experiments.create(spec, "default")
    (lease,) = await claim(controller)
    await finish(controller, lease)
    await controller.experiments.cancel(cancelled.id)
    assert (await controller.experiments.get(cancelled.id)).coordinates is None
