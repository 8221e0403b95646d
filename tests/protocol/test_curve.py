"""A real training leaves its curve by itself: the rates that its main line ran at, and nothing of its probes."""

from typing import Any

import pytest

from tests.faults.harness import ControllerProcess, eventually
from tests.protocol.test_early_finish import finish_early, resumed
from tests.protocol.test_main_line import SEARCH
from tests.protocol.training import BASE, Training

TOTAL = SEARCH["steps"]


def curve_of(controller: ControllerProcess, job: str, steps: int) -> dict[str, Any]:
    """Return the curve of a job once it has so many steps, with its points."""

    def look() -> dict[str, Any] | None:
        found = controller.get("/v1/curves", job=job)["curves"]
        return next((one for one in found if one["record"]["steps"] == steps), None)

    curve = eventually(look, "the curve of the job")
    found: dict[str, Any] = controller.get(f"/v1/curves/{curve['id']}", max_points=2000)
    return found


def test_the_curve_of_a_search_is_its_main_line(controller: ControllerProcess) -> None:
    training = Training(controller, **SEARCH)
    training.finish_training()
    training.run.finish()
    curve = curve_of(controller, training.job, TOTAL)
    main = training.main_line()
    assert curve["columns"]["step"] == [position + 1 for position in sorted(main)]
    assert curve["columns"]["lr"] == pytest.approx([main[place] for place in sorted(main)])
    losses = {place: loss for place, on_main, _, loss in training.rows if on_main}
    assert curve["columns"]["loss"] == pytest.approx([losses[place] for place in sorted(main)])
    record = curve["record"]
    assert (record["source"], record["completed"], record["optimizer"]) == ("job", True, "adamw")
    assert record["workload"]["parameters"] == 2 * 64 * 64 + 2 * 64
    assert record["peak_lr"] == pytest.approx(max(main.values()))


def test_a_job_that_goes_on_after_its_end_has_one_curve_of_it_all(
    controller: ControllerProcess,
) -> None:
    first = Training(controller, **SEARCH)
    early, states = finish_early(first, on_main=True)
    second = resumed(controller, first.external_id, states)
    second.finish_training()
    second.run.finish()
    curve = curve_of(controller, second.job, TOTAL)
    whole = {**first.main_line(), **second.main_line()}
    assert curve["columns"]["lr"] == pytest.approx([whole[place] for place in range(TOTAL)])
    assert curve["record"]["completed"]
    assert early.position < TOTAL


def test_a_controller_that_is_killed_at_the_end_makes_the_curve_when_it_is_back(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, steps=50)
    training.finish_training()
    training.run.finish()
    controller.kill()
    controller.start()
    curve = curve_of(controller, training.job, 50)
    assert curve["columns"]["lr"][0] <= BASE["body"]
    assert len(controller.events(training.job, "curve_kept")) == 1
