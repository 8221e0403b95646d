"""`kill -9` of the job: started again from an older checkpoint, it follows the main line it would have followed."""

from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.harness import ControllerProcess, JobProcess, eventually, main_line

pytestmark = pytest.mark.faults

CHECKPOINT_AT, KILLED_AT = 200, 700


def first_probe_after(rows: list[dict[str, object]], position: int) -> int:
    """Return the first step of the first probe that left the main line beyond ``position``."""
    return next(
        int(str(row["step"]))
        for row in rows
        if not row["main"] and int(str(row["position"])) >= position
    )


@pytest.mark.parametrize("where", ["main", "probe"])
@pytest.mark.parametrize("zombie", [False, True], ids=["killed", "old-process-alive"])
def test_resumes_the_main_line_from_an_older_checkpoint(
    controller: ControllerProcess,
    tmp_path: Path,
    undisturbed: Undisturbed,
    where: str,
    zombie: bool,
) -> None:
    rows = undisturbed.rows
    late = next(row["step"] for row in rows if row["main"] and row["position"] == KILLED_AT)
    step = late if where == "main" else first_probe_after(rows, 300) + 2
    gate, checkpoint = tmp_path / "gate", tmp_path / "checkpoint.pt"
    common = ("--checkpoint", str(checkpoint))
    first = JobProcess(
        tmp_path,
        "first",
        controller.url,
        "resumed",
        *common,
        "--save-at",
        str(CHECKPOINT_AT),
        "--gate",
        f"{step}:{gate}",
    )
    eventually(lambda: len(first.rows()) >= step, f"the job to reach step {step}")
    if not zombie:
        first.kill()
    second = JobProcess(tmp_path, "second", controller.url, "resumed", *common, "--resume")
    resumed = second.finish()
    if zombie:
        gate.touch()
        first.finish()
    expected = {p: lr for p, lr in main_line(rows).items() if p >= CHECKPOINT_AT}
    assert main_line(resumed) == expected
    losses = {row["position"]: row["loss"] for row in rows if row["main"]}
    assert {row["position"]: row["loss"] for row in resumed if row["main"]} == {
        position: losses[position] for position in expected
    }


def test_the_old_process_steers_nothing(
    controller: ControllerProcess, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    gate, checkpoint = tmp_path / "gate", tmp_path / "checkpoint.pt"
    step = next(
        row["step"] for row in undisturbed.rows if row["main"] and row["position"] == KILLED_AT
    )
    common = ("--checkpoint", str(checkpoint))
    first = JobProcess(
        tmp_path,
        "first",
        controller.url,
        "zombie",
        *common,
        "--save-at",
        str(CHECKPOINT_AT),
        "--gate",
        f"{step}:{gate}",
    )
    eventually(lambda: len(first.rows()) >= step, f"the job to reach step {step}")
    JobProcess(tmp_path, "second", controller.url, "zombie", *common, "--resume").finish()
    job = controller.job_id("zombie")
    assert job is not None
    before = len(controller.get(f"/v1/jobs/{job}/segments", after=0, wait=0)["segments"])
    gate.touch()
    rows = first.finish()
    assert len(controller.get(f"/v1/jobs/{job}/segments", after=0, wait=0)["segments"]) == before
    assert sorted(main_line(rows)) == list(range(1000))
