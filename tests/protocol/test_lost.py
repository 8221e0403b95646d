"""A job that was given up for lost reports again."""

import sqlite3

from tests.faults.harness import ControllerProcess, eventually
from tests.protocol.training import Training


def test_a_late_report_revives_a_lost_job(controller: ControllerProcess) -> None:
    training = Training(controller)
    training.step()
    job = training.job
    # The reaper's own part, without its five minutes of silence.
    with sqlite3.connect(controller.folder / "pacesetter.db", timeout=30.0) as database:
        database.execute("UPDATE jobs SET status = 'lost' WHERE id = ?", (job,))
    database.close()
    assert controller.get(f"/v1/jobs/{job}")["status"] == "lost"
    training.step_until(lambda: bool(controller.events(job, "revived")), most=390)
    assert controller.get(f"/v1/jobs/{job}")["status"] == "running"
    training.finish_training()
    training.run.finish()
    assert eventually(lambda: controller.get(f"/v1/jobs/{job}")["status"] == "completed", "the end")
