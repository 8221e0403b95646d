"""A recommendation applied to a running job: its schedule from where the job stands, its peak for the first group."""

import math
from typing import Any

import pytest
from pacesetter.protocol import Budget, ParameterGroup, Recommendation
from pacesetter.schedules import Cosine, Schedule
from pacesetter_search.recommendation import Target
from pacesetter_service.controller import Controller
from pacesetter_service.errors import ControllerError, NotFound, Refused
from pacesetter_service.overrides import BackToStrategy
from pacesetter_service.recommendations.applying import Application

from tests.service.domain.simulated import SimulatedJob, spec

STEPS, BATCH, LR = 100, 64.0, 0.05
GROUP = ParameterGroup(name="all", base_lr=0.1, optimizer="AdamW")
PLACE = {"parameters": 1e4, "tokens": STEPS * BATCH, "batch_tokens": BATCH}


async def recommended(
    controller: Controller, project: str = "default", **changes: Any
) -> Recommendation:
    """Return a kept answer of a hundred steps, of a family whose best peak was measured."""
    asked = {**PLACE, "family": "tiny", "regime": "finetune", **changes}
    evidence = [{**PLACE, "lr": LR, "sd_octaves": 0.0}]
    target = Target.model_validate({**asked, "evidence": evidence})
    return await controller.recommendations.ask(target, project, keep=True)


async def running(controller: Controller, until: int = 30, **fields: Any) -> SimulatedJob:
    """Return a job that stands at ``until`` of a hundred steps."""
    values = {"groups": (GROUP,), "strategy": "fixed", **fields}
    job = await SimulatedJob(controller, spec(STEPS, **values)).start()
    await job.run(until=until)
    return job


async def apply(controller: Controller, found: Recommendation, job: SimulatedJob, **by: Any) -> int:
    assert found.id is not None
    wish = Application(job=job.job, **by)
    (seq,) = (await controller.recommendations.apply(found.id, wish, "default")).segments
    return seq


async def refusal(
    controller: Controller, found: Recommendation, job: SimulatedJob
) -> ControllerError:
    before = (await controller.segments_after(job.job)).segments
    with pytest.raises(ControllerError) as refused:
        await apply(controller, found, job)
    assert (await controller.segments_after(job.job)).segments == before
    assert found.id is not None
    assert not (await controller.recommendations.get(found.id)).applied
    return refused.value


@pytest.mark.parametrize("strategy", ["fixed", "manual"])
async def test_a_job_in_its_middle_follows_the_recommended_schedule_from_there_on(
    controller: Controller, strategy: str
) -> None:
    found = await recommended(controller, warmup_steps=10)
    assert found.lr is not None
    assert found.schedule is not None
    job = await running(controller, strategy=strategy)
    await apply(controller, found, job)
    await job.run()
    expected = {p: found.lr * found.schedule.at(p) / 0.1 for p in range(30, 100)}
    assert {p: job.rates[p] for p in range(30, 100)} == pytest.approx(expected)
    assert job.rates[30] > 10 * job.rates[97] > 0.0


async def test_the_first_group_runs_at_the_peak_and_the_ratios_between_groups_stay(
    controller: Controller,
) -> None:
    groups = (
        ParameterGroup(name="body", base_lr=0.02, optimizer="AdamW"),
        ParameterGroup(name="head", base_lr=0.2, optimizer="AdamW", control="head"),
    )
    found = await recommended(controller, warmup_steps=0)
    job = await running(controller, until=10, groups=groups)
    seq = await apply(controller, found, job)
    await job.poll()
    policy = job.received[seq].policy
    assert isinstance(policy, Schedule)
    assert (policy.unit, job.received[seq].controls) == ("relative", "all")
    assert found.lr is not None
    assert policy.peak * 0.02 == pytest.approx(found.lr)


async def test_who_asked_and_for_what_is_in_the_audit_trail(controller: Controller) -> None:
    found = await recommended(controller)
    job = await running(controller)
    seq = await apply(controller, found, job, by="ada", reason="the sweep says so")
    await job.run(until=60)
    events = (await controller.events(job.job, page_size=1000)).items
    (override,) = [one for one in events if one.type == "override"]
    assert override.body["by"] == "ada"
    (event,) = [one for one in events if one.type == "recommendation_applied"]
    assert event.body == {
        "recommendation": found.id,
        "by": "ada",
        "reason": "the sweep says so",
        "segments": [seq],
    }
    assert event.position == 30
    text = job.received[seq].reason.text
    assert text.startswith("ada gave a schedule: ")
    assert text.endswith(f"recommendation {found.id}, the sweep says so")
    assert found.id is not None
    assert (await controller.recommendations.get(found.id)).applied


async def test_the_job_counts_as_overridden_until_it_is_handed_back(controller: Controller) -> None:
    found = await recommended(controller)
    job = await running(controller, strategy="manual")
    await apply(controller, found, job)
    assert (await controller.get_job(job.job)).overridden
    await job.run(until=60)
    await controller.override(job.job, BackToStrategy())
    assert not (await controller.get_job(job.job)).overridden
    await job.run()
    assert job.rates[99] == 1.0


async def test_in_a_budget_of_tokens_the_schedule_is_laid_over_tokens(
    controller: Controller,
) -> None:
    total = int(STEPS * BATCH)
    found = await recommended(controller, warmup_steps=10)
    budget = {"budget": Budget(clock="tokens", total=total), "base": Schedule(length=total)}
    registered = await controller.register(
        spec(STEPS, strategy="fixed", groups=(GROUP,), workload={"batch_tokens": BATCH}, **budget)
    )
    assert found.id is not None
    wish = Application(job=registered.registration.job)
    await controller.recommendations.apply(found.id, wish)
    (segment,) = (await controller.segments_after(registered.registration.job)).segments[-1:]
    assert isinstance(segment.policy, Schedule)
    assert (segment.policy.length, segment.policy.extent.warmup) == (total, 640)
    assert found.lr is not None
    assert segment.policy.at(640) == pytest.approx(found.lr / 0.1)


@pytest.mark.parametrize(
    ("asked", "fields", "code", "words"),
    [
        (
            {"tokens": 200 * BATCH},
            {},
            "OTHER_BUDGET",
            "the budget is 100 steps and the recommendation is for 200 of 64 tokens",
        ),
        (
            {},
            {"workload": {"batch_tokens": 128}},
            "OTHER_BATCH",
            "a step has 128 tokens and the recommendation is for 64",
        ),
        (
            {"optimizer": "sgd"},
            {},
            "OTHER_OPTIMIZER",
            "the recommendation is for sgd and the first optimizer is AdamW",
        ),
        ({"momentum": 0.9}, {}, "OTHER_OPTIMIZER", "a momentum of 0.9"),
        (
            {},
            {"limits": {"max_multiplier": 0.2}},
            "ABOVE_LIMIT",
            "max_multiplier=0.2",
        ),
        (
            {"floor": 0.0, "warmup_steps": 0},
            {"limits": {"max_change_per_step": 1.1}},
            "CHANGE_TOO_FAST",
            "max_change_per_step=1.1",
        ),
        (
            {"regime": "rl"},
            {},
            "NOTHING_RECOMMENDED",
            "nothing was recommended, so there is nothing to run",
        ),
    ],
    ids=["budget", "batch", "optimizer", "momentum", "limit", "change", "nothing"],
)
async def test_what_does_not_fit_is_refused_in_the_client_s_words_and_nothing_sent(
    controller: Controller,
    asked: dict[str, Any],
    fields: dict[str, Any],
    code: str,
    words: str,
) -> None:
    if asked.get("regime") == "rl":
        target = Target.model_validate({**PLACE, **asked})
        found = await controller.recommendations.ask(target, "default", keep=True)
    else:
        found = await recommended(controller, **asked)
    job = await running(controller, **fields)
    error = await refusal(controller, found, job)
    assert (error.code, error.status) == (code, 422)
    assert words in error.message
    assert error.hint


async def test_a_batch_that_was_counted_counts_as_one_that_was_declared(
    controller: Controller,
) -> None:
    found = await recommended(controller)
    job = await running(controller)
    job.ledger |= {"main_tokens": 30 * 512}
    await job.run(until=32)
    error = await refusal(controller, found, job)
    assert error.code == "OTHER_BATCH"
    assert "a step has 480 tokens" in error.message
    job.ledger |= {"main_tokens": 34 * 64}
    await job.run(until=34)
    await apply(controller, found, job)


async def test_a_job_that_has_ended_or_used_its_budget_is_refused(controller: Controller) -> None:
    found = await recommended(controller)
    job = await running(controller, until=STEPS)
    assert (await refusal(controller, found, job)).code == "BUDGET_USED"
    await job.run()
    assert (await refusal(controller, found, job)).code == "JOB_ENDED"


async def test_jobs_and_recommendations_of_different_projects_do_not_meet(
    controller: Controller,
) -> None:
    ours, theirs = await recommended(controller), await recommended(controller, "theirs")
    job = await running(controller)
    assert theirs.id is not None
    wish = Application(job=job.job)
    for project in (None, "theirs"):
        with pytest.raises(NotFound) as refused:
            await controller.recommendations.apply(theirs.id, wish, project)
        assert refused.value.code == "JOB_NOT_FOUND"
    with pytest.raises(NotFound) as refused:
        await controller.recommendations.apply(theirs.id, wish, "default")
    assert refused.value.code == "RECOMMENDATION_NOT_FOUND"
    with pytest.raises(NotFound) as refused:
        assert ours.id is not None
        await controller.recommendations.apply(ours.id, Application(job="job_x"), "default")
    assert refused.value.code == "JOB_NOT_FOUND"


TWO = (
    ParameterGroup(name="body", base_lr=0.02, optimizer="AdamW"),
    ParameterGroup(name="head", base_lr=0.2, optimizer="AdamW"),
)


async def test_a_law_in_learning_rates_is_given_to_groups_of_one_rate_alone(
    controller: Controller,
) -> None:
    found = await recommended(controller, schedule_family="power", warmup_steps=5)
    error = await refusal(controller, found, await running(controller, groups=TWO))
    assert error.code == "RATIOS_LOST"
    job = await running(controller, external_id="run-2")
    seq = await apply(controller, found, job)
    await job.poll()
    policy = job.received[seq].policy
    assert isinstance(policy, Schedule)
    assert policy.unit == "absolute"
    assert found.lr is not None
    highest = max(policy.at(position) for position in range(100))
    assert math.isclose(highest, found.lr, rel_tol=0.02)


async def test_under_mup_groups_have_scales_that_the_service_does_not_know(
    controller: Controller,
) -> None:
    found = await recommended(controller, parametrization="mup", width_ratio=4.0)
    error = await refusal(controller, found, await running(controller, groups=TWO))
    assert isinstance(error, Refused)
    assert error.code == "SCALES_NOT_KNOWN"
    assert "attach(recommendation=...)" in error.hint
    await apply(controller, found, await running(controller, external_id="run-2"))


async def test_what_drives_the_job_meanwhile_is_no_obstacle(controller: Controller) -> None:
    """A second recommendation replaces the first, wherever the job stands."""
    first, second = await recommended(controller), await recommended(controller, floor=0.5)
    base = Schedule(length=STEPS, body=Cosine())
    job = await running(controller, base=base)
    await apply(controller, first, job)
    await job.run(until=50)
    await apply(controller, second, job)
    await job.run()
    assert second.lr is not None
    assert second.schedule is not None
    assert job.rates[99] == pytest.approx(second.lr * second.schedule.at(99) / 0.1)
