"""A run of Tune whose process is killed, and goes on by ``Tuner.restore``."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ray import tune

from tests.client.integrations.trainables import STEPS, waits
from tests.faults.harness import ControllerProcess, eventually

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.usefixtures("ray")]


def test_a_restored_run_goes_on_with_the_trials_that_it_held(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    (tmp_path / "gate").write_text("2")
    command = [sys.executable, "-m", "tests.client.integrations.interrupted"]
    with (tmp_path / "first.log").open("w") as log:
        first = subprocess.Popen(
            [*command, controller.url, str(tmp_path)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def trials() -> list[dict[str, object]]:
        found = controller.get("/v1/experiments", page_size=100)["experiments"]
        if not found:
            return []
        path = f"/v1/experiments/{found[0]['id']}/trials"
        listed: list[dict[str, object]] = controller.get(path)["trials"]
        return listed

    def kept() -> bool:
        files = (tmp_path / "run").glob("searcher-state-*.pkl")
        return any(file.read_text().count('"lease"') == 2 for file in files)

    def caught_whole() -> bool:
        """Stop the run, and let it go on where it was just writing: Tune's own state is not replaced at once."""
        os.kill(first.pid, signal.SIGSTOP)
        try:
            for state in (tmp_path / "run").glob("experiment_state-*.json"):
                json.loads(state.read_text())
        except ValueError:
            os.kill(first.pid, signal.SIGCONT)
            return False
        return True

    try:
        eventually(lambda: [one["step"] for one in trials()] == [2, 2], "two trials at step 2")
        eventually(kept, "both of them in what Tune keeps")
        eventually(caught_whole, "a moment at which Tune does not write")
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    (tmp_path / "gate").write_text(str(STEPS))

    results = tune.Tuner.restore(str(tmp_path / "run"), trainable=waits).fit()

    assert len(results) == 2
    ended = eventually(
        lambda: [one for one in trials() if one["status"] == "done"][1:] and trials(),
        "the ends of both",
    )
    # One lease each: nobody claimed them anew, and none was given up.
    assert [(one["attempts"], one["loss"]) for one in ended] == [(1, 1.0 / STEPS)] * 2
