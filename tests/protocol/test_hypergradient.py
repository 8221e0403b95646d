"""A job whose rate is moved by a rule of its own client, with the real controller deciding what comes of it."""

from itertools import pairwise

import httpx
import pacesetter
import pytest
from pacesetter.schedules import Linear, Schedule

from tests.faults.harness import ControllerProcess
from tests.protocol.training import BASE, Training

STEPS, SEARCH = 300, 60
POLICY = Schedule(length=STEPS, body=Linear())


@pytest.fixture(scope="module")
def steered(controller: ControllerProcess) -> Training:
    training = Training(
        controller,
        steps=STEPS,
        strategy="hypergradient",
        strategy_parameters={"beta": 0.05, "guard": False},
        base=POLICY,
        limits=pacesetter.Limits(max_multiplier=3.0),
    )

    for _ in range(SEARCH):
        training.step()
    training.step_until(lambda: training.acknowledgement(2) is not None, STEPS - SEARCH - 1)
    training.finish_training()
    training.run.finish()
    return training


def rule(training: Training) -> list[float]:
    """Return by how much the rule multiplied the schedule at each step of the first group."""
    line = training.main_line()
    return [line[p] / (BASE["body"] * POLICY.at(p)) for p in sorted(line) if p < STEPS - 1]


def test_the_rate_moves_at_every_step_within_its_bounds_and_then_stands(steered: Training) -> None:
    multipliers = rule(steered)
    assert len(set(multipliers[2 : SEARCH - 1])) == SEARCH - 3
    assert all(0.05 <= each <= 3.0 * (1.0 + 1e-9) for each in multipliers)
    assert all(max(a / b, b / a) <= 1.1 + 1e-9 for a, b in pairwise(multipliers[: SEARCH - 1]))
    answer = steered.acknowledgement(2)
    assert answer is not None
    frozen = multipliers[answer["position"] :]
    assert len(frozen) > 10
    assert frozen == pytest.approx([frozen[-1]] * len(frozen))


def test_what_was_found_is_in_the_log_and_is_what_is_trained_at(steered: Training) -> None:
    events = steered.controller.events(steered.job, "decision")
    numbers = {event["body"]["code"]: event["body"]["numbers"] for event in events}
    found = numbers["base_lr_found"]
    assert found["multiplier"] == pytest.approx(rule(steered)[-1])
    assert found["lr"] == pytest.approx(BASE["body"] * found["multiplier"])
    assert found["rows"] == 15


def test_groups_keep_their_ratios_and_the_first_step_is_verified(steered: Training) -> None:
    for _, _, rates, _ in steered.rows:
        assert rates["head"] / rates["body"] == pytest.approx(BASE["head"] / BASE["body"])
        assert rates["bias"] / rates["body"] == pytest.approx(BASE["bias"] / BASE["body"])
    for seq in (1, 2):
        answer = steered.acknowledgement(seq)
        assert answer is not None
        verified = {
            group["group"].split("/")[-1]: group["verification"] for group in answer["groups"]
        }
        assert (verified["body"], verified["head"]) == ("verified", "verified")


def test_the_main_line_names_its_rule_and_is_not_exported_as_a_schedule(steered: Training) -> None:
    path = f"/v1/jobs/{steered.job}/schedule"
    pieces = steered.controller.get(path)["pieces"]
    assert [bool(piece["feedback"]) for piece in pieces if piece["seq"] > 0] == [True, False]
    reply = httpx.get(f"{steered.controller.url}{path}", params={"format": "csv"})
    assert (reply.status_code, reply.json()["code"]) == (409, "MAIN_LINE_REGULATED")
