"""The service fails in every way, and each record counts exactly once."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pacesetter.transport import HttpTransport
from pacesetter.transport.backlog import Backlog
from pacesetter.transport.journal import Entry
from pacesetter.transport.recorder import report_body

from tests.client.transport.conftest import OpenTransport
from tests.client.transport.fake_service import FakeService
from tests.client.transport.samples import (
    QUICK,
    ended,
    eventually,
    make_segment,
    make_spec,
    measured,
    noticed,
)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_record_counts_once_under_random_faults(
    service: FakeService, open_http: OpenTransport, seed: int
) -> None:
    generator = random.Random(seed)
    transport = open_http()
    transport.register(make_spec(), 10.0)
    made, away = 0, False
    received: list[int] = []
    for turn in range(60):
        for _ in range(generator.randint(0, 30)):
            made += 1
            transport.send(noticed(f"{made}"))
        transport.flush()
        service.faults.extend(generator.choices(["500", "503", "429", "drop", "torn", ""], k=2))
        if generator.random() < 0.15:
            service.stop() if not away else service.start()
            away = not away
        if turn % 10 == 0:
            service.add_segment(make_segment(len(service.segments) + 1))
        while (segment := transport.receive()) is not None:
            received.append(segment.seq)
        transport.wait(0.01)
    if away:
        service.start()
    eventually(lambda: service.numbers() == list(range(1, made + 1)))
    details = [record["detail"] for record in service.session().records]
    assert details == [f"{index}" for index in range(1, made + 1)]
    assert service.session().deliveries > made, "some reports had to be sent twice"
    while len(received) < len(service.segments):
        assert transport.wait(10.0)
        segment = transport.receive()
        assert segment is not None
        received.append(segment.seq)
    assert received == list(range(1, len(service.segments) + 1))


CHILD = """
import sys, time
from pathlib import Path
from pacesetter.transport import HttpTransport
from tests.client.transport.samples import QUICK, make_spec, noticed

url, folder, nonce, wait = sys.argv[1:]
transport = HttpTransport("the service", lambda: url, None, Path(folder), QUICK)
transport.register(make_spec(nonce), float(wait))
for index in range(1, 501):
    transport.send(noticed(f"{index}"))
    if index % 50 == 0:
        transport.flush()
print("sent", flush=True)
time.sleep(600)
"""


def killed_child(
    url: str, folder: Path, nonce: str, wait: float, until: Callable[[], bool] = lambda: True
) -> None:
    """Run a job that journals 500 records, and kill it once they are on disk and ``until`` is true."""
    command = [sys.executable, "-c", CHILD, url, str(folder), nonce, str(wait)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "sent\n"
        eventually(lambda: _journaled(folder, nonce) == 500)
        eventually(until)
        child.kill()


@pytest.mark.faults
def test_a_killed_job_leaves_its_records_to_the_next_process(
    service: FakeService, tmp_path: Path
) -> None:
    folder = tmp_path / "journals"
    service.stop()
    killed_child(service.url, folder, "first", 0.0)
    killed_child(service.url, folder, "second", 0.0)
    service.start()
    transport = HttpTransport("the service", lambda: service.url, None, folder, QUICK)
    registration = transport.register(make_spec("third"), 10.0)
    transport.send(noticed("of the third"))
    try:
        for nonce in ("first", "second"):
            eventually(lambda: len(service.numbers(nonce)) == 500)  # noqa: B023
            assert service.numbers(nonce) == list(range(1, 501))
        eventually(lambda: service.numbers("third") == [1])
        # Older sessions register first, so that none of them silences the one that runs.
        assert service.registrations[:3] == ["first", "second", "third"]
        assert registration is not None and registration.session_number == 3
        eventually(lambda: _sessions(folder) == ["third"])
    finally:
        assert transport.close(10.0) == 0
    assert _sessions(folder) == []


@pytest.mark.faults
def test_records_sent_but_not_answered_are_not_doubled_after_a_kill(
    service: FakeService, tmp_path: Path
) -> None:
    folder = tmp_path / "journals"
    service.faults.extend(["torn"] * 10_000)
    stored = list(range(1, 501))
    killed_child(service.url, folder, "first", 10.0, lambda: service.numbers("first") == stored)
    service.faults.clear()
    transport = HttpTransport("the service", lambda: service.url, None, folder, QUICK)
    transport.register(make_spec("second"), 10.0)
    try:
        eventually(lambda: _sessions(folder) == ["second"])
    finally:
        transport.close(10.0)
    assert service.numbers("first") == stored
    assert service.session("first").deliveries > 500


def test_a_session_whose_process_lives_is_left_alone(
    service: FakeService, open_http: OpenTransport, tmp_path: Path
) -> None:
    service.stop()
    older, newer = open_http(), open_http()
    older.register(make_spec("older"), 0.0)
    older.send(ended)
    newer.register(make_spec("newer"), 0.0)
    newer.send(ended)
    service.start()
    eventually(lambda: service.numbers("older") == [1] and service.numbers("newer") == [1])
    assert newer.late_registration() is not None
    first = [nonce for nonce in service.registrations if nonce == "older"]
    assert first and list(service.sessions) == ["older", "newer"]
    older.send(ended)
    eventually(lambda: service.numbers("older") == [1, 2])


def test_a_thread_that_fails_starts_again_and_loses_nothing(
    service: FakeService,
    open_http: OpenTransport,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    failures = ["the sender", "the recorder"]
    real_put = Backlog.put

    def failing_body(session: str, entries: list[Entry], seen: int) -> bytes:
        if "the sender" in failures:
            failures.remove("the sender")
            raise RuntimeError("a mistake")
        return report_body(session, entries, seen)

    def failing_put(backlog: Backlog, entries: list[Entry]) -> None:
        if "the recorder" in failures:
            failures.remove("the recorder")
            raise RuntimeError("a mistake")
        real_put(backlog, entries)

    monkeypatch.setattr("pacesetter.transport.sender.report_body", failing_body)
    monkeypatch.setattr(Backlog, "put", failing_put)
    for _ in range(5):
        transport.send(measured())
    eventually(lambda: service.numbers() == [1, 2, 3, 4, 5])
    assert failures == []
    assert caplog.text.count("starts again") == 2


def count(service: FakeService, kind: str) -> int:
    """Return how many records of a kind the service has stored."""
    return sum(record["type"] == kind for record in service.session().records)


def test_dropped_measurements_are_reported_once_there_is_room(
    service: FakeService, open_http: OpenTransport, tmp_path: Path
) -> None:
    service.stop()
    (tmp_path / "journals").write_text("a file where the folder should be")
    transport = open_http(replace(QUICK, memory_bytes=4000))
    transport.register(make_spec(), 0.0)
    for _ in range(100):
        transport.send(measured(rows=10))
    transport.send(ended)
    backlog = transport._backlog
    assert backlog is not None
    eventually(lambda: backlog._memory and backlog._memory[-1].number == 101)
    eventually(lambda: backlog._dropped > 50)
    service.start()
    eventually(lambda: 101 in service.numbers())
    transport.send(ended)
    eventually(lambda: count(service, "notice") == 1 and count(service, "segment_ended") == 2)
    [notice] = [r for r in service.session().records if r["type"] == "notice"]
    assert notice["code"] == "RECORDS_DROPPED"
    stored = [r for r in service.session().records if r["type"] == "measurements"]
    assert notice["numbers"]["records"] == 100 - len(stored)


def test_a_forked_child_does_nothing_and_the_parent_goes_on(
    service: FakeService, open_http: OpenTransport
) -> None:
    transport = open_http()
    transport.register(make_spec(), 10.0)
    transport.send(noticed("before"))
    child = os.fork()
    if child == 0:
        # No assertion may leave the child: it would run the rest of the tests a second time.
        try:
            for _ in range(300):
                transport.send(noticed("of the child"))
            transport.flush()
            quiet = transport.receive() is None and not transport.wait(0.0)
            os._exit(0 if quiet and transport.close(5.0) == 0 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    transport.send(noticed("after"))
    assert transport.close(10.0) == 0
    details = [record["detail"] for record in service.session().records]
    assert details == ["before", "after"]


def _sessions(folder: Path) -> list[str]:
    return sorted(note.parent.name for note in folder.glob("*/*/session.json"))


def _journaled(folder: Path, nonce: str) -> int:
    files = folder.glob(f"*/{nonce}/journal-*.jsonl")
    return sum(len(file.read_bytes().splitlines()) for file in files)
