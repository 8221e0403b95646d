"""Jobs that take their peak from an experiment: who begins it, who is told, and what ends with what."""

import math
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from pacesetter.protocol import (
    Budget,
    Choice,
    Cost,
    ExperimentSpec,
    Finished,
    JobSpec,
    Lease,
    ProxySearch,
    Range,
    StrategyChoice,
    Workload,
)
from pacesetter.schedules import Linear, Schedule, Warmup
from pacesetter_service.controller import Controller, ControllerOptions
from pacesetter_service.database.models import JobRow
from pacesetter_service.errors import Refused, StrategyRefused
from pacesetter_service.views import EventView
from sqlalchemy import update

from tests.service.domain.conftest import Open
from tests.service.domain.experimenting import RATES, claim, finish, insist, search
from tests.service.domain.simulated import SimulatedJob, spec

STEPS = 400
BEST = 2.0**-6
"""Of the trials; the job was given eight times as much."""
GIVEN = 8 * BEST
REAL = ControllerOptions(warm_imports=())
"""The real strategies, which are asked by themselves."""
ONE_LOOP = pytest.mark.asyncio(loop_scope="module")


def listening(strategy: str | None = None, **fields: Any) -> JobSpec:
    """Return a job whose proxies do nothing; where it cannot go back it is moved from where it stands."""
    values = {
        "external_id": secrets.token_hex(8),
        "base": Schedule(length=STEPS, warmup=Warmup(length=4), body=Linear()),
        "groups": ({"name": "all", "base_lr": GIVEN},),
        "proxies": ProxySearch(proxy="noop"),
        "limits": {"max_multiplier": 1000.0},
        "parameters": {"start_over": False, "overfitting_guard": False} if strategy is None else {},
    }
    return spec(STEPS, strategy, **{**values, **fields})


def sweep(**changes: Any) -> ExperimentSpec:
    """Return a grid of rates at the job's own steps."""
    made = search(9, space={"lr": RATES}, fixed={"steps": STEPS}, **changes)
    choice = StrategyChoice(name="grid", parameters={"points": 9})
    return made.model_copy(update={"strategy": choice})


@dataclass
class Team:
    """A project of a controller: its jobs, and a worker whose trials end where a bowl says."""

    controller: Controller
    project: str = field(default_factory=lambda: secrets.token_hex(8))

    async def start(self, wish: JobSpec, until: int = 60) -> SimulatedJob:
        job = await SimulatedJob(self.controller, wish).start(project=self.project)
        await job.run(until=until)
        return job

    async def finish(self, lease: Lease) -> None:
        """End a trial with a loss whose lowest is at the best rate."""
        lr, steps = lease.trial.parameters["lr"], lease.trial.parameters["steps"]
        assert isinstance(lr, float) and isinstance(steps, int)
        loss = 2.0 * math.exp(0.3 * (math.log2(lr) - math.log2(BEST)) ** 2)
        cost = Cost(steps=steps, tokens=64.0 * steps, flops=1e6 * steps, seconds=0.5)
        await finish(self.controller, lease, loss=loss, cost=cost)

    async def run_trials(self) -> int:
        """Run what is planned until nothing is left; return how many that were."""
        run = 0

        async def none_left() -> bool:
            nonlocal run
            leases = await claim(self.controller, most=4, project=self.project)
            for lease in leases:
                await self.finish(lease)
            run += len(leases)
            listed = await self.controller.experiments.page(self.project)
            return all(each.status != "running" for each in listed.items)

        await insist(none_left, 60.0)
        return run

    async def events(self, job: SimulatedJob, kind: str) -> list[EventView]:
        found = await self.controller.events(job.job, page_size=1000, types=(kind,))
        return list(found.items)

    async def told(self, job: SimulatedJob, trials: int, times: int = 1) -> EventView:
        """Return the event that tells a job of so many trials, once it was told of them so often."""
        found: list[EventView] = []

        async def is_told() -> bool:
            said = await self.events(job, "studied")
            found[:] = [one for one in said if one.body["trials"] == trials]
            return len(found) >= times

        await insist(is_told)
        return found[-1]

    async def told_all(self, job: SimulatedJob, trials: int) -> int:
        """Wait until a job was told of so many trials and that no more come; return how often it was told of them.

        Twice, unless the end came so soon that both were told at once.
        """

        async def is_told() -> bool:
            said = await self.events(job, "studied")
            return any(one.body["over"] and one.body["trials"] == trials for one in said)

        await insist(is_told)
        said = await self.events(job, "studied")
        return sum(one.body["trials"] == trials for one in said)

    async def decided(self, job: SimulatedJob) -> list[str]:
        """Return the codes of what was decided, once nothing waits for the strategy."""

        async def planned() -> bool:
            return not (await self.controller.get_job(job.job)).planning

        await insist(planned)
        return [str(one.body["code"]) for one in await self.events(job, "decision")]

    async def experiment(self, job: SimulatedJob) -> str:
        """Return the experiment that a job listens to."""
        found = (await self.controller.get_job(job.job)).experiment
        assert found is not None
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Controller]:
    """One controller for many tests: what plans takes seconds to start."""
    folder = tmp_path_factory.mktemp("beside")
    controller = await Controller.open(f"sqlite:///{folder / 'pacesetter.db'}", REAL)
    yield controller
    await controller.close()


@pytest.fixture
def team(shared: Controller) -> Team:
    return Team(shared)


async def test_a_job_is_moved_when_its_trials_have_ended(open_controller: Open) -> None:
    team = Team(await open_controller(REAL))
    job = await team.start(listening())
    assert max(job.rates.values()) * GIVEN > 3 * BEST
    run = await team.run_trials()
    assert run >= 10
    event = await team.told(job, run)
    assert (event.body["experiment"], event.body["problem"]) == (await team.experiment(job), "")
    assert event.body["log2_lr"] == pytest.approx(math.log2(BEST), abs=0.75)
    assert 0.05 < float(str(event.body["sd"])) < 1.0
    assert (event.body["bounded"], event.body["position"], event.position) == (True, 60, 60)
    assert event.body["share"] is not None
    assert "moves" in await team.decided(job)
    await job.run()
    assert job.position == STEPS
    later = max(rate for at, rate in job.rates.items() if at > 100) * GIVEN
    assert 0.4 * BEST < later < 1.6 * BEST
    assert await team.controller.tell_studies() == ()


async def test_a_controller_that_told_nobody_is_followed_by_one_that_does(
    open_controller: Open,
) -> None:
    team = Team(await open_controller(REAL))
    job = await team.start(listening())
    run = await team.run_trials()
    times = await team.told_all(job, run)
    # As if it had been killed before: nobody was told.
    await team.controller._store.write(
        lambda tx: tx.execute(update(JobRow).where(JobRow.id == job.job).values(told=0))
    )
    await team.controller.close()
    team.controller = await open_controller(REAL)
    event = await team.told(job, run, times=times + 1)
    assert event.body["problem"] == ""
    assert await team.controller.tell_studies() == ()


@ONE_LOOP
async def test_an_experiment_begins_with_a_job_that_names_a_proxy(team: Team) -> None:
    job = await team.start(listening(workload=Workload(family="lines"), regime="finetune"))
    assert (await team.controller.get_job(job.job)).strategy == "proxy"
    name = await team.experiment(job)
    experiment = await team.controller.experiments.get(name)
    assert (experiment.job, experiment.status, experiment.strategy) == (job.job, "running", "rungs")
    assert experiment.spec.space["steps"] == Choice(values=(STEPS // 16, STEPS // 8, STEPS // 4))
    lr = experiment.spec.space["lr"]
    assert isinstance(lr, Range)
    assert (lr.low, lr.high) == pytest.approx((GIVEN / 16, GIVEN * 16))
    assert (experiment.spec.regime, experiment.spec.workload.family) == ("finetune", "lines")
    (listens,) = await team.events(job, "listens")
    assert listens.body == {"experiment": name, "begun": True}


@ONE_LOOP
async def test_a_job_begins_at_what_an_experiment_said_before(team: Team) -> None:
    experiment = await team.controller.experiments.create(sweep(), team.project)
    assert await team.run_trials() == 9
    job = await team.start(listening(proxies=ProxySearch(experiment=experiment.id)), until=20)
    # Known so well, it is worth no look of its own.
    assert (await team.decided(job))[:3] == ["heard", "not_bought", "main"]
    assert 0.4 * BEST < max(job.rates.values()) * GIVEN < 1.6 * BEST
    assert await team.experiment(job) == experiment.id
    assert (await team.controller.experiments.get(experiment.id)).job is None


@ONE_LOOP
async def test_the_end_of_a_job_ends_the_experiment_that_began_with_it(team: Team) -> None:
    job = await team.start(listening())
    begun, experiments = await team.experiment(job), team.controller.experiments
    other = await team.start(listening(proxies=ProxySearch(experiment=begun)))
    await team.controller.transition(other.job, "cancel")
    await team.controller.tell_studies()
    assert (await experiments.get(begun)).status == "running"
    await team.controller.transition(job.job, "complete")
    await team.controller.tell_studies()
    over = await experiments.get(begun)
    assert (over.status, over.reason) == ("cancelled", "the end of its job cancelled it")


@ONE_LOOP
async def test_a_job_that_failed_may_be_started_again_and_still_has_its_proxies(team: Team) -> None:
    job = await team.start(listening())
    begun = await team.experiment(job)
    await job.send(Finished(number=job._next(), segment=1, position=60, completed=False))
    assert (await team.controller.get_job(job.job)).status == "failed"
    await team.controller.tell_studies()
    assert (await team.controller.experiments.get(begun)).status == "running"


@ONE_LOOP
async def test_a_job_is_told_that_its_experiment_is_over(team: Team) -> None:
    job = await team.start(listening())
    begun = await team.experiment(job)
    await team.told(job, await team.run_trials())

    async def over() -> bool:
        return any(one.body["over"] for one in await team.events(job, "studied"))

    await insist(over)
    assert (await team.controller.experiments.get(begun)).status == "completed"


@ONE_LOOP
async def test_a_session_that_resumes_before_it_was_told_is_told_again(team: Team) -> None:
    job = await team.start(listening())
    run = await team.run_trials()
    times = await team.told_all(job, run)
    moves = (await team.decided(job)).count("moves")
    assert moves >= 1
    await job.run(until=120)
    wish = job.spec.model_copy(update={"nonce": "second"})
    again = SimulatedJob(team.controller, wish, position=30, total=STEPS)
    await again.start(project=team.project)
    await team.told(job, run, times=times + 1)
    assert (await team.decided(job)).count("moves") > moves


@ONE_LOOP
async def test_an_experiment_that_the_project_does_not_have_is_refused(team: Team) -> None:
    foreign = await team.controller.experiments.create(search(), "another")
    for name in ("exp_none", foreign.id):
        wish = listening(proxies=ProxySearch(experiment=name))
        for only in (True, False):
            with pytest.raises(Refused) as refused:
                await team.controller.register(wish, project=team.project, validate_only=only)
            assert refused.value.code == "UNKNOWN_EXPERIMENT"
    assert not (await team.controller.list_jobs(team.project)).items


@ONE_LOOP
@pytest.mark.parametrize("strategy", ["fixed", "zero_tuning", "law"])
async def test_a_strategy_that_does_not_listen_is_refused(team: Team, strategy: str) -> None:
    with pytest.raises(StrategyRefused) as refused:
        await team.controller.register(listening(strategy), project=team.project)
    assert refused.value.code == "STRATEGY_CANNOT_STEER"
    assert "does not listen" in str(refused.value)
    assert refused.value.fitting == ("proxy",)
    assert not (await team.controller.experiments.page(team.project)).items


@ONE_LOOP
async def test_proxies_that_cannot_be_planned_are_refused_and_nothing_is_stored(
    team: Team,
) -> None:
    tokens = listening(budget=Budget(clock="tokens", total=10**6), base=Schedule(length=10**6))
    with pytest.raises(Refused) as refused:
        await team.controller.register(tokens, project=team.project)
    assert refused.value.code == "NO_PROXY_SEARCH"
    assert "does not say how many a step has" in str(refused.value)
    few = listening(proxies=ProxySearch(proxy="noop", max_trials=3))
    with pytest.raises(StrategyRefused) as cannot:
        await team.controller.register(few, project=team.project)
    assert cannot.value.code == "STRATEGY_CANNOT_PLAN"
    assert not (await team.controller.list_jobs(team.project)).items
    assert not (await team.controller.experiments.page(team.project)).items


@ONE_LOOP
async def test_trials_that_say_nothing_of_the_job_are_told_as_that(team: Team) -> None:
    experiment = await team.controller.experiments.create(sweep(), team.project)
    named = ProxySearch(experiment=experiment.id, target={"depth": 4})
    job = await team.start(listening(proxies=named))
    event = await team.told(job, await team.run_trials())
    assert event.body["log2_lr"] is None
    assert "the target says depth" in str(event.body["problem"])
    assert (await team.decided(job))[-1] == "no_study"
    await job.run()
    assert job.position == STEPS


@ONE_LOOP
async def test_a_job_that_has_ended_is_told_nothing(team: Team) -> None:
    job = await team.start(listening())
    leases: list[Lease] = []

    async def claimed() -> bool:
        leases.extend(await claim(team.controller, most=4, project=team.project))
        return bool(leases)

    await insist(claimed)
    await team.controller.transition(job.job, "complete")
    for lease in leases:
        await team.finish(lease)
    await team.controller.tell_studies()
    assert await team.events(job, "studied") == []


@ONE_LOOP
async def test_a_restart_keeps_the_experiment_of_the_first_start(team: Team) -> None:
    job = await team.start(listening())
    begun = await team.experiment(job)
    proxies = ProxySearch(proxy="noop", max_trials=12)
    wish = job.spec.model_copy(update={"nonce": "second", "proxies": proxies})
    await team.controller.register(wish, project=team.project)
    view = await team.controller.get_job(job.job)
    assert (view.experiment, view.spec.proxies) == (begun, job.spec.proxies)
    assert len((await team.controller.experiments.page(team.project)).items) == 1
