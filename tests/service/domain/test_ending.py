"""Cancelled and completed from outside: the job is told to stop, and stays what it was made."""

from typing import Any, Literal

import pytest
from pacesetter.protocol import Acknowledgement, Finished, SegmentEnded
from pacesetter_service.controller import Controller
from pacesetter_service.views import EventView

from tests.service.domain.simulated import SimulatedJob, spec
from tests.service.domain.test_sessions import restarted


async def events(controller: Controller, job: str, type_: str) -> list[EventView]:
    return list((await controller.events(job, types=(type_,))).items)


async def end_at_the_stop(job: SimulatedJob, seq: int) -> None:
    """Do what a client does with a stop: acknowledge it and finish."""
    place: dict[str, Any] = {"segment": seq, "position": job.position}
    await job.send(Acknowledgement(number=job._next(), status="applied", **place))
    await job.send(Finished(number=job._next(), completed=False, **place))


@pytest.mark.parametrize(("verb", "status"), [("cancel", "cancelled"), ("complete", "completed")])
async def test_ending_a_job_sends_a_stop_that_whatever_runs_continues_into(
    controller: Controller, verb: Literal["cancel", "complete"], status: str
) -> None:
    job = await SimulatedJob(controller, spec(100)).start()
    await job.run(until=50)
    before = job.seen
    view = await controller.transition(job.job, verb, by="ann")
    assert view.status == status
    page = await controller.segments_after(job.job, job.session, before)
    (stop,) = [segment for segment in page.segments if segment.kind == "stop"]
    assert (stop.when, stop.source, stop.after, stop.origin) == ("now", "current", 0, "person")
    assert stop.start == 50
    assert stop.reason.text == f"ann {status} the job"
    (changed,) = await events(controller, job.job, "status")
    assert changed.body == {"from": "running", "to": status, "by": "ann", "stop": stop.seq}
    await end_at_the_stop(job, stop.seq)
    assert (await controller.get_job(job.job)).status == status
    assert (await controller.transition(job.job, verb)).last_seq == stop.seq


async def test_a_stop_comes_with_the_reply_to_a_report_in_a_probe(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(100)).start()
    await job.run(until=20)  # the first probe is over, the second one pending
    await controller.transition(job.job, "cancel")
    ended = SegmentEnded(
        number=job._next(),
        segment=job.running_seq,
        position=job.position,
        kind="probe",
        outcome="interrupted",
        steps=1,
        main_position=20,
    )
    reply = await job.send(ended)
    assert reply.status == "cancelled"
    assert [s.kind for s in reply.segments][-1] == "stop"
    # Nothing is planned for a job that is over.
    assert (await controller.get_job(job.job)).last_seq == reply.segments[-1].seq


async def test_a_paused_or_merely_advised_job_is_stopped_too(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(100, "fixed", authority="observe")).start()
    await controller.transition(job.job, "pause")
    await controller.transition(job.job, "cancel")
    page = await controller.segments_after(job.job, job.session)
    assert [segment.kind for segment in page.segments] == ["stop"]


async def test_a_cancelled_job_that_is_started_again_is_stopped_again(
    controller: Controller,
) -> None:
    first = await SimulatedJob(controller, spec(100)).start()
    await first.run(until=50)
    await controller.transition(first.job, "cancel")
    second = await restarted(controller, first, 30)
    assert (await controller.get_job(first.job)).status == "cancelled"
    reply_to_began = [s for s in second.received.values() if s.seq > (second.kept_through or 0)]
    assert [segment.kind for segment in reply_to_began] == ["stop"]
    assert reply_to_began[0].start == 30


async def test_a_completed_job_that_is_started_again_goes_on(controller: Controller) -> None:
    first = await SimulatedJob(controller, spec(100)).start()
    await first.run(until=50)
    await controller.transition(first.job, "complete")
    second = await restarted(controller, first, 30)
    assert (await controller.get_job(first.job)).status == "running"
    assert "stop" not in [segment.kind for segment in second.received.values()]
    await second.run()
    assert sorted(second.rates) == list(range(100))


async def test_a_job_that_ended_itself_early_has_failed_and_goes_on_from_there(
    controller: Controller,
) -> None:
    first = await SimulatedJob(controller, spec(100)).start()
    await first.run(until=50)
    early = Finished(number=first._next(), segment=first.running_seq, position=50, completed=False)
    assert (await first.send(early)).status == "failed"
    second = await restarted(controller, first, 50)
    assert (await controller.get_job(first.job)).status == "running"
    await second.run()
    assert (await controller.get_job(first.job)).status == "completed"
    # Steered on, and not only left to its base schedule.
    assert max(second.received) > (second.kept_through or 0)
