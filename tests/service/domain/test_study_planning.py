"""Strategies of experiments as the controller asks them: in time, in a process, again after a failure."""

from dataclasses import replace
from functools import partial

import pytest
from pacesetter.protocol import TrialPlan
from pacesetter_service.controller import Controller
from pacesetter_service.experiments import planning
from pacesetter_service.experiments.messages import StudyRequest
from pacesetter_service.experiments.planning import question_of
from pacesetter_service.experiments.questions import Question
from pacesetter_service.experiments.strategies import Studies
from pacesetter_service.experiments.views import ExperimentView

from tests.service.domain.conftest import OPTIONS, Open
from tests.service.domain.experimenting import (
    claim,
    finish,
    insist,
    run_all,
    search,
    trials_of,
)

STUDIES = "tests.service.domain.studies"
TESTED = replace(OPTIONS, studies=STUDIES)
QUIET = replace(TESTED, planning=False)
"""Nothing is asked in the background: tests say when."""


@pytest.fixture
async def quiet(open_controller: Open) -> Controller:
    return await open_controller(QUIET)


async def create(controller: Controller, strategy: str, trials: int = 6) -> ExperimentView:
    return await controller.experiments.create(search(trials, strategy=strategy), "default")


async def question(controller: Controller, experiment: str) -> Question:
    ask = partial(question_of, experiment=experiment, studies=Studies(STUDIES))
    found = await controller._store.read(ask)
    assert found is not None
    return found


async def test_a_slow_strategy_is_asked_for_as_many_as_workers_want(quiet: Controller) -> None:
    experiment = await create(quiet, "slow_random")
    assert (experiment.planning, experiment.trials.queued) == (True, 0)
    assert await quiet.experiments.plan() == (experiment.id,)
    first = await quiet.experiments.get(experiment.id)
    assert (first.planning, first.trials.queued) == (False, 1)
    assert len(await claim(quiet, most=4)) == 1
    assert (await question(quiet, experiment.id)).most == 3
    await quiet.experiments.plan()
    (*leases,) = await claim(quiet, most=3)
    assert [lease.trial.number for lease in leases] == [2, 3, 4]
    assert await claim(quiet) == ()
    asked = await question(quiet, experiment.id)
    assert (asked.most, len(asked.pending), asked.planned) == (1, 4, 4)


async def test_a_slow_strategy_runs_an_experiment_to_its_end_by_itself(
    open_controller: Open,
) -> None:
    controller = await open_controller(TESTED)
    experiment = await create(controller, "slow_random", trials=9)
    numbers: list[int] = []

    async def is_over() -> bool:
        numbers.extend(await run_all(controller, most=2))
        return (await controller.experiments.get(experiment.id)).status == "completed"

    await insist(is_over)
    assert numbers == list(range(1, 10))
    trials = await trials_of(controller, experiment.id)
    fast = await create(controller, "random", trials=9)
    await run_all(controller)
    same = await trials_of(controller, fast.id)
    assert [one.parameters for one in trials] == [one.parameters for one in same]


async def test_a_strategy_that_waits_is_not_asked_again_until_a_trial_ends(
    quiet: Controller,
) -> None:
    experiment = await create(quiet, "rounds")
    await quiet.experiments.plan()
    (one,) = await claim(quiet, most=3)
    await quiet.experiments.plan()
    (other,) = await claim(quiet, most=3)
    await quiet.experiments.plan()
    for _ in range(3):
        assert await claim(quiet, most=3) == ()
        assert await quiet.experiments.plan() == ()
    await finish(quiet, one)
    assert await quiet.experiments.plan() == (experiment.id,)
    assert await claim(quiet) == ()
    await finish(quiet, other)
    for _ in range(8):
        await quiet.experiments.plan()
        await run_all(quiet)
    over = await quiet.experiments.get(experiment.id)
    assert (over.status, over.trials.done) == ("completed", 6)


async def test_what_ended_while_the_strategy_thought_does_not_void_its_answer(
    quiet: Controller,
) -> None:
    experiment = await create(quiet, "rounds")
    await quiet.experiments.plan()
    (one,) = await claim(quiet, most=2)
    asked = await question(quiet, experiment.id)
    await finish(quiet, one)
    plans = asked.ask(Studies(STUDIES).build("rounds", {}))
    assert len(plans) == 1
    commit = partial(planning.commit, question=asked, plans=plans, studies=Studies(STUDIES))
    assert await quiet._store.write(commit) is True
    later = await quiet.experiments.get(experiment.id)
    assert (later.trials.done, later.trials.queued) == (1, 1)
    # Nor does it count twice.
    assert await quiet._store.write(commit) is False
    assert (await quiet.experiments.get(experiment.id)).trials.queued == 1


@pytest.mark.parametrize(
    ("strategy", "problem"),
    [
        ("failing", "RuntimeError: a matrix is singular"),
        ("slow_failing", "RuntimeError: a matrix is singular"),
        ("dying", "ChildCrashed: the process that plans experiments has died"),
    ],
)
async def test_a_strategy_that_fails_ends_its_experiment_and_takes_no_result_away(
    quiet: Controller, strategy: str, problem: str
) -> None:
    experiment = await create(quiet, strategy)
    await quiet.experiments.plan()
    (lease,) = await claim(quiet)
    done = await finish(quiet, lease)
    assert done.status == "done"
    for _ in range(2):  # a slow one is asked twice: it may have been the machine
        await quiet.experiments.plan()
    over = await quiet.experiments.get(experiment.id)
    assert over.status == "failed"
    assert over.reason == f"its strategy {strategy!r} failed: {problem}"
    assert (over.trials.done, over.trials.pending) == (1, 0)
    other = await create(quiet, "random", trials=1)
    await run_all(quiet)
    assert (await quiet.experiments.get(other.id)).status == "completed"


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("astray", "planned values for ['momentum'], and the space has ['lr']"),
        ("greedy", "planned 65 trials, and 64 were wanted"),
    ],
)
async def test_a_strategy_that_breaks_its_contract_is_told_apart(
    quiet: Controller, strategy: str, words: str
) -> None:
    failed = await create(quiet, strategy, trials=100)
    assert failed.status == "failed"
    assert words in failed.reason
    assert await claim(quiet) == ()


async def test_an_experiment_of_a_newer_release_fails_and_holds_up_no_other(
    open_controller: Open,
) -> None:
    newer = await open_controller(QUIET)
    unknown = await create(newer, "slow_random")
    await newer.experiments.plan()
    (lease,) = await claim(newer)
    older = await open_controller(replace(OPTIONS, planning=False))
    other = await create(older, "random", trials=1)
    assert (await finish(older, lease)).status == "done"
    assert await run_all(older) == [1]
    over = await older.experiments.get(unknown.id)
    assert over.status == "failed"
    assert "no strategy of experiments called 'slow_random'" in over.reason
    assert (await older.experiments.get(other.id)).status == "completed"


async def test_a_restarted_controller_asks_what_was_due(open_controller: Open) -> None:
    killed = await open_controller(QUIET)
    experiment = await create(killed, "slow_random", trials=2)
    await killed.close()
    controller = await open_controller(TESTED)

    async def is_over() -> bool:
        await run_all(controller)
        return (await controller.experiments.get(experiment.id)).status == "completed"

    await insist(is_over)
    assert [one.number for one in await trials_of(controller, experiment.id)] == [1, 2]


async def test_a_question_arrives_in_the_process_as_it_was_asked(quiet: Controller) -> None:
    experiment = await create(quiet, "slow_random")
    await quiet.experiments.plan()
    (lease,) = await claim(quiet)
    await finish(quiet, lease, loss=None)
    asked = await question(quiet, experiment.id)
    (ended,) = asked.finished
    assert (ended.loss, ended.status, ended.cost.steps) == (None, "done", 10)
    pending = TrialPlan(parameters={"lr": 1.0, "on": True, "n": 1}, numbers={"x": [1.5, None]})
    whole = replace(asked, pending=(pending,), parameters={"points": {"lr": 3}})
    sent = StudyRequest.of(whole).model_dump_json(exclude_unset=True)
    came = StudyRequest.model_validate_json(sent).question()
    assert came == whole
    assert came.spec.workload.model_fields_set == set()
    assert "regime" not in came.spec.model_fields_set


@pytest.mark.slow
async def test_a_gaussian_process_plans_in_the_process_and_comes_nearer(sqlite_url: str) -> None:
    controller = await Controller.open(sqlite_url, OPTIONS)
    experiment = await controller.experiments.create(search(9, strategy="gp"), "default")

    async def is_over() -> bool:
        await run_all(controller)
        return (await controller.experiments.get(experiment.id)).status != "running"

    await insist(is_over, seconds=240.0)
    over = await controller.experiments.get(experiment.id)
    assert (over.status, over.trials.done) == ("completed", 9)
    assert over.best is not None
    assert over.best.loss == pytest.approx(2.0, abs=0.02)
    assert len({trial.why for trial in await trials_of(controller, experiment.id)}) > 1
    await controller.close()
