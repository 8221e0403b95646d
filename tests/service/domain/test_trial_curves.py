"""What a trial measured becomes a stored curve, which is evidence as that of a job is."""

import math
from dataclasses import replace
from typing import Any

import pytest
from pacesetter.curves import Points
from pacesetter.protocol import (
    Cost,
    Heartbeat,
    Range,
    Recommendation,
    StrategyChoice,
    TrialPoint,
    Workload,
    coordinates,
)
from pacesetter_search.recommendation import Target
from pacesetter_service.controller import Controller
from pacesetter_service.curves.repository import CurveFilter
from pacesetter_service.errors import Refused
from pacesetter_service.experiments.curves import curves_of
from pacesetter_service.views import StoredCurve

from tests.service.domain.conftest import OPTIONS, Open
from tests.service.domain.experimenting import claim, finish, insist, run_out, search
from tests.service.domain.simulated import SimulatedJob
from tests.service.domain.simulated import spec as job_spec

QUIET = replace(OPTIONS, planning=False)
STEPS = 40


@pytest.fixture
async def controller(open_controller: Open) -> Controller:
    return await open_controller(QUIET)


def point(step: int, **changes: Any) -> TrialPoint:
    """Return a point of a linear decay from 0.01."""
    fields = {"step": step, "lr": 0.01 * (1 - (step - 1) / STEPS), "loss": 3.0 - 0.01 * step}
    return TrialPoint(**{**fields, **changes})


async def run(
    controller: Controller, points: tuple[TrialPoint, ...], spec: Any = None, **result: Any
) -> str:
    """Run a trial that measures points; return its id."""
    await controller.experiments.create(spec or search(1), "default")
    (lease,) = await claim(controller)
    beat = Heartbeat(token=lease.token, step=STEPS, points=points)
    await controller.experiments.heartbeat(lease.trial.id, beat)
    cost = Cost(steps=STEPS, tokens=64.0 * STEPS)
    await finish(controller, lease, cost=cost, **result)
    return lease.trial.id


async def curve_of(controller: Controller, trial: str) -> tuple[StoredCurve, Points]:
    view = (await controller.experiments.trial(trial)).trial
    assert view.curve is not None
    return (await controller.curves.points([view.curve]))[0]


WHOLE = tuple(point(step) for step in range(1, STEPS + 1))


async def test_a_trial_that_is_done_leaves_its_curve(controller: Controller) -> None:
    spec = search(
        1,
        fixed={"width": 32, "optimizer": "SGD", "momentum": 0.9, "weight_decay": 0.1},
        regime="pretrain",
        workload=Workload(family="bytes", parameters=50_000.0),
    )
    trial = await run(controller, WHOLE, spec, loss=2.5)
    assert await controller.record_trial_curves() == (trial,)
    assert await controller.record_trial_curves() == ()
    curve, points = await curve_of(controller, trial)
    assert points.steps.tolist() == list(range(1, STEPS + 1))
    assert points.losses.tolist() == [one.loss for one in WHOLE]
    assert points.lrs.tolist() == [one.lr for one in WHOLE]
    record = curve.record
    assert (record.source, record.job, record.name) == ("trial", None, "rates 1")
    assert (record.regime, record.optimizer) == ("pretrain", "sgd")
    assert (record.momentum, record.weight_decay) == (0.9, 0.1)
    assert (record.steps, record.tokens, record.peak_lr) == (STEPS, 2560.0, 0.01)
    assert (record.final_loss, record.validated, record.completed) == (2.5, True, True)
    assert record.workload == Workload(family="bytes", parameters=50_000.0, batch_tokens=64.0)
    listed = await controller.curves.page(CurveFilter(source="trial"))
    assert [one.id for one in listed.items] == [curve.id]


async def test_a_trial_says_of_itself_what_differs_from_trial_to_trial(
    controller: Controller,
) -> None:
    spec = search(
        1,
        fixed={
            "parametrization": "mup",
            "width": 64,
            "base_width": 32,
            "depth": 2,
            "base_depth": 4,
        },
        workload=Workload(family="bytes", parameters=1e6, batch_tokens=32.0),
    )
    metrics = {"parameters": 5e4, "width_ratio": 0.25, "depth_ratio": math.nan, "top": 0.5}
    trial = await run(controller, WHOLE, spec, metrics=metrics)
    await controller.record_trial_curves()
    (curve, _) = await curve_of(controller, trial)
    assert curve.record.workload == Workload(
        family="bytes",
        parameters=5e4,
        width_ratio=0.25,
        depth_ratio=0.5,
        parametrization="mup",
        batch_tokens=32.0,
    )


async def test_what_cannot_be_of_a_workload_is_left_as_declared(controller: Controller) -> None:
    declared = Workload(family="bytes", parameters=1e6)
    spec = search(1, workload=declared)
    trial = await run(controller, WHOLE, spec, metrics={"parameters": -1.0})
    await controller.record_trial_curves()
    (curve, _) = await curve_of(controller, trial)
    assert curve.record.workload.parameters == 1e6


@pytest.mark.parametrize("last", [math.nan, 40.0])
async def test_a_diverged_trial_s_curve_has_no_final_loss(
    controller: Controller, last: float
) -> None:
    points = (*WHOLE[:10], point(11, loss=last))  # its proxy may give up before there is a NaN
    trial = await run(controller, points, loss=None)
    assert await controller.record_trial_curves() == (trial,)
    curve, found = await curve_of(controller, trial)
    assert curve.record.final_loss is None
    assert found.diverged == math.isnan(last)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param((), id="nothing was measured"),
        pytest.param(tuple(point(step, lr=None) for step in range(1, 9)), id="no learning rates"),
        pytest.param((point(1, lr=-1.0), point(2)), id="a rate below zero"),
    ],
)
async def test_a_trial_without_a_curve_is_looked_at_once(
    controller: Controller, points: tuple[TrialPoint, ...]
) -> None:
    trial = await run(controller, points)
    assert await controller.record_trial_curves() == ()
    view = (await controller.experiments.trial(trial)).trial
    assert (view.status, view.curve) == ("done", None)
    assert (await controller.curves.page(CurveFilter())).items == ()


async def test_a_check_of_coordinates_leaves_no_curve(controller: Controller) -> None:
    found = coordinates.to_metrics(True, {"blocks.0": 0.05})
    trial = await run(controller, tuple(point(step) for step in range(1, 9)), metrics=found)
    assert await controller.record_trial_curves() == ()
    view = (await controller.experiments.trial(trial)).trial
    assert (view.status, view.curve, view.metrics) == ("done", None, found)


async def test_a_trial_that_ran_as_a_job_leaves_the_curve_to_it(controller: Controller) -> None:
    job = await SimulatedJob(controller, job_spec(strategy="fixed")).start()
    trial = await run(controller, WHOLE, job=job.job)
    assert await controller.record_trial_curves() == ()
    assert (await controller.experiments.trial(trial)).trial.curve is None


async def test_of_a_trial_and_the_job_under_its_name_the_trial_leaves_the_curve(
    controller: Controller,
) -> None:
    await controller.experiments.create(search(1, regime="pretrain"), "default")
    (lease,) = await claim(controller)
    beat = Heartbeat(token=lease.token, step=STEPS, points=WHOLE)
    await controller.experiments.heartbeat(lease.trial.id, beat)
    job = SimulatedJob(controller, job_spec(strategy="fixed", external_id=lease.trial.id))
    await job.start()
    await job.run()
    await finish(controller, lease, job=job.job)
    assert await controller.record_curves() == ()
    assert await controller.record_trial_curves() == (lease.trial.id,)
    (curve,) = (await controller.curves.page(CurveFilter())).items
    assert (curve.record.source, curve.record.regime) == ("trial", "pretrain")


@pytest.mark.parametrize("project", [None, "theirs"])
async def test_points_are_kept_where_the_job_that_a_trial_names_is_none_of_the_project(
    controller: Controller, project: str | None
) -> None:
    named = "job_unknown"
    if project is not None:
        job = SimulatedJob(controller, job_spec(strategy="fixed"))
        named = (await job.start(project=project)).job
    trial = await run(controller, WHOLE, job=named)
    assert await controller.record_trial_curves() == (trial,)
    curve, points = await curve_of(controller, trial)
    assert (curve.record.source, curve.record.job) == ("trial", None)
    assert points.losses.tolist() == [one.loss for one in WHOLE]


async def test_a_resumed_trial_leaves_one_curve_of_both_its_parts(controller: Controller) -> None:
    await controller.experiments.create(search(1), "default")
    (lease,) = await claim(controller)
    beat = Heartbeat(token=lease.token, step=25, points=WHOLE[:25])
    await controller.experiments.heartbeat(lease.trial.id, beat)
    await run_out(controller, lease.trial.id)
    (lease,) = await claim(controller)
    beat = Heartbeat(token=lease.token, step=STEPS, points=WHOLE[20:])
    await controller.experiments.heartbeat(lease.trial.id, beat)
    await finish(controller, lease)
    await controller.record_trial_curves()
    _, points = await curve_of(controller, lease.trial.id)
    assert points.steps.tolist() == list(range(1, STEPS + 1))
    assert points.losses.tolist() == [one.loss for one in WHOLE]


async def test_curves_come_by_themselves_and_are_evidence(open_controller: Open) -> None:
    controller = await open_controller()
    spec = search(1, regime="pretrain", workload=Workload(family="bytes"))
    trial = await run(controller, WHOLE, spec)

    async def is_kept() -> bool:
        return (await controller.experiments.trial(trial)).trial.curve is not None

    await insist(is_kept)
    (record,) = await controller.curves.records("default")
    assert (record.source, record.workload.family) == ("trial", "bytes")


async def swept(controller: Controller, project: str = "default") -> str:
    """Run a grid of rates whose best one is 2^-6, let its curves be recorded, and return the experiment."""
    spec = search(
        3,
        space={"lr": Range(low=2.0**-7, high=2.0**-5)},
        regime="pretrain",
        workload=Workload(family="bytes", parameters=50_000.0, batch_tokens=64.0),
    )
    grid = StrategyChoice(name="grid", parameters={"points": 3})
    view = await controller.experiments.create(spec.model_copy(update={"strategy": grid}), project)
    for lease in await claim(controller, most=3, project=project):
        peak = lease.trial.parameters["lr"]
        assert isinstance(peak, float)
        points = tuple(
            point(step, lr=peak * (1 - (step - 1) / STEPS)) for step in range(1, STEPS + 1)
        )
        beat = Heartbeat(token=lease.token, step=STEPS, points=points)
        await controller.experiments.heartbeat(lease.trial.id, beat)
        loss, cost = (
            2.0 + 0.02 * math.log2(peak / 2.0**-6) ** 2,
            Cost(steps=STEPS, tokens=64.0 * STEPS),
        )
        await finish(controller, lease, loss=loss, cost=cost)
    assert len(await controller.record_trial_curves()) == 3
    return view.id


def asked(experiment: str | None, *, as_sweep: bool = False) -> Target:
    """Return a question with what the trials of :func:`swept` told, by hand."""
    place: dict[str, Any] = {"parameters": 50_000.0, "tokens": 64.0 * STEPS, "batch_tokens": 64.0}
    own = {**place, "experiment": experiment}
    if as_sweep:
        runs = [{"lr": 2.0**-6 * 2.0**away, "loss": 2.0 + 0.02 * away**2} for away in (-1, 0, 1)]
        return Target(**place, family="bytes", sweeps=[{**own, "runs": runs}])
    return Target(**place, family="bytes", evidence=[{**own, "lr": 2.0**-6, "sd_octaves": 0.4}])


def peaks_of(found: Recommendation) -> int:
    """Return how many runs on record weigh on the peak."""
    return sum(one.kind == "run" and one.weight > 0.0 for one in found.evidence)


@pytest.mark.parametrize("as_sweep", [False, True])
async def test_trials_that_the_evidence_tells_of_are_not_heard_twice(
    controller: Controller, as_sweep: bool
) -> None:
    experiment = await swept(controller)
    ask = controller.recommendations.ask
    twice = await ask(asked(None, as_sweep=as_sweep), "default")
    once = await ask(asked(experiment, as_sweep=as_sweep), "default")
    alone = await ask(asked(None, as_sweep=as_sweep), "another")
    assert (peaks_of(twice), peaks_of(once)) == (3, 0)
    assert once.sd_octaves == alone.sd_octaves
    assert once.sd_octaves is not None
    assert twice.sd_octaves is not None
    assert twice.sd_octaves < once.sd_octaves


async def test_a_trial_that_ran_as_a_job_is_not_heard_beside_the_evidence(
    controller: Controller,
) -> None:
    job = await SimulatedJob(controller, job_spec(strategy="fixed")).start()
    experiment = (await controller.experiments.create(search(1), "default")).id
    (lease,) = await claim(controller)
    await finish(controller, lease, job=job.job)

    async def left() -> frozenset[str]:
        return await controller._store.read(lambda tx: curves_of(tx, [experiment], "default"))

    assert await left() == frozenset()
    await job.run()
    await controller.record_curves()
    (curve,) = (await controller.curves.page(CurveFilter(source="job"))).items
    assert await left() == {curve.id}


async def test_evidence_of_an_experiment_that_the_project_does_not_have_is_refused(
    controller: Controller,
) -> None:
    theirs = await swept(controller, "theirs")
    for unknown in ("exp_0", theirs):
        with pytest.raises(Refused, match=unknown) as caught:
            await controller.recommendations.ask(asked(unknown), "default")
        assert caught.value.code == "UNKNOWN_EXPERIMENT"
