"""Proposals: approved, rejected, or passed by the job; the strategy hears of each."""

from typing import Any

import pytest
from pacesetter_service.controller import Controller
from pacesetter_service.errors import Conflict, NotFound, Refused
from pacesetter_service.overrides import (
    ApproveProposal,
    BackToStrategy,
    RejectProposal,
    SetMultiplier,
)

from tests.service.domain.simulated import SimulatedJob, spec


async def proposals(controller: Controller, job: str) -> list[Any]:
    events = (await controller.events(job, page_size=1000)).items
    return [event.body["segment"] for event in events if event.type == "proposal"]


async def told(controller: Controller, job: str) -> list[tuple[int, str, str]]:
    """Return what the strategy was told of proposals that came to nothing."""
    events = (await controller.events(job, page_size=1000)).items
    bodies = [dict(event.body) for event in events if event.type == "acknowledgement"]
    return [(b["segment"], b["status"], b["code"]) for b in bodies if b["code"]]  # type: ignore[misc]


@pytest.mark.parametrize("authority", ["approve", "advise"])
async def test_a_rejected_proposal_is_followed_by_the_next_at_once(
    controller: Controller, authority: str
) -> None:
    job = await SimulatedJob(controller, spec(strategy="halving", authority=authority)).start()
    await job.run(until=5)
    rejected = await controller.override(job.job, RejectProposal(seq=1, by="ada", reason="too low"))
    assert rejected.segments == ()
    first, second = await proposals(controller, job.job)
    assert (second["start"], second["policy"]["peak"]) == (5, 0.25)
    assert second["reason"]["text"] == "ada rejected it: too low"
    assert await told(controller, job.job) == [(1, "refused", "REJECTED")]
    events = (await controller.events(job.job, page_size=1000)).items
    (event,) = [each for each in events if each.type == "rejected"]
    assert event.body == {"seq": 1, "by": "ada", "reason": "too low"}
    for wish in (ApproveProposal(seq=1), RejectProposal(seq=1)):
        with pytest.raises(NotFound):
            await controller.override(job.job, wish)
    await controller.override(job.job, ApproveProposal(seq=2))
    await job.run(until=30)
    assert [job.rates[position] for position in (4, 5, 24)] == [1.0, 0.25, 0.25]
    assert first["seq"] == 1


async def test_a_proposal_that_the_job_has_passed_expires_and_the_next_is_planned(
    controller: Controller,
) -> None:
    job = await SimulatedJob(controller, spec(strategy="halving", authority="approve")).start()
    await job.run(until=19)
    assert len(await proposals(controller, job.job)) == 1
    await job.run(until=25)
    _, second = await proposals(controller, job.job)
    assert await told(controller, job.job) == [(1, "expired", "NOT_APPROVED")]
    assert (second["seq"], second["policy"]["peak"]) == (2, 0.25)
    with pytest.raises(Conflict) as error:
        await controller.override(job.job, ApproveProposal(seq=1))
    assert error.value.code == "PROPOSAL_EXPIRED"
    with pytest.raises(Conflict):
        await controller.override(job.job, RejectProposal(seq=1))
    await job.run()
    assert set(job.rates.values()) == {1.0}
    assert job.received == {}


async def test_what_continues_a_proposal_waits_for_it_and_goes_with_it(
    controller: Controller,
) -> None:
    told_spec = spec(authority="approve", parameters={"stage": 10})
    job = await SimulatedJob(controller, told_spec).start()
    with pytest.raises(Conflict) as error:
        await controller.override(job.job, ApproveProposal(seq=2))
    assert (error.value.code, error.value.hint) == ("PROPOSAL_WAITS", "approve 1 first")
    await controller.override(job.job, ApproveProposal(seq=1))
    await controller.override(job.job, ApproveProposal(seq=2))
    kinds = [segment.kind for segment in (await controller.segments_after(job.job)).segments]
    assert kinds == ["main", "probe"]
    other = spec(external_id="run-2", authority="approve", parameters={"stage": 10})
    second = await SimulatedJob(controller, other).start()
    await controller.override(second.job, RejectProposal(seq=1))
    assert await told(controller, second.job) == [
        (1, "refused", "REJECTED"),
        (2, "expired", "NOT_APPROVED"),
    ]


async def test_an_approval_is_held_against_the_limits_where_the_job_stands(
    controller: Controller,
) -> None:
    limits = {"max_change_per_step": 1.5}
    told_spec = spec(strategy="halving", authority="approve", limits=limits)
    job = await SimulatedJob(controller, told_spec).start()
    await job.run(until=5)
    with pytest.raises(Refused) as error:
        await controller.override(job.job, ApproveProposal(seq=1))
    assert error.value.code == "CHANGE_TOO_FAST"
    assert "max_change_per_step=1.5" in error.value.message


async def test_handed_back_without_the_authority_to_steer_the_base_schedule_is_a_proposal(
    controller: Controller,
) -> None:
    job = await SimulatedJob(controller, spec(strategy="manual", authority="approve")).start()
    assert await proposals(controller, job.job) == []
    await job.run(until=10)
    await controller.override(job.job, SetMultiplier(multiplier=0.25))
    await job.run(until=20)
    await controller.override(job.job, BackToStrategy())
    await job.run(until=30)
    (proposal,) = await proposals(controller, job.job)
    await controller.override(job.job, ApproveProposal(seq=proposal["seq"]))
    await job.run()
    expected = dict.fromkeys(range(10), 1.0) | dict.fromkeys(range(10, 30), 0.25)
    assert job.rates == expected | dict.fromkeys(range(30, 100), 1.0)


async def test_a_job_that_may_be_steered_has_nothing_to_approve(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(strategy="fixed")).start()
    await job.run(until=10)
    for wish in (ApproveProposal(seq=1), RejectProposal(seq=1)):
        with pytest.raises(NotFound) as error:
            await controller.override(job.job, wish)
        assert error.value.code == "PROPOSAL_NOT_FOUND"
