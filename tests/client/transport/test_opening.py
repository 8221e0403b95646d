from pathlib import Path

import pytest
from pacesetter.errors import ConfigurationError
from pacesetter.transport import (
    HttpTransport,
    NullTransport,
    OfflineTransport,
    Timing,
    open_transport,
)

from tests.client.transport.samples import impossible, make_spec


def test_the_environment_chooses(tmp_path: Path) -> None:
    def opened(**environment: str) -> type:
        return type(open_transport(journal_dir=tmp_path, environment=environment))

    assert opened(PACESETTER_MODE="disabled") is NullTransport
    assert opened(PACESETTER_MODE="offline") is OfflineTransport
    assert opened(PACESETTER_URL="https://pace.example") is HttpTransport
    assert opened(PACESETTER_URL="http://127.0.0.1:8765/prefix/") is HttpTransport


def test_arguments_go_before_the_environment(tmp_path: Path) -> None:
    environment = {
        "PACESETTER_MODE": "online",
        "PACESETTER_URL": "https://elsewhere.example",
        "PACESETTER_TOKEN": "from the environment",
        "PACESETTER_DIR": str(tmp_path / "elsewhere"),
    }
    assert isinstance(open_transport("disabled", environment=environment), NullTransport)
    transport = open_transport(
        url="https://here.example/", token="given", journal_dir=tmp_path, environment=environment
    )
    assert isinstance(transport, HttpTransport)
    assert (transport._service, transport._token) == ("https://here.example", "given")
    assert transport._root == tmp_path
    other = open_transport(environment=environment)
    assert isinstance(other, HttpTransport)
    assert other._token == "from the environment"
    assert other._root == tmp_path / "elsewhere"
    assert other._timing == Timing()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "set PACESETTER_URL"),
        ({"PACESETTER_MODE": "onlin"}, "online, offline, disabled"),
        ({"PACESETTER_URL": "pace.example"}, "expected https://"),
        ({"PACESETTER_URL": "ftp://pace.example"}, "expected https://"),
        ({"PACESETTER_URL": "https://"}, "expected https://"),
        ({"PACESETTER_URL": "https://pace.example:port"}, "cannot be read"),
        ({"PACESETTER_URL": "https://pace.example/?token=x"}, "PACESETTER_TOKEN"),
        ({"PACESETTER_URL": "http://pace.example"}, "unencrypted"),
    ],
)
def test_what_cannot_work_is_said_at_once(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_transport(environment=environment)


def test_credentials_in_the_url_are_refused_and_not_repeated() -> None:
    for url in ("https://me:hunter2@pace.example", "ftp://me:hunter2@pace.example"):
        with pytest.raises(ConfigurationError) as raised:
            open_transport(url=url, environment={})
        assert "hunter2" not in str(raised.value)


def test_plain_http_needs_consent() -> None:
    environment = {"PACESETTER_URL": "http://pace.internal", "PACESETTER_INSECURE_HTTP": "1"}
    assert isinstance(open_transport(environment=environment), HttpTransport)


def test_disabled_does_nothing_at_all(tmp_path: Path) -> None:
    transport = open_transport("disabled", journal_dir=tmp_path)
    assert transport.register(make_spec(), 10.0) is None
    transport.send(impossible)
    transport.flush()
    assert transport.receive() is None
    assert not transport.wait(1000.0)
    assert (transport.kept_through, transport.silenced, transport.steering) == (None, False, False)
    assert transport.late_registration() is None
    assert transport.close(10.0) == 0
    assert list(tmp_path.iterdir()) == []
