"""``law`` with the real client and the real controller: a real training is told its family's law, and asks it."""

import time
from typing import Any

import pacesetter
import pytest

from tests.faults.harness import ControllerProcess, eventually
from tests.protocol.test_budgets import set_budget
from tests.protocol.training import BASE, Training
from tests.service.http.curves import upload

STEPS, LONGER, BATCH = 600, 900, 32.0
PARAMETERS = 8320  # of the training's model
TARGET = pacesetter.Target(family="planned lines", batch_tokens=BATCH, regime="finetune")
FIRST_DECISION = int(0.3 * STEPS)
DEADLINE_SECONDS = 60.0


@pytest.fixture(scope="module")
def law_id(controller: ControllerProcess) -> str:
    """Return the law of two runs of the family that were uploaded: one that falls all the way, and one that holds."""
    for body in ("cosine", "wsd"):
        run = upload(
            body,
            length=STEPS,
            peak=BASE["body"],
            parameters=PARAMETERS,
            **TARGET.model_dump(include={"family", "batch_tokens", "regime"}),
        )
        controller.api.post("/v1/curves", json=run).raise_for_status()
    ends = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < ends:
        for law in controller.get("/v1/laws", family=TARGET.family)["laws"]:
            if len(law["evidence"]) == 2 and not law["problem"]:
                return str(law["id"])
        time.sleep(0.2)
    raise AssertionError("no law of both curves was fitted")


def said(controller: ControllerProcess, training: Training) -> list[dict[str, Any]]:
    return [event["body"] for event in controller.events(training.job, "decision")]


def decisions(controller: ControllerProcess, training: Training) -> list[dict[str, Any]]:
    """Return the numbers behind every decision on the rest of the schedule so far."""
    codes = ("changed", "keep_your_schedule")
    return [body["numbers"] for body in said(controller, training) if body["code"] in codes]


def test_a_job_is_told_its_familys_law_and_asks_it_at_every_decision(
    controller: ControllerProcess, law_id: str
) -> None:
    training = Training(controller, STEPS, strategy="law", target=TARGET)
    training.step_until(lambda: training.run.position > FIRST_DECISION, most=STEPS)
    # A training of a second is over before the laws of its own curve are fitted: hold it until they were asked.
    decided = eventually(lambda: decisions(controller, training), what="a decision")
    assert all(law_id in numbers["laws"] for numbers in decided)
    training.finish_training()
    result = training.run.finish()
    assert (result.position, result.fallbacks) == (STEPS, 0)
    (registered,) = controller.events(training.job, "registered")
    assert [one["id"] for one in registered["body"]["priors"]["laws"]] == [law_id]
    codes = [body["code"] for body in said(controller, training)]
    assert codes[0] == "remembered"
    line = training.main_line()
    assert sorted(line) == list(range(STEPS))
    # Nothing is probed, and no rate lies above the highest that the base schedule has.
    assert all(on_main for _, on_main, _, _ in training.rows)
    assert max(line.values()) <= BASE["body"] * (1.0 + 1e-9)
    assert line[STEPS - 1] < 0.05 * BASE["body"]


def test_another_budget_is_planned_for_at_once(controller: ControllerProcess, law_id: str) -> None:
    limits = pacesetter.Limits(max_budget=LONGER)
    training = Training(controller, STEPS, strategy="law", target=TARGET, limits=limits)
    training.step_until(lambda: training.run.position >= 250, most=600)
    set_budget(training, LONGER)

    def planned() -> list[dict[str, Any]]:
        bodies = said(controller, training)
        return [body for body in bodies if body["code"] == "another_budget"]

    # What is left is trained in less time than it is planned in.
    eventually(planned, "a plan for the new budget")
    training.finish_training()
    assert training.run.finish().position == LONGER
    (changed,) = planned()
    assert (changed["numbers"]["total"], changed["numbers"]["before"]) == (LONGER, STEPS)
    view = controller.get(f"/v1/jobs/{training.job}")
    assert (view["budget"], view["overridden"]) == (LONGER, False)
    line = training.main_line()
    assert sorted(line) == list(range(LONGER))
    assert line[LONGER - 1] < 0.05 * BASE["body"]
