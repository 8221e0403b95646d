import pytest
from pacesetter.protocol import Acknowledgement, FellBack, Finished, Measurements, SegmentEnded
from pacesetter_search.contract import Body, Overridden, Registered, Rewound
from pacesetter_search.strategies.fixed import MOST_SENT, Fixed

from tests.search.support.simulator import Controller, SimulatedJob, job_facts


def controller() -> Controller:
    return Controller(Fixed.from_document({}), job_facts(300))


def acknowledged(status: str, segment: int = 1, position: int = 40) -> Acknowledgement:
    return Acknowledgement.model_validate(
        {"number": 9, "segment": segment, "position": position, "status": status}
    )


def test_one_main_segment_follows_the_base_schedule_to_the_end() -> None:
    job = SimulatedJob(Fixed.from_document({}), job_facts(300)).run()
    assert [one.kind for one in job.controller.segments] == ["main"]
    base = job.facts.base
    assert job.main_multipliers == pytest.approx([base.at(p) for p in range(300)])
    assert job.probe_units == 0


def test_a_job_handed_over_in_a_probe_is_taken_up_where_its_main_line_stands() -> None:
    ended = SegmentEnded(
        number=1,
        segment=7,
        position=130,
        kind="probe",
        outcome="completed",
        steps=10,
        main_position=120,
    )
    (segment,) = controller().tell(ended)
    assert (segment.kind, segment.when, segment.start, segment.end) == ("main", "now", 120, 300)
    assert segment.policy == job_facts(300).base


def test_a_job_handed_over_after_a_fallback_is_taken_up_there() -> None:
    (segment,) = controller().tell(
        FellBack(number=1, segment=4, position=55, follows=3, waited_seconds=30)
    )
    assert (segment.start, segment.end) == (55, 300)


def test_a_fallback_to_its_own_segment_changes_nothing() -> None:
    service = controller()
    service.tell(Registered())
    assert (
        service.tell(FellBack(number=1, segment=1, position=55, follows=1, waited_seconds=1)) == []
    )


@pytest.mark.parametrize("status", ["stale", "superseded", "expired"])
def test_a_segment_that_did_not_run_is_sent_again_from_where_the_job_is(status: str) -> None:
    service = controller()
    service.tell(Registered())
    (segment,) = service.tell(acknowledged(status))
    assert segment.start == 40


@pytest.mark.parametrize(
    "body",
    [
        acknowledged("applied"),
        acknowledged("refused"),
        acknowledged("stale", segment=5),
        Rewound(position=10),
        Finished(number=1, segment=1, position=300),
        Measurements(number=1, segment=1, position=1, columns={"position": [1.0], "step": [1.0]}),
    ],
    ids=lambda body: body.type,
)
def test_what_does_not_move_the_job_off_its_schedule_is_not_answered(body: Body) -> None:
    service = controller()
    service.tell(Registered())
    assert service.tell(body) == []


def test_it_does_not_send_for_ever() -> None:
    service = controller()
    service.tell(Registered())
    for _ in range(3 * MOST_SENT):
        service.tell(acknowledged("stale", segment=len(service.segments)))
    assert len(service.segments) == MOST_SENT


def test_a_person_is_left_alone_until_handing_back() -> None:
    service = controller()
    service.tell(Registered())
    assert service.tell(Overridden(active=True, seq=2, position=50)) == []
    assert service.tell(acknowledged("superseded", position=50)) == []
    (segment,) = service.tell(Overridden(active=False, seq=3, position=90))
    assert segment.start == 90


def test_nothing_is_sent_at_the_end_of_the_budget() -> None:
    assert controller().tell(Overridden(active=False, seq=3, position=300)) == []
