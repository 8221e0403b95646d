"""What becomes of the records of a report: once, in order, and said where they cannot be used."""

import math

import pytest
from pacesetter.protocol import (
    Acknowledgement,
    Finished,
    GroupReadback,
    LedgerTotals,
    Measurements,
    Notice,
    Report,
    SegmentEnded,
)
from pacesetter_service.controller import Controller
from pacesetter_service.errors import NotFound

from tests.service.domain.simulated import SimulatedJob, spec


@pytest.fixture
async def job(controller: Controller) -> SimulatedJob:
    """A job under ``fixed`` that has begun and sent nothing else."""
    return await SimulatedJob(controller, spec(strategy="fixed")).start()


def row(number: int, step: float, loss: float | None = 1.0, segment: int = 0) -> Measurements:
    columns: dict[str, list[float | None]] = {"position": [step], "step": [step], "loss": [loss]}
    return Measurements(number=number, segment=segment, position=int(step) + 1, columns=columns)


async def types(job: SimulatedJob) -> list[str]:
    page = await job.controller.events(job.job, page_size=1000)
    return [event.type for event in page.items]


async def test_a_report_sent_twice_counts_once(job: SimulatedJob) -> None:
    first = await job.send(row(2, 0), row(3, 1))
    again = await job.controller.report(job.job, job.sent[-1])
    assert (first.last_record, again.last_record) == (3, 3)
    assert again.problems == ()
    assert (await job.controller.curve(job.job)).rows_total == 2


async def test_a_report_that_overlaps_the_last_adds_only_what_is_new(job: SimulatedJob) -> None:
    await job.send(row(2, 0), row(3, 1))
    reply = await job.send(row(3, 1), row(4, 2))
    assert reply.last_record == 4
    assert (await job.controller.curve(job.job)).columns["step"] == [0.0, 1.0, 2.0]


async def test_a_gap_is_noted_and_the_record_kept(job: SimulatedJob) -> None:
    reply = await job.send(row(5, 0))
    assert reply.last_record == 5
    page = await job.controller.events(job.job)
    gaps = [event.body for event in page.items if event.type == "gap"]
    assert gaps == [{"expected": 2, "got": 5}]


@pytest.mark.parametrize("steps", [[3.0, 2.0], [2.0, 2.0]])
async def test_steps_that_do_not_rise_in_a_record_are_refused(
    job: SimulatedJob, steps: list[float | None]
) -> None:
    record = Measurements(
        number=2, segment=0, position=3, columns={"position": [0.0, 1.0], "step": steps}
    )
    reply = await job.send(record, row(3, 10))
    assert [(p.number, p.code) for p in reply.problems] == [(2, "STEP_OUT_OF_ORDER")]
    assert reply.last_record == 3
    assert "refused" in await types(job)
    assert (await job.controller.curve(job.job)).rows_total == 1


async def test_steps_that_do_not_rise_between_records_are_refused(job: SimulatedJob) -> None:
    await job.send(row(2, 5))
    reply = await job.send(row(3, 5))
    assert [p.code for p in reply.problems] == ["STEP_OUT_OF_ORDER"]


async def test_a_row_without_a_step_is_refused(job: SimulatedJob) -> None:
    columns: dict[str, list[float | None]] = {"position": [0.0], "step": [None]}
    reply = await job.send(Measurements(number=2, segment=0, position=1, columns=columns))
    assert [p.code for p in reply.problems] == ["BAD_POSITION"]


async def test_non_finite_losses_are_data(job: SimulatedJob) -> None:
    losses = [math.nan, math.inf, -math.inf, None, 1.0]
    for index, loss in enumerate(losses):
        reply = await job.send(row(2 + index, index, loss))
        assert reply.problems == ()
    stored = (await job.controller.curve(job.job, ("loss",))).columns["loss"]
    assert stored[0] is not None and math.isnan(stored[0])
    assert stored[1:] == [math.inf, -math.inf, None, 1.0]


@pytest.mark.parametrize("segment", [2, 99])
async def test_an_unknown_segment_is_a_problem(job: SimulatedJob, segment: int) -> None:
    reply = await job.send(
        Acknowledgement(number=2, segment=segment, position=0, status="applied"),
        SegmentEnded(
            number=3,
            segment=segment,
            position=1,
            kind="main",
            outcome="completed",
            steps=1,
            main_position=1,
        ),
        row(4, 0, segment=segment),
    )
    assert [(p.number, p.code) for p in reply.problems] == [
        (number, "UNKNOWN_SEGMENT") for number in (2, 3, 4)
    ]
    assert reply.last_record == 4


async def test_a_second_acknowledgement_is_a_problem(job: SimulatedJob) -> None:
    acknowledged = Acknowledgement(number=2, segment=1, position=0, status="applied")
    assert (await job.send(acknowledged)).problems == ()
    again = acknowledged.model_copy(update={"number": 3})
    reply = await job.send(again)
    assert [p.code for p in reply.problems] == ["ALREADY_ACKNOWLEDGED"]


async def test_a_second_beginning_is_a_problem(job: SimulatedJob) -> None:
    began = job.sent[0].records[0]
    reply = await job.send(began.model_copy(update={"number": 2, "position": 50}))
    assert [p.code for p in reply.problems] == ["ALREADY_BEGAN"]
    assert (await job.controller.get_job(job.job)).main_position == 0


@pytest.mark.parametrize(
    ("lr_after", "verification", "alerts"),
    [
        (0.1, "verified", 0),
        (0.1 * (1 + 1e-8), "verified", 0),
        (0.2, "unverifiable", 1),
        (0.1, "mismatch", 1),
    ],
)
async def test_a_rate_that_was_not_applied_raises_the_alert(
    job: SimulatedJob, lr_after: float, verification: str, alerts: int
) -> None:
    readback = GroupReadback.model_validate(
        {
            "group": "all",
            "lr_before": 0.3,
            "lr_announced": 0.1,
            "lr_after": lr_after,
            "verification": verification,
        }
    )
    await job.send(
        Acknowledgement(number=2, segment=1, position=0, status="applied", groups=(readback,))
    )
    page = await job.controller.events(job.job)
    found = [event.body["code"] for event in page.items if event.type == "alert"]
    assert found == ["LR_NOT_APPLIED"] * alerts


async def test_the_first_rows_make_a_job_running(job: SimulatedJob) -> None:
    assert (await job.controller.get_job(job.job)).status == "registered"
    assert (await job.send(row(2, 0))).status == "running"


async def test_late_records_of_a_finished_job_are_kept(job: SimulatedJob) -> None:
    reply = await job.send(Finished(number=2, segment=1, position=100))
    assert reply.status == "completed"
    late = await job.send(
        Notice(number=3, segment=1, position=100, level="info", code="LATE", detail="late")
    )
    assert (late.status, late.last_record) == ("completed", 3)


async def test_the_ledger_of_a_session_is_its_last_word(job: SimulatedJob) -> None:
    for steps in (3, 8):
        job.ledger["main_steps"] = steps
        await job.send()
    assert (await job.controller.ledger(job.job)).totals == LedgerTotals(main_steps=8)


async def test_an_unknown_job_or_session_is_not_found(job: SimulatedJob) -> None:
    with pytest.raises(NotFound) as error:
        await job.controller.report("job_x", Report(session=job.session, records=()))
    assert error.value.code == "JOB_NOT_FOUND"
    with pytest.raises(NotFound) as error:
        await job.controller.report(job.job, Report(session="ses_x", records=()))
    assert error.value.code == "SESSION_NOT_FOUND"


async def test_events_come_in_pages(job: SimulatedJob) -> None:
    for number in range(2, 12):
        await job.send(row(number, number))
    seen: list[int] = []
    token = "0"
    while token:
        page = await job.controller.events(job.job, after=int(token), page_size=4)
        seen += [event.number for event in page.items]
        token = page.next_page_token
    assert seen == list(range(1, (await job.controller.get_job(job.job)).last_event + 1))
