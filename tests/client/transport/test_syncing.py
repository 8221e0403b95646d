"""Recorded offline, brought to a service by `pacesetter sync`."""

from pathlib import Path

import pytest
from pacesetter.cli import LEFT, SENT, UNUSABLE, main
from pacesetter.errors import ConfigurationError
from pacesetter.protocol import LedgerTotals
from pacesetter.transport import OfflineTransport

from tests.client.transport.conftest import OpenTransport
from tests.client.transport.fake_service import FakeService
from tests.client.transport.samples import QUICK, ended, eventually, make_spec, measured, noticed


def record_offline(folder: Path, nonce: str, records: int, external_id: str = "run/7") -> None:
    transport = OfflineTransport(folder, QUICK)
    assert transport.register(make_spec(nonce, external_id), 10.0) is None
    for index in range(records):
        transport.send(noticed(f"{index}"), ledger=LedgerTotals(main_steps=index + 1))
    assert transport.receive() is None and not transport.wait(1000.0)
    assert (transport.kept_through, transport.silenced, transport.steering) == (None, False, False)
    assert transport.close(10.0) == records


def test_what_was_recorded_offline_arrives_in_order_with_its_ledger(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_offline(tmp_path, "first", 1300)
    record_offline(tmp_path, "second", 10)
    assert main(["sync", str(tmp_path), "--url", service.url]) == SENT
    assert service.registrations == ["first", "second"]
    assert service.numbers("first") == list(range(1, 1301))
    assert service.numbers("second") == list(range(1, 11))
    assert service.session("first").ledger == LedgerTotals(main_steps=1300).model_dump()
    assert list(tmp_path.rglob("session.json")) == []
    assert "a job first: 1300 records sent" in capsys.readouterr().out


def test_a_second_sync_finds_nothing(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_offline(tmp_path, "first", 3)
    assert main(["sync", str(tmp_path), "--url", service.url]) == SENT
    assert main(["sync", str(tmp_path), "--url", service.url]) == SENT
    assert "nothing to send" in capsys.readouterr().out
    assert service.session("first").deliveries == 3


def test_a_sync_that_fails_midway_goes_on_later_and_counts_once(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_offline(tmp_path, "first", 1300)
    service.faults.extend(["", "torn", *["500"] * 1000])
    arguments = ["sync", str(tmp_path), "--url", service.url]
    assert main([*arguments, "--give-up-after", "1"]) == LEFT
    assert "records stay in" in capsys.readouterr().out
    service.faults.clear()
    assert main(arguments) == SENT
    assert service.numbers("first") == list(range(1, 1301))
    assert set(service.registrations) == {"first"}


def test_sync_uses_the_token_of_the_environment(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_offline(tmp_path, "first", 3)
    service.token = "pst_secret"
    monkeypatch.setenv("PACESETTER_URL", service.url)
    monkeypatch.setenv("PACESETTER_TOKEN", "pst_secret")
    assert main(["sync", str(tmp_path)]) == SENT
    assert service.numbers("first") == [1, 2, 3]


def test_an_older_session_never_takes_over_from_a_registered_one(
    service: FakeService,
    open_http: OpenTransport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "journals"
    transport = open_http()
    record_offline(tmp_path / "elsewhere", "older", 3)
    transport.register(make_spec("newer"), 10.0)
    job = next(folder.iterdir())
    (tmp_path / "elsewhere" / job.name / "older").rename(job / "older")
    assert main(["sync", str(folder), "--url", service.url]) == LEFT
    out = capsys.readouterr().out
    assert "registering this one now would make it the current one" in out
    assert "its process still runs" in out
    assert service.registrations == ["newer"]


def test_the_next_online_session_brings_what_was_recorded_offline(
    service: FakeService, open_http: OpenTransport, tmp_path: Path
) -> None:
    record_offline(tmp_path / "journals", "offline", 30)
    record_offline(tmp_path / "journals", "of another job", 30, external_id="another")
    transport = open_http()
    transport.register(make_spec("online"), 10.0)
    eventually(lambda: service.numbers("offline") == list(range(1, 31)))
    assert list(service.sessions) == ["offline", "online"]


def test_an_old_session_on_which_the_service_fails_does_not_lock_out_the_new_one(
    service: FakeService, open_http: OpenTransport, tmp_path: Path
) -> None:
    record_offline(tmp_path / "journals", "broken", 3)
    record_offline(tmp_path / "journals", "sound", 3)
    service.broken_nonces = {"broken"}
    transport = open_http()
    assert transport.register(make_spec("online"), 20.0) is not None
    eventually(lambda: service.numbers("sound") == [1, 2, 3])
    assert list(service.sessions) == ["sound", "online"]
    [kept] = (tmp_path / "journals").glob("*/broken/journal-*.jsonl")
    assert len(kept.read_bytes().splitlines()) == 3


def test_a_refused_job_stays_with_the_reason(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_offline(tmp_path, "first", 3)
    service.refuse_registration = (422, "BUDGET_TOO_SMALL")
    assert main(["sync", str(tmp_path), "--url", service.url]) == LEFT
    assert "detail of BUDGET_TOO_SMALL. Do something else." in capsys.readouterr().out
    assert main(["status", str(tmp_path)]) == SENT
    out = capsys.readouterr().out
    assert "a job first: 3 records wait (not registered, refused: detail of" in out


def test_refused_records_are_reported_and_kept(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_offline(tmp_path, "first", 9)
    service.poison = {4}
    assert main(["sync", str(tmp_path), "--url", service.url]) == LEFT
    assert "8 records sent; what the service refused is in" in capsys.readouterr().out
    assert service.numbers("first") == [1, 2, 3, 5, 6, 7, 8, 9]


def test_status_names_a_session_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transport = OfflineTransport(tmp_path, QUICK)
    transport.register(make_spec(), 0.0)
    transport.send(ended)
    eventually(lambda: any(path.stat().st_size for path in tmp_path.rglob("journal-*")))
    assert main(["status", str(tmp_path)]) == SENT
    assert "1 records wait (not registered, running)" in capsys.readouterr().out
    transport.close(5.0)


def test_wrong_calls_end_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PACESETTER_URL", raising=False)
    assert main(["sync", str(tmp_path / "nowhere"), "--url", "http://127.0.0.1:1"]) == UNUSABLE
    assert "is not a folder" in capsys.readouterr().err
    assert main(["sync", str(tmp_path)]) == UNUSABLE
    assert "set PACESETTER_URL" in capsys.readouterr().err
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0


def test_offline_says_when_it_could_keep_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="PACESETTER_DIR"):
        OfflineTransport(tmp_path / "file", QUICK).register(make_spec(), 0.0)


def test_an_offline_record_is_on_disk_soon_after_it_was_sent(tmp_path: Path) -> None:
    transport = OfflineTransport(tmp_path, QUICK)
    transport.register(make_spec(), 0.0)
    transport.send(measured(rows=3))
    eventually(lambda: any(path.stat().st_size for path in tmp_path.rglob("journal-*")))
    assert transport.close(5.0) == 1
