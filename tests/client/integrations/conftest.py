"""A controller with short leases, and a Ray of this machine whose files are gone afterwards."""

import os
from collections.abc import Iterator

import pytest
from pacesetter_workers.executors.cluster import Cluster, use_own_token

from tests.faults.harness import ControllerProcess

# Ray reads them when it is imported, which the modules of these tests do.
use_own_token()
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

LEASE_SECONDS = 3


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """Ray with two CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        # Tune writes its own logs of every trial else.
        patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        patch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
        cluster = Cluster("local", 2)
        yield
        cluster.close()


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerProcess]:
    """A controller that runs, with leases of three seconds."""
    process = ControllerProcess(
        tmp_path_factory.mktemp("controller"), PACESETTER_LEASE_SECONDS=str(LEASE_SECONDS)
    )
    process.start()
    yield process
    process.stop()
