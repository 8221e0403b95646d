"""`kill -9` of the job: started again from an older checkpoint, it follows the main line it would have followed."""

from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.harness import ControllerProcess, JobProcess, JobRanks, eventually, main_line

pytestmark = pytest.mark.faults

CHECKPOINT_AT, KILLED_AT = 200, 700


class Interrupted:
    """A job that saved a checkpoint at 200 and stands at a gate, on the main line at 700 or in a later probe."""

    def __init__(
        self,
        controller: ControllerProcess,
        folder: Path,
        undisturbed: Undisturbed,
        where: str,
        name: str,
    ) -> None:
        on_main = where == "main"
        step = undisturbed.step_at(KILLED_AT if on_main else 300, main=on_main)
        step += 0 if on_main else 2
        self.controller, self.folder, self.name = controller, folder, name
        self.gate, self.checkpoint = folder / "gate", folder / "checkpoint.pt"
        options = ("--save-at", str(CHECKPOINT_AT), "--gate", f"{step}:{self.gate}")
        self.process = self._start("first", *options)
        eventually(lambda: len(self.process.rows()) >= step, f"the job to reach step {step}")

    def resumed(self, *options: str) -> JobProcess:
        return self._start("second", "--resume", *options)

    def _start(self, label: str, *options: str) -> JobProcess:
        checkpoint = ("--checkpoint", str(self.checkpoint))
        url = self.controller.url
        return JobProcess(self.folder, label, url, self.name, *checkpoint, *options)

    def ledger(self) -> tuple[int, int, int]:
        """Return the probe steps that were sent and kept, those that the cap allows, and the steps done again."""
        view = self.controller.get(f"/v1/jobs/{self._job}/ledger")
        allowed = int(view["overhead_cap"] * view["budget"])
        return view["planned_probe"], allowed, view["redone"]

    def seqs(self) -> list[int]:
        page = self.controller.get(f"/v1/jobs/{self._job}/segments", after=0, wait=0)
        return [segment["seq"] for segment in page["segments"]]

    @property
    def _job(self) -> str:
        job = self.controller.job_id(self.name)
        assert job is not None
        return job


def assert_same_main_line(rows: list[dict[str, object]], undisturbed: Undisturbed) -> None:
    """Rates and losses from the checkpoint on, to the bit."""
    expected = {p: lr for p, lr in main_line(undisturbed.rows).items() if p >= CHECKPOINT_AT}
    assert main_line(rows) == expected
    losses = {row["position"]: row["loss"] for row in undisturbed.rows if row["main"]}
    assert {row["position"]: row["loss"] for row in rows if row["main"]} == {
        position: losses[position] for position in expected
    }


@pytest.mark.parametrize("where", ["main", "probe"])
def test_resumes_the_main_line_from_an_older_checkpoint(
    controller: ControllerProcess, tmp_path: Path, undisturbed: Undisturbed, where: str
) -> None:
    job = Interrupted(controller, tmp_path, undisturbed, where, f"killed-{where}")
    job.process.kill()
    assert_same_main_line(job.resumed().finish(), undisturbed)
    planned, allowed, redone = job.ledger()
    assert 0 < planned <= allowed
    # What was not reported before the kill was not recorded, so it cannot count as done again.
    assert 0 < redone <= KILLED_AT - CHECKPOINT_AT


@pytest.mark.parametrize("where", ["main", "probe"])
def test_resumes_while_the_old_process_lives_which_steers_nothing(
    controller: ControllerProcess, tmp_path: Path, undisturbed: Undisturbed, where: str
) -> None:
    job = Interrupted(controller, tmp_path, undisturbed, where, f"zombie-{where}")
    assert_same_main_line(job.resumed().finish(), undisturbed)
    before = job.seqs()
    job.gate.touch()
    rows = job.process.finish()
    assert job.seqs() == before
    assert sorted(main_line(rows)) == list(range(1000))


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_resumes_the_main_line_with_another_number_of_ranks(
    controller: ControllerProcess,
    tmp_path: Path,
    undisturbed: Undisturbed,
    before: int,
    after: int,
) -> None:
    name, checkpoint = f"ranks-{before}-{after}", ("--checkpoint", str(tmp_path / "checkpoint.pt"))
    step = undisturbed.step_at(300, main=False) + 2
    stop = ("--save-at", str(CHECKPOINT_AT), "--gate", f"{step}:{tmp_path / 'gate'}")
    first = JobRanks(before, tmp_path, "first", controller.url, name, *checkpoint, *stop)
    eventually(
        lambda: all(len(rank.rows()) >= step for rank in first.ranks),
        f"every rank to reach step {step}",
    )
    first.kill()
    second = JobRanks(after, tmp_path, "second", controller.url, name, *checkpoint, "--resume")
    for rows in second.finish():
        assert_same_main_line(rows, undisturbed)
    job = controller.job_id(name)
    assert job is not None
    began = controller.events(job, "session_began")
    assert [event["body"]["world_size"] for event in began] == [before, after]
