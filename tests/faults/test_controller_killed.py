"""`kill -9` of the controller at the worst moments: the job ends with the segments it would have had."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Undisturbed, segments_of
from tests.faults.harness import (
    SHORTEST_PAUSE,
    ControllerProcess,
    JobProcess,
    eventually,
    main_line,
)

pytestmark = pytest.mark.faults


def recorded_steps(controller: ControllerProcess, job: str) -> Counter[int]:
    """Return how often each optimizer step of the job was recorded."""
    curve = controller.get(f"/v1/jobs/{job}/curve", columns="loss", max_points=20_000)
    return Counter(int(step) for step in curve["columns"]["step"])


def ended_segments(controller: ControllerProcess, external_id: str) -> int:
    """Return how many segments of the job have ended so far."""
    job = controller.job_id(external_id)
    return 0 if job is None else len(controller.events(job, "segment_ended"))


def sent(controller: ControllerProcess, job: str) -> list[dict[str, Any]]:
    """Return every segment of the job that is not superseded."""
    segments: list[dict[str, Any]] = controller.get(f"/v1/jobs/{job}/segments", after=0)["segments"]
    return segments


def assert_as_undisturbed(
    controller: ControllerProcess, name: str, rows: list[dict[str, Any]], undisturbed: Undisturbed
) -> None:
    job = controller.job_id(name)
    assert job is not None
    assert segments_of(controller, job) == undisturbed.segments
    assert main_line(rows) == main_line(undisturbed.rows)
    assert recorded_steps(controller, job) == Counter(range(1, len(rows) + 1))


@pytest.mark.parametrize("decision", [2, 6])
def test_killed_during_a_suggestion_and_restarted(
    controller: ControllerProcess, tmp_path: Path, undisturbed: Undisturbed, decision: int
) -> None:
    name = f"suggestion-{decision}"
    job = JobProcess(tmp_path, "job", controller.url, name)
    eventually(
        lambda: ended_segments(controller, name) >= decision,
        "a probe to end",
        longest_pause=SHORTEST_PAUSE,
    )
    controller.kill()
    controller.start()
    assert_as_undisturbed(controller, name, job.finish(), undisturbed)


def test_killed_during_a_suggestion_on_postgresql(
    postgresql_url: str, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    controller = ControllerProcess(tmp_path / "controller", postgresql_url)
    try:
        controller.start()
        job = JobProcess(tmp_path, "job", controller.url, "killed")
        eventually(
            lambda: ended_segments(controller, "killed") >= 3,
            "a probe to end",
            longest_pause=SHORTEST_PAUSE,
        )
        controller.kill()
        controller.start()
        assert_as_undisturbed(controller, "killed", job.finish(), undisturbed)
    finally:
        controller.stop()


def test_killed_right_after_a_report_and_restarted(
    controller: ControllerProcess, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    job = JobProcess(tmp_path, "job", controller.url, "reported")

    def has_measurements() -> bool:
        known = controller.job_id("reported")
        return known is not None and bool(controller.events(known, "measurements"))

    eventually(has_measurements, "the first rows", longest_pause=SHORTEST_PAUSE)
    controller.kill()
    controller.start()
    assert_as_undisturbed(controller, "reported", job.finish(), undisturbed)


def test_restarted_after_the_waiting_bound_falls_back_and_is_steered_again(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    options = ("--waiting", "0.5", "--await-segment", "400")
    job = JobProcess(tmp_path, "job", controller.url, "late", *options)
    eventually(lambda: ended_segments(controller, "late") >= 2, "a probe to end")
    controller.kill()
    # By then the job has fallen back: no probe is that long.
    eventually(lambda: len(job.rows()) >= 400, "the job to go on by itself")
    controller.start()
    rows = job.finish()
    known = controller.job_id("late")
    assert known is not None
    fell_back = controller.events(known, "fell_back")[0]
    follows = fell_back["body"]["follows"]
    assert any(s["after"] == follows and s["when"] == "now" for s in sent(controller, known))
    later = [
        event["segment"]
        for event in controller.events(known, "acknowledgement")
        if event["number"] > fell_back["number"] and event["body"]["status"] == "applied"
    ]
    assert later, "the job was not steered again after its fallback"
    assert sorted(main_line(rows)) == list(range(1000))
    assert recorded_steps(controller, known) == Counter(range(1, len(rows) + 1))


def test_away_for_the_middle_third_loses_nothing(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    gates = ("--gate", f"333:{first}", f"666:{second}")
    job = JobProcess(tmp_path, "job", controller.url, "away", "--strategy", "fixed", *gates)
    eventually(lambda: len(job.rows()) >= 333, "the first third")
    controller.kill()
    first.touch()
    eventually(lambda: len(job.rows()) >= 666, "the middle third, without the controller")
    controller.start()
    second.touch()
    rows = job.finish()
    known = controller.job_id("away")
    assert known is not None
    assert [row["position"] for row in rows] == list(range(1000))
    assert recorded_steps(controller, known) == Counter(range(1, 1001))
