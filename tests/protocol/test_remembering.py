"""What one training found is the next one's prior, with the real client, the real controller and real trainings."""

import time
from typing import Any

import pacesetter
import pytest

from tests.faults.harness import ControllerProcess
from tests.protocol.training import Training

STEPS, BATCH = 1600, 32.0
TARGET = pacesetter.Target(family="lines", batch_tokens=BATCH, regime="finetune")
DEADLINE_SECONDS = 30.0


def trained(controller: ControllerProcess, **parameters: Any) -> Training:
    """Return a training that has ended, and whose curve is kept."""
    training = Training(
        controller,
        strategy="zero_tuning",
        strategy_parameters=parameters,
        steps=STEPS,
        target=TARGET,
    )
    training.finish_training()
    training.run.finish()
    curve_of(controller, training)
    return training


def curve_of(controller: ControllerProcess, training: Training) -> str:
    ends = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < ends:
        curves = controller.get("/v1/curves", job=training.job)["curves"]
        if curves:
            return str(curves[0]["id"])
        time.sleep(0.1)
    raise AssertionError("the job's curve did not come")


def remembered(controller: ControllerProcess, training: Training) -> dict[str, Any] | None:
    """Return what a job said that it was told by others; None where it was told nothing."""
    bodies = [event["body"] for event in controller.events(training.job, "decision")]
    said = [body["numbers"] for body in bodies if body["code"] == "remembered"]
    return said[0] if said else None


@pytest.fixture(scope="module")
def three(controller: ControllerProcess) -> list[Training]:
    return [trained(controller) for _ in range(3)]


def test_each_job_is_told_more_surely_than_the_one_before(
    controller: ControllerProcess, three: list[Training]
) -> None:
    first, second, third = (remembered(controller, one) for one in three)
    assert first is None
    assert second is not None
    assert third is not None
    assert (second["runs"], third["runs"]) == (1, 2)
    assert third["sd"] < 0.95 * second["sd"] < 2.0  # practice alone knows it to three octaves
    assert abs(third["log2_lr"] - second["log2_lr"]) < 2.0 * second["sd"]
    # What the others found is in the first event, as it was then, though a third one has ended since.
    registered = controller.events(three[1].job, "registered")[0]["body"]
    assert registered["priors"]["peak"]["sd"] == pytest.approx(second["sd"])


def test_a_recommendation_rests_on_their_curves_and_the_memory_says_how_much(
    controller: ControllerProcess, three: list[Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACESETTER_URL", controller.url)
    ids = {curve_of(controller, one) for one in three}
    parameters = sum(one.numel() for one in three[0].model.parameters())
    target = TARGET.model_copy(update={"parameters": parameters, "tokens": STEPS * BATCH})
    found = pacesetter.recommend(target)
    assert found.status == "ok"
    weights = {one.id: one.weight for one in found.evidence if one.kind == "run" and one.weight}
    assert set(weights) == ids
    (kind,) = controller.get("/v1/memory", family="lines")["kinds"]
    assert kind["runs"] == 3
    assert {one["curve"] for one in kind["told_by"] if one["weight"]} == ids
    assert kind["peak"]["sd_octaves"] < second_sd(controller, three)


def second_sd(controller: ControllerProcess, three: list[Training]) -> float:
    second = remembered(controller, three[1])
    assert second is not None
    return float(second["sd"])


def test_a_job_that_does_not_want_to_be_told_is_not(
    controller: ControllerProcess, three: list[Training]
) -> None:
    assert remembered(controller, trained(controller, remember=False)) is None


def test_a_curve_that_is_left_out_is_told_to_nobody(
    controller: ControllerProcess, three: list[Training]
) -> None:
    curves = controller.get("/v1/curves", family="lines")["curves"]
    for one in curves:
        reply = controller.api.patch(f"/v1/curves/{one['id']}", json={"excluded": True})
        assert reply.status_code == 200, reply.text
    assert controller.get("/v1/memory", family="lines")["kinds"] == []
    assert remembered(controller, trained(controller)) is None
