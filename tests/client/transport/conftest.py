import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pacesetter.transport import HttpTransport, Timing

from tests.client.transport.fake_service import FakeService
from tests.client.transport.samples import QUICK

OpenTransport = Callable[..., HttpTransport]


@pytest.fixture
def service() -> Iterator[FakeService]:
    service = FakeService()
    service.start()
    yield service
    service.stop()


@pytest.fixture
def open_http(service: FakeService, tmp_path: Path) -> Iterator[OpenTransport]:
    """Opens transports to the service, and closes them at the end."""
    opened: list[HttpTransport] = []

    def open_one(timing: Timing = QUICK, token: str | None = None) -> HttpTransport:
        url = service.url
        transport = HttpTransport(url, lambda: url, token, tmp_path / "journals", timing)
        opened.append(transport)
        return transport

    yield open_one
    service.hanging = False
    for transport in opened:
        transport.close(1.0)
        for thread in transport._threads:
            assert thread.join(10.0), f"{thread.name} did not end"


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="pacesetter")
