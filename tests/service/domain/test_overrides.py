"""What a person may set, on top of any strategy and whatever the authority, and what the limits forbid."""

from typing import Any

import pytest
from pacesetter.feedback import Hypergradient
from pacesetter.protocol import Acknowledgement, ParameterGroup, Reason, Segment
from pacesetter.schedules import Cosine, Schedule
from pacesetter_service.controller import Controller
from pacesetter_service.errors import Refused
from pacesetter_service.overrides import (
    BackToStrategy,
    BranchOff,
    DecayNow,
    SetLearningRate,
    SetMultiplier,
    SetSchedule,
    Steering,
)
from pacesetter_service.overrides.plans import plans_for

from tests.service.domain.simulated import SimulatedJob, spec

TWO_SETS = (
    ParameterGroup(name="body", base_lr=0.1, control="body"),
    ParameterGroup(name="head", base_lr=0.01, control="head"),
)


async def newest(controller: Controller, job: str) -> Any:
    return (await controller.segments_after(job)).segments[-1]


@pytest.mark.parametrize("authority", ["observe", "advise", "approve", "steer"])
@pytest.mark.parametrize("strategy", ["manual", "fixed"])
async def test_a_person_may_always_and_is_named_in_the_audit_trail(
    controller: Controller, strategy: str, authority: str
) -> None:
    job = await SimulatedJob(controller, spec(strategy=strategy, authority=authority)).start()
    await job.run(until=30)
    wish = SetMultiplier(multiplier=0.25, by="ada", reason="it wobbles")
    (seq,) = (await controller.override(job.job, wish)).segments
    await job.run()
    assert job.rates == dict.fromkeys(range(30), 1.0) | dict.fromkeys(range(30, 100), 0.25)
    assert job.received[seq].reason.text == "ada set the multiplier to 0.25: it wobbles"
    events = (await controller.events(job.job, page_size=1000)).items
    (event,) = [each for each in events if each.type == "override"]
    assert (event.body["by"], event.body["segments"], event.position) == ("ada", [seq], 30)
    assert event.body["wish"] == wish.model_dump(mode="json")


async def test_a_learning_rate_is_absolute_and_may_drive_some_sets_only(
    controller: Controller,
) -> None:
    job = await SimulatedJob(controller, spec(strategy="manual", groups=TWO_SETS)).start()
    await job.run(until=10)
    await controller.override(job.job, SetLearningRate(lr=0.004, controls=("head",)))
    segment = await newest(controller, job.job)
    assert (segment.policy.unit, segment.policy.at(10), segment.controls) == (
        *("absolute", 0.004),
        ("head",),
    )
    assert (segment.when, segment.start, segment.end) == ("now", 10, 100)
    await controller.override(job.job, SetLearningRate(lr=0.02))
    assert (await newest(controller, job.job)).controls == "all"


async def test_a_schedule_of_one_s_own_runs_to_the_end_and_is_handed_back(
    controller: Controller,
) -> None:
    job = await SimulatedJob(controller, spec(strategy="manual")).start()
    await job.run(until=20)
    own = Schedule(zero=20, length=80, peak=0.8, floor=0.1, body=Cosine())
    await controller.override(job.job, SetSchedule(schedule=own))
    await job.run(until=60)
    await controller.override(job.job, BackToStrategy())
    await job.run()
    expected = {position: own.at(position) for position in range(20, 60)}
    assert {position: job.rates[position] for position in range(20, 60)} == expected
    assert job.rates[60] == job.rates[99] == 1.0


LIMITED = {"max_multiplier": 2.0, "min_multiplier": 0.01, "max_change_per_step": 1.5}


@pytest.mark.parametrize(
    ("wish", "limits", "code", "words"),
    [
        (SetMultiplier(multiplier=3.0), LIMITED, "ABOVE_LIMIT", "max_multiplier=2.0"),
        (SetLearningRate(lr=0.3), LIMITED, "ABOVE_LIMIT", "max_multiplier=2.0"),
        (SetMultiplier(multiplier=0.001), LIMITED, "BELOW_LIMIT", "min_multiplier=0.01"),
        (SetMultiplier(multiplier=1.8), LIMITED, "CHANGE_TOO_FAST", "max_change_per_step=1.5"),
        (DecayNow(over=20), {}, "SHORTER_MAIN", "allow_shorter_main=False"),
        (SetSchedule(schedule=Schedule(length=50, peak=0.0)), {}, "SHORTER_MAIN", "last 50 steps"),
        (SetLearningRate(lr=0.1, controls=("tail",)), {}, "SEGMENT_REFUSED", "controls tail"),
    ],
)
async def test_what_the_limits_forbid_is_refused_before_it_is_sent(
    controller: Controller, wish: Steering, limits: dict[str, Any], code: str, words: str
) -> None:
    job = await SimulatedJob(controller, spec(strategy="manual", limits=limits)).start()
    await job.run(until=30)
    with pytest.raises(Refused) as refused:
        await controller.override(job.job, wish)
    assert refused.value.code == code
    assert words in refused.value.message
    assert refused.value.hint
    assert [s.seq for s in (await controller.segments_after(job.job)).segments] == [1]
    assert not (await controller.get_job(job.job)).overridden


async def test_a_change_is_judged_from_what_drives_each_set_now(controller: Controller) -> None:
    limits = {"max_change_per_step": 1.5}
    told = spec(strategy="manual", groups=TWO_SETS, limits=limits)
    job = await SimulatedJob(controller, told).start()
    await job.run(until=10)
    await controller.override(job.job, SetLearningRate(lr=0.008, controls=("head",)))
    await job.run(until=20)
    await controller.override(job.job, SetLearningRate(lr=0.006, controls=("head",)))
    await job.run(until=30)
    with pytest.raises(Refused) as refused:
        await controller.override(job.job, SetMultiplier(multiplier=1.0))
    assert "from 0.6 to 1 " in refused.value.message


async def test_sets_on_schedules_of_their_own_have_no_common_decay(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(strategy="manual", groups=TWO_SETS)).start()
    await job.run(until=10)
    await controller.override(job.job, SetLearningRate(lr=0.004, controls=("head",)))
    await job.run(until=20)
    with pytest.raises(Refused) as refused:
        await controller.override(job.job, DecayNow(over=80))
    assert refused.value.code == "MIXED_POLICIES"
    await controller.override(job.job, SetMultiplier(multiplier=0.5))
    await job.run(until=30)
    await controller.override(job.job, DecayNow(over=70))
    assert (await newest(controller, job.job)).policy.at(30) == 0.5


async def test_a_branch_decays_beside_the_main_line_which_goes_on_as_before(
    controller: Controller,
) -> None:
    own = Schedule(length=100, peak=0.8, floor=0.1, body=Cosine())
    job = await SimulatedJob(controller, spec(strategy="manual")).start()
    await job.run(until=10)
    await controller.override(job.job, SetSchedule(schedule=own))
    await job.run(until=30)
    wish = BranchOff(over=20, shape="linear", by="ada", reason="a model for Friday")
    branch, rest = (await controller.override(job.job, wish)).segments
    await job.run()
    sent = job.received
    assert (sent[branch].kind, sent[branch].start, sent[branch].end) == ("branch", 30, 50)
    assert sent[branch].policy.at(40) == pytest.approx(0.5 * own.at(30))
    assert sent[branch].policy.at(50) == 0.0
    assert sent[branch].data == "rewind"
    assert sent[branch].reason.text.startswith(
        "ada asked for a branch that decays over 20: a model"
    )
    assert (sent[rest].kind, sent[rest].when, sent[rest].policy) == ("main", "end", own)
    assert job.rates[99] == own.at(99)


async def test_a_branch_that_nothing_could_come_of_is_refused(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(strategy="manual", groups=TWO_SETS)).start()
    await job.run(until=10)
    await controller.override(job.job, SetLearningRate(lr=0.004, controls=("head",)))
    await job.run(until=12)
    with pytest.raises(Refused) as refused:
        await controller.override(job.job, BranchOff(over=5))
    assert refused.value.code == "MIXED_POLICIES"
    still = SimulatedJob(
        controller,
        spec(strategy="manual", external_id="run-2", capabilities={"rollback": "none"}),
    )
    await still.start()
    await still.run(until=10)
    with pytest.raises(Refused) as refused:
        await controller.override(still.job, BranchOff(over=5))
    assert refused.value.code in ("NO_ROLLBACK", "SEGMENT_REFUSED")


async def test_what_the_job_refused_is_named_to_the_session_that_resumes(
    controller: Controller,
) -> None:
    """A person's wish that the job refused must not be what its next start follows unjudged."""
    job = await SimulatedJob(controller, spec(strategy="manual")).start()
    await job.run(until=20)
    (seq,) = (await controller.override(job.job, SetMultiplier(multiplier=0.5))).segments
    answer = Acknowledgement(
        number=job._next(), segment=seq, position=20, status="refused", code="CHANGE_TOO_FAST"
    )
    await job.send(answer)
    again = await controller.register(spec(strategy="manual", nonce="second"))
    assert again.registration.void == (seq,)
    assert seq in [each.seq for each in again.registration.segments]


def test_after_a_branch_the_main_line_goes_on_under_its_feedback_rule() -> None:
    rule = Hypergradient(lowest=0.5, highest=1.0)
    running = Segment(
        seq=1,
        after=0,
        kind="main",
        start=0,
        length=100,
        policy=Schedule(length=100),
        feedback=rule,
        reason=Reason(text="regulated"),
    )
    branch, rest = plans_for(BranchOff(over=5), spec(), 30, {"all": running})
    assert branch.feedback is None
    assert (rest.feedback, rest.start, rest.end) == (rule, 30, 100)
