import json
from dataclasses import replace
from pathlib import Path

from pacesetter.protocol import LedgerTotals, Report
from pacesetter.transport.backlog import Backlog
from pacesetter.transport.conditions import Conditions
from pacesetter.transport.journal import Entry, Journal
from pacesetter.transport.recorder import Recorder, report_body

from tests.client.transport.samples import QUICK, ended, impossible, measured, noticed


def make_recorder(folder: Path, queue_records: int = 1000) -> tuple[Recorder, Backlog]:
    backlog = Backlog(Journal(folder), Conditions(), 1 << 20)
    timing = replace(QUICK, queue_records=queue_records, batch_records=3)
    return Recorder(backlog, Conditions(), timing), backlog


def recorded(backlog: Backlog) -> list[Entry]:
    return backlog.take(10**6, 10**9)


def test_numbers_follow_the_calls_and_pass_over_what_cannot_be_built(tmp_path: Path) -> None:
    recorder, backlog = make_recorder(tmp_path)
    for make_record in (measured(), impossible, noticed("x"), ended):
        recorder.send(make_record, None)
    assert recorded(backlog) == [], "nothing is built in the training loop"
    recorder.drain()
    documents = [json.loads(entry.record) for entry in recorded(backlog)]
    assert [document["number"] for document in documents] == [1, 2, 3]
    assert [document["type"] for document in documents] == [
        "measurements",
        "notice",
        "segment_ended",
    ]


def test_a_queue_over_its_bound_says_what_it_did_not_take(tmp_path: Path) -> None:
    recorder, backlog = make_recorder(tmp_path, queue_records=5)
    for _ in range(12):
        recorder.send(measured(), None)
    recorder.drain()
    *measurements, notice = [json.loads(entry.record) for entry in recorded(backlog)]
    assert [document["number"] for document in measurements] == [1, 2, 3, 4, 5]
    assert (notice["code"], notice["numbers"]["records"]) == ("RECORDS_DROPPED", 7)
    assert notice["position"] == 5
    recorder.drain()
    assert len(recorded(backlog)) == 6


def test_after_the_end_nothing_is_kept(tmp_path: Path) -> None:
    recorder, backlog = make_recorder(tmp_path)
    recorder.abandon()
    for _ in range(10):
        recorder.send(ended, None)
    recorder.drain()
    assert recorded(backlog) == []


def test_a_report_carries_the_newest_ledger_and_is_valid(tmp_path: Path) -> None:
    recorder, backlog = make_recorder(tmp_path)
    recorder.send(measured(float("nan")), LedgerTotals(main_steps=1))
    recorder.send(measured(), LedgerTotals(main_steps=2))
    recorder.send(ended, None)
    recorder.drain()
    report = Report.model_validate_json(report_body('s"1', recorded(backlog), 9))
    assert (report.session, report.seen) == ('s"1', 9)
    assert report.ledger == LedgerTotals(main_steps=2)
    assert [record.number for record in report.records] == [1, 2, 3]
    assert Report.model_validate_json(report_body("s", [], 0)).ledger is None
