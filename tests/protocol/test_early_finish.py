"""A search that ends before its budget and is started again where it ended."""

from typing import Any

import pacesetter
import pytest

from tests.faults.harness import ControllerProcess
from tests.protocol.test_main_line import SEARCH
from tests.protocol.training import Training

TOTAL = SEARCH["steps"]


def finish_early(training: Training, *, on_main: bool) -> tuple[pacesetter.Result, dict[str, Any]]:
    """Train to the main line at 60, or into the first probe; return the result and a checkpoint."""
    beyond = 60 if on_main else 0
    while training.run.position < beyond or training.run.on_main_line is not on_main:
        assert not training.run.done
        training.step()
    training.step()
    result = training.run.finish()
    states = {
        "model": training.model.state_dict(),
        "adam": training.adam.state_dict(),
        "sgd": training.sgd.state_dict(),
        "run": training.run.state_dict(),
    }
    return result, states


def resumed(controller: ControllerProcess, external_id: str, states: dict[str, Any]) -> Training:
    again = Training(controller, **SEARCH, external_id=external_id, resume=states["run"])
    again.model.load_state_dict(states["model"])
    again.adam.load_state_dict(states["adam"])
    again.sgd.load_state_dict(states["sgd"])
    return again


@pytest.mark.parametrize("on_main", [True, False])
def test_a_search_that_was_finished_early_is_completed_from_there(
    controller: ControllerProcess, on_main: bool
) -> None:
    undisturbed = Training(controller, **SEARCH)
    undisturbed.finish_training()
    assert undisturbed.run.finish().completed

    first = Training(controller, **SEARCH)
    early, states = finish_early(first, on_main=on_main)
    assert (early.completed, early.position < TOTAL) == (False, True)
    assert controller.get(f"/v1/jobs/{first.job}")["status"] == "failed"

    second = resumed(controller, first.external_id, states)
    assert second.run.position == early.position
    second.finish_training()
    result = second.run.finish()
    assert (result.completed, result.position, result.job) == (True, TOTAL, early.job)
    assert controller.get(f"/v1/jobs/{second.job}")["status"] == "completed"
    # Its own search goes on: the main line is what it would have been, at every position once.
    whole = {**first.main_line(), **second.main_line()}
    assert sorted(second.main_line()) == list(range(early.position, TOTAL))
    assert whole == undisturbed.main_line()
