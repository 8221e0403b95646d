"""Who decides: proposals, a person's overrides, and the lifecycle."""

from datetime import timedelta

import pytest
from pacesetter.protocol import Acknowledgement
from pacesetter_service.controller import Controller
from pacesetter_service.errors import Conflict, NotFound
from pacesetter_service.overrides import (
    ApproveProposal,
    BackToStrategy,
    DecayNow,
    SetMultiplier,
)

from tests.service.domain.simulated import STEERABLE, SimulatedJob, spec


async def kinds(controller: Controller, job: str) -> list[str]:
    page = await controller.events(job, page_size=1000)
    return [event.type for event in page.items]


@pytest.mark.parametrize("authority", ["observe", "advise", "approve"])
async def test_without_the_authority_to_steer_nothing_is_sent(
    controller: Controller, authority: str
) -> None:
    job = await SimulatedJob(controller, spec(strategy="fixed", authority=authority)).start()
    assert job.received == {}
    assert "proposal" in await kinds(controller, job.job)
    await job.run()
    assert job.rates == dict.fromkeys(range(100), 1.0)


async def test_authority_follows_the_number_of_ranks(controller: Controller) -> None:
    for ranks, expected in ((8, "steer"), (9, "advise")):
        capabilities = STEERABLE.model_copy(update={"world_size": ranks})
        registered = await controller.register(
            spec(external_id=f"ranks-{ranks}", strategy="fixed", capabilities=capabilities)
        )
        assert registered.registration.authority == expected


async def test_an_approved_proposal_is_sent(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(strategy="fixed", authority="approve")).start()
    result = await controller.override(job.job, ApproveProposal(seq=1, by="ada"))
    assert result.segments == (1,)
    assert [s.seq for s in (await controller.segments_after(job.job)).segments] == [1]
    with pytest.raises(NotFound):
        await controller.override(job.job, ApproveProposal(seq=1))


async def test_a_proposal_expires_at_its_position(controller: Controller) -> None:
    parameters = {"stage": 10}
    job = await SimulatedJob(controller, spec(authority="approve", parameters=parameters)).start()
    await job.run(until=10)
    with pytest.raises(Conflict) as error:
        await controller.override(job.job, ApproveProposal(seq=1))
    assert error.value.code == "PROPOSAL_EXPIRED"


async def test_a_person_sets_the_multiplier_and_hands_back(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(strategy="fixed")).start()
    await job.run(until=30)
    taken = await controller.override(job.job, SetMultiplier(multiplier=0.25, by="ada"))
    assert (await controller.get_job(job.job)).overridden
    await job.run(until=60)
    await controller.override(job.job, BackToStrategy(by="ada"))
    await job.run()
    assert taken.segments == (2,)
    expected = dict.fromkeys(range(30), 1.0) | dict.fromkeys(range(30, 60), 0.25)
    assert job.rates == expected | dict.fromkeys(range(60, 100), 1.0)
    assert not (await controller.get_job(job.job)).overridden


async def test_while_a_person_decides_the_strategy_only_proposes(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(strategy="fixed")).start()
    await controller.override(job.job, SetMultiplier(multiplier=0.25))
    await job.run()
    assert set(job.rates.values()) == {0.25}


async def test_an_override_survives_a_restart_behind_it_and_not_one_before(
    controller: Controller,
) -> None:
    job = await SimulatedJob(controller, spec(strategy="fixed")).start()
    await job.run(until=30)
    await controller.override(job.job, SetMultiplier(multiplier=0.25))
    await job.run(until=60)
    behind = SimulatedJob(controller, job.spec.model_copy(update={"nonce": "2"}), position=50)
    await behind.start()
    assert behind.rate(50) == 0.25
    assert (await controller.get_job(job.job)).overridden
    before = SimulatedJob(controller, job.spec.model_copy(update={"nonce": "3"}), position=20)
    await before.start()
    assert before.rate(20) == 1.0
    assert not (await controller.get_job(job.job)).overridden


async def test_decay_now_falls_linearly_and_stays(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(strategy="fixed")).start()
    await job.run(until=50)
    await controller.override(job.job, DecayNow(over=20, floor=0.1))
    await job.run()
    assert job.rates[50] == pytest.approx(1.0)
    assert job.rates[60] == pytest.approx(0.55)
    assert [job.rates[p] for p in range(70, 100)] == pytest.approx([0.1] * 30)


async def test_decay_now_stops_the_job_where_that_is_allowed(controller: Controller) -> None:
    limits = {"allow_shorter_main": True}
    job = await SimulatedJob(controller, spec(strategy="fixed", limits=limits)).start()
    await job.run(until=50)
    await controller.override(job.job, DecayNow(over=20))
    page = await controller.segments_after(job.job, after=1)
    assert [(s.kind, s.start, s.length) for s in page.segments] == [
        ("main", 50, 20),
        ("stop", 70, 0),
    ]


async def test_nothing_is_decided_while_paused_and_all_of_it_afterwards(
    controller: Controller,
) -> None:
    job = await SimulatedJob(controller, spec(100, "ladder")).start()
    await job.run(until=15)
    await controller.transition(job.job, "pause")
    probe = job.received[2]
    reply = await job.send(
        Acknowledgement(
            number=job._next(), segment=2, position=20, status="refused", code="ABOVE_LIMIT"
        )
    )
    assert reply.status == "paused"
    assert (await controller.get_job(job.job)).planning is True
    assert probe.kind == "probe"
    view = await controller.transition(job.job, "resume")
    assert (view.status, view.planning) == ("running", False)
    assert "decision" in await kinds(controller, job.job)


@pytest.mark.parametrize(("verb", "status"), [("cancel", "cancelled"), ("complete", "completed")])
async def test_an_ended_job_is_not_steered_and_keeps_its_records(
    controller: Controller, verb: str, status: str
) -> None:
    job = await SimulatedJob(controller, spec(100, "ladder")).start()
    assert (await controller.transition(job.job, verb)).status == status  # type: ignore[arg-type]
    assert (await controller.transition(job.job, verb)).status == status  # type: ignore[arg-type]
    reply = await job.send(job.rows(range(3), [0.5] * 3))
    assert (reply.status, reply.last_record) == (status, 2)
    with pytest.raises(Conflict) as error:
        await controller.transition(job.job, "pause")
    assert error.value.code == "WRONG_STATUS"
    with pytest.raises(Conflict):
        await controller.override(job.job, SetMultiplier(multiplier=0.5))


async def test_a_silent_job_is_lost_and_a_late_report_revives_it(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(strategy="fixed")).start()
    seen = (await controller.get_job(job.job)).last_seen_at
    assert await controller.reap(seen + timedelta(seconds=299)) == ()
    assert await controller.reap(seen + timedelta(seconds=301)) == (job.job,)
    assert (await controller.get_job(job.job)).status == "lost"
    reply = await job.send(job.rows(range(3), [1.0] * 3))
    assert reply.status == "running"
    assert [k for k in await kinds(controller, job.job) if k in ("lost", "revived")] == [
        "lost",
        "revived",
    ]


async def test_names_and_tags_may_change(controller: Controller) -> None:
    job = (await controller.register(spec(tags={"a": 1}))).registration.job
    view = await controller.update_job(job, name="another", tags={"b": [1.5, None]})
    assert (view.name, view.tags) == ("another", {"b": [1.5, None]})
    assert (await controller.update_job(job)).name == "another"
