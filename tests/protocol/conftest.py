"""A real controller for real clients."""

from collections.abc import Iterator

import pytest

from tests.faults.harness import ControllerProcess


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerProcess]:
    process = ControllerProcess(tmp_path_factory.mktemp("controller"))
    process.start()
    yield process
    process.stop()


@pytest.fixture(autouse=True)
def journal_in_temporary_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACESETTER_DIR", str(tmp_path_factory.mktemp("journal")))
