import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pacesetter.errors import RegistrationRefused
from pacesetter.protocol import LedgerTotals, Segment
from pacesetter.transport import HttpTransport, UnreadableSegment

from tests.client.transport.conftest import OpenTransport
from tests.client.transport.fake_service import FakeService
from tests.client.transport.samples import (
    QUICK,
    ended,
    eventually,
    impossible,
    make_segment,
    make_spec,
    measured,
    noticed,
)


def test_records_arrive_in_the_order_of_the_calls_and_nothing_stays(
    service: FakeService, open_http: OpenTransport, tmp_path: Path
) -> None:
    transport = open_http()
    registration = transport.register(make_spec(), 10.0)
    assert registration is not None
    assert (registration.job, registration.session_number) == ("job-1", 1)
    for index in range(1200):
        transport.send(noticed(f"{index}"), ledger=LedgerTotals(main_steps=index))
    assert transport.close(10.0) == 0
    details = [record["detail"] for record in service.session().records]
    assert details == [f"{index}" for index in range(1200)]
    assert service.numbers() == list(range(1, 1201))
    ledger = service.session().ledger
    assert ledger is not None and ledger["main_steps"] == 1199
    assert list((tmp_path / "journals").rglob("*.jsonl")) == []


def test_flush_sends_before_the_batch_is_due(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http(replace(QUICK, batch_seconds=1000.0))
    transport.register(make_spec(), 10.0)
    transport.send(ended)
    transport.flush()
    eventually(lambda: service.numbers() == [1])


def test_a_full_batch_is_sent_without_flush(service: FakeService, open_http: OpenTransport) -> None:
    transport = open_http(replace(QUICK, batch_seconds=1000.0, batch_records=5))
    transport.register(make_spec(), 10.0)
    for _ in range(6):
        transport.send(ended)
    eventually(lambda: service.numbers() == [1, 2, 3, 4, 5, 6])


def test_large_reports_are_gzipped_and_small_ones_are_not(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    transport.send(measured(rows=1))
    eventually(lambda: service.numbers() == [1])
    transport.send(measured(rows=500))
    eventually(lambda: service.numbers() == [1, 2])
    small, large = [headers for path, headers, _ in service.requests if path.endswith("reports")]
    assert "content-encoding" not in small
    assert large["content-encoding"] == "gzip"
    size = [size for path, _, size in service.requests if path.endswith("reports")][1]
    assert size < 0.5 * len(str(service.session().records[1]))


def test_non_finite_losses_travel_as_strings(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    transport.send(measured(float("nan")))
    transport.send(measured(float("-inf")))
    eventually(lambda: service.numbers() == [1, 2])
    losses = [record["columns"]["loss"] for record in service.session().records]
    assert losses == [["NaN"], ["-Infinity"]]


def test_a_record_that_cannot_be_built_takes_no_number(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    transport.send(ended)
    transport.send(impossible)
    transport.send(noticed("after"))
    eventually(lambda: service.numbers() == [1, 2])
    assert service.session().records[1]["detail"] == "after"
    assert "could not be built" in caplog.text


def test_the_token_is_sent_and_never_logged(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(10)
    service.token = "pst_secret"
    transport = open_http(token="pst_secret")
    assert transport.register(make_spec(), 10.0) is not None
    transport.send(ended)
    eventually(lambda: service.numbers() == [1])
    service.stop()
    transport.send(ended)
    eventually(lambda: "is away" in caplog.text)
    assert "pst_secret" not in caplog.text


def test_httpx_does_not_log_a_line_for_every_report(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(20)
    transport = open_http()
    transport.register(make_spec(), 10.0)
    transport.send(ended)
    eventually(lambda: service.numbers() == [1])
    assert "HTTP Request" not in caplog.text


@pytest.mark.parametrize("status", [409, 422])
def test_a_refused_registration_raises_with_code_and_hint(
    service: FakeService, open_http: OpenTransport, status: int
) -> None:
    service.refuse_registration = (status, "STRATEGY_DOES_NOT_FIT")
    with pytest.raises(RegistrationRefused) as raised:
        open_http().register(make_spec(), 10.0)
    assert raised.value.code == "STRATEGY_DOES_NOT_FIT"
    assert raised.value.status == status
    assert raised.value.hint == "Do something else."


def test_a_late_refusal_is_logged_and_training_goes_on(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    service.refuse_registration = (422, "STRATEGY_DOES_NOT_FIT")
    service.hanging = True
    transport = open_http()
    assert transport.register(make_spec(), 0.05) is None
    transport.send(ended)
    service.hanging = False
    eventually(lambda: "Training goes on unsteered" in caplog.text)
    assert transport.late_registration() is None
    assert not transport.steering
    assert transport.close(5.0) == 1
    assert len(list(tmp_path.rglob("journal-*.jsonl"))) == 1


def test_a_registration_that_comes_late_is_handed_over_once(
    service: FakeService, open_http: OpenTransport
) -> None:
    service.hanging = True
    transport = open_http()
    assert transport.register(make_spec(), 0.05) is None
    assert transport.late_registration() is None
    transport.send(ended)
    service.hanging = False
    registration = eventually(transport.late_registration)
    assert registration is not None and registration.job == "job-1"
    assert transport.late_registration() is None
    eventually(lambda: service.numbers() == [1])


def test_segments_wait_until_a_late_registration_is_taken(
    service: FakeService, open_http: OpenTransport
) -> None:
    service.hanging = True
    transport = open_http()
    transport.register(make_spec(), 0.0)
    service.hanging = False
    eventually(lambda: transport.steering)
    service.add_segment(make_segment(1))
    assert transport.wait(10.0)
    assert transport.receive() is None
    assert transport.late_registration() is not None
    first = transport.receive()
    assert isinstance(first, Segment) and first.seq == 1


def test_a_service_that_hangs_blocks_neither_training_nor_the_journal(
    service: FakeService, open_http: OpenTransport, tmp_path: Path
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.hanging = True
    transport.send(noticed("first"))
    eventually(lambda: any(path.endswith("reports") for path, _, _ in service.requests))
    for index in range(1000):
        transport.send(noticed(f"{index}"))
        transport.flush()
    # The report is still unanswered, yet everything is on disk.
    eventually(lambda: _lines(tmp_path) == 1001)
    assert service.numbers() == []
    service.hanging = False
    assert transport.close(20.0) == 0
    assert service.numbers() == list(range(1, 1002))


def test_close_returns_what_stayed_and_keeps_it(
    service: FakeService, open_http: OpenTransport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.stop()
    for _ in range(7):
        transport.send(ended)
    assert transport.close(0.3) == 7
    assert transport.close(0.3) == 7
    assert _lines(tmp_path) == 7
    assert "pacesetter sync" in caplog.text


def test_records_that_nobody_could_take_are_called_lost(
    service: FakeService, open_http: OpenTransport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service.stop()
    (tmp_path / "journals").write_text("a file where the folder should be")
    transport = open_http()
    assert transport.register(make_spec(), 0.0) is None
    for _ in range(4):
        transport.send(ended)
    assert transport.close(0.1) == 0
    assert "cannot be written" in caplog.text
    assert "4 records are lost" in caplog.text


def test_an_outage_is_said_once_and_its_end_too(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.stop()
    for _ in range(5):
        transport.send(ended)
        transport.flush()
    eventually(lambda: "is away" in caplog.text)
    service.start()
    eventually(lambda: service.numbers() == [1, 2, 3, 4, 5])
    eventually(lambda: "answers again" in caplog.text)
    messages = [record.message for record in caplog.records]
    assert sum("is away" in message for message in messages) == 1
    assert sum("answers again" in message for message in messages) == 1


def test_a_wrong_token_is_said_once_and_mended_without_a_restart(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture
) -> None:
    service.token = "new"
    transport = open_http(token="old")
    assert transport.register(make_spec(), 60.0) is None
    transport.send(ended)
    eventually(lambda: len(service.requests) > 3)
    service.token = "old"
    eventually(lambda: service.numbers() == [1])
    assert caplog.text.count("does not take this job") == 1
    assert "takes this job again" in caplog.text


def test_a_job_token_that_no_longer_counts_is_renewed_by_registering_again(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.token = "rotated"
    transport.send(ended)
    eventually(lambda: service.registrations == ["nonce-1"] and len(service.requests) > 2)
    service.token = None
    eventually(lambda: service.numbers() == [1])
    assert service.registrations == ["nonce-1", "nonce-1"]


@pytest.mark.parametrize("status", [302, 403, 404])
def test_a_job_that_the_service_does_not_know_keeps_its_records(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.answer_everything = (status, {"Location": "http://127.0.0.1:1/elsewhere"})
    transport.send(ended)
    eventually(lambda: "does not take this job" in caplog.text)
    service.answer_everything = None
    eventually(lambda: service.numbers() == [1])


def test_a_record_that_the_service_can_never_take_is_isolated_and_set_aside(
    service: FakeService, open_http: OpenTransport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transport = open_http()
    service.hanging = True
    transport.register(make_spec(), 0.0)
    service.poison = {23, 24}
    for _ in range(60):
        transport.send(ended)
    service.hanging = False
    assert transport.close(10.0) == 0
    assert service.numbers() == [number for number in range(1, 61) if number not in service.poison]
    [aside] = tmp_path.rglob("refused.jsonl")
    lines = aside.read_text().splitlines()
    assert ['"number":23' in lines[0], '"number":24' in lines[1]] == [True, True]
    assert "INVALID_RECORD" in lines[0]
    assert caplog.text.count("does not take record") == 1


def test_a_reply_that_stored_less_makes_the_rest_come_again(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.last_record_lag = 2
    for _ in range(10):
        transport.send(ended)
    eventually(lambda: service.session().deliveries > 12)
    assert transport.close(0.1) == 2
    assert service.numbers() == list(range(1, 11))


def test_a_segment_comes_once_whichever_way_and_in_order(
    service: FakeService, open_http: OpenTransport
) -> None:
    service.repeat_all_segments = True
    transport = open_http()
    transport.register(make_spec(), 10.0)
    received = []
    for seq in range(1, 21):
        service.add_segment(make_segment(seq))
        transport.send(ended)
        transport.flush()
        assert transport.wait(10.0)
        received.append(transport.receive())
    eventually(lambda: service.numbers() == list(range(1, 21)))
    assert [segment.seq for segment in received if segment is not None] == list(range(1, 21))
    assert transport.receive() is None


def test_segments_of_the_registration_do_not_come_a_second_time(
    service: FakeService, open_http: OpenTransport
) -> None:
    service.add_segment(make_segment(1))
    service.add_segment(make_segment(2))
    service.repeat_all_segments = True
    transport = open_http()
    registration = transport.register(make_spec(), 10.0)
    assert registration is not None and [s.seq for s in registration.segments] == [1, 2]
    transport.send(ended)
    eventually(lambda: service.numbers() == [1] and service.streams_opened)
    service.add_segment(make_segment(3))
    assert transport.wait(10.0)
    third = transport.receive()
    assert isinstance(third, Segment) and third.seq == 3
    assert service.streams_opened[0] == "2"


def test_a_segment_from_a_newer_service_comes_as_unreadable(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    document = make_segment(1).model_dump(mode="json", by_alias=True)
    document["policy"]["body"] = {"family": "from_the_future"}
    service.add_segment(document)
    service.add_segment(make_segment(2))
    assert transport.wait(10.0)
    eventually(lambda: transport._inbox.seen == 2)
    unreadable, readable = transport.receive(), transport.receive()
    assert isinstance(unreadable, UnreadableSegment)
    assert (unreadable.seq, unreadable.after) == (1, 0)
    assert "from_the_future" in unreadable.detail
    assert isinstance(readable, Segment) and readable.seq == 2


def test_a_registration_with_an_unreadable_segment_still_registers(
    service: FakeService, open_http: OpenTransport
) -> None:
    document = make_segment(1).model_dump(mode="json", by_alias=True)
    document["policy"]["version"] = 99
    service.add_segment(document)
    transport = open_http()
    registration = transport.register(make_spec(), 10.0)
    assert registration is not None and registration.segments == ()
    unreadable = eventually(transport.receive)
    assert isinstance(unreadable, UnreadableSegment) and unreadable.seq == 1


def test_an_unreadable_segment_before_a_readable_one_is_not_lost(
    service: FakeService, open_http: OpenTransport
) -> None:
    document = make_segment(1).model_dump(mode="json", by_alias=True)
    document["kind"] = "from_the_future"
    service.add_segment(document)
    service.add_segment(make_segment(2))
    transport = open_http()
    registration = transport.register(make_spec(), 10.0)
    assert registration is not None and [s.seq for s in registration.segments] == [2]
    service.add_segment(make_segment(3))
    first, second = eventually(transport.receive), eventually(transport.receive)
    assert isinstance(first, UnreadableSegment) and first.seq == 1
    assert isinstance(second, Segment) and second.seq == 3


def test_one_lost_connection_is_not_an_outage(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.faults.append("torn")
    transport.send(ended)
    eventually(lambda: service.session().deliveries == 2)
    transport.send(ended)
    eventually(lambda: service.numbers() == [1, 2])
    assert "is away" not in caplog.text


def test_the_same_nonce_started_again_goes_on_counting(
    service: FakeService, open_http: OpenTransport
) -> None:
    service.stop()
    first = open_http()
    first.register(make_spec(), 0.0)
    for _ in range(3):
        first.send(ended)
    assert first.close(0.1) == 3
    service.start()
    again = open_http()
    again.register(make_spec(), 10.0)
    again.send(noticed("of the second start"))
    eventually(lambda: service.numbers() == [1, 2, 3, 4])


def test_the_reply_says_what_is_kept_and_a_newer_session_silences(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    assert transport.kept_through is None
    assert (transport.steering, transport.silenced) == (True, False)
    service.reply_fields = {"kept_through": 4}
    transport.send(ended)
    eventually(lambda: transport.kept_through == 4)
    service.reply_fields = {"session_current": False, "segments": []}
    transport.send(ended)
    eventually(lambda: transport.silenced)
    assert not transport.steering
    service.add_segment(make_segment(1))
    assert waiting_ends(transport) is False
    transport.send(ended)
    eventually(lambda: service.numbers() == [1, 2, 3])


def test_a_pause_ends_the_waiting(service: FakeService, open_http: OpenTransport) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.status_events.append("paused")
    eventually(lambda: not transport.steering)
    assert waiting_ends(transport) is False
    service.status_events.append("running")
    eventually(lambda: transport.steering)


def test_a_name_for_the_problem_of_a_record_is_logged_once(
    service: FakeService, open_http: OpenTransport, caplog: pytest.LogCaptureFixture
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    service.reply_fields = {
        "problems": [{"number": 1, "code": "STEP_OUT_OF_ORDER", "detail": "step 3 after 4"}]
    }
    for number in range(1, 4):
        transport.send(ended)
        transport.flush()
        eventually(lambda: len(service.numbers()) == number)  # noqa: B023
    assert caplog.text.count("step 3 after 4") == 1


def waiting_ends(transport: HttpTransport) -> bool:
    """Return what ``wait`` returns, which has to be long before its time is over."""
    returned: list[bool] = []
    thread = threading.Thread(target=lambda: returned.append(transport.wait(600.0)), daemon=True)
    thread.start()
    eventually(lambda: not thread.is_alive())
    return returned[0]


def _lines(folder: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in folder.rglob("journal-*.jsonl"))
