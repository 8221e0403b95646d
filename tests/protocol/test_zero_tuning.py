"""A job that finds its peak rate at the start, with the real client and the real controller."""

import pytest

from tests.faults.harness import ControllerProcess
from tests.protocol.training import BASE, Training

STEPS = 800


@pytest.fixture(scope="module")
def tuned(controller: ControllerProcess) -> Training:
    training = Training(controller, strategy="zero_tuning", steps=STEPS)
    training.finish_training()
    training.run.finish()
    return training


def test_the_search_comes_first_and_the_main_line_is_the_whole_budget(tuned: Training) -> None:
    on_main = [main for _, main, _, _ in tuned.rows]
    first_main = on_main.index(True)
    assert first_main > 0
    assert all(on_main[first_main:])
    assert list(tuned.main_line()) == list(range(STEPS))
    assert tuned.run.on_main_line


def test_main_line_and_search_stay_within_the_cap(tuned: Training) -> None:
    totals = tuned.controller.get(f"/v1/jobs/{tuned.job}/ledger")["totals"]
    assert totals["main_steps"] == STEPS
    assert 0 < totals["probe_steps"] <= 0.15 * STEPS


def test_rungs_and_main_line_start_from_the_same_weights_and_batch(tuned: Training) -> None:
    """The loss of a run's first step is bit for bit that of the untrained model on the first batch."""
    starts = [loss for position, _, _, loss in tuned.rows if position == 0]
    assert len(starts) >= 3  # the range test, a rung and the main line at the least
    assert len(set(starts)) == 1


def test_groups_keep_their_ratios_through_search_and_main_line(tuned: Training) -> None:
    for _, _, rates, _ in tuned.rows:
        assert rates["head"] / rates["body"] == pytest.approx(BASE["head"] / BASE["body"])
        assert rates["bias"] / rates["body"] == pytest.approx(BASE["bias"] / BASE["body"])


def test_the_log_says_what_was_believed_and_why_it_was_bought(tuned: Training) -> None:
    events = tuned.controller.events(tuned.job, "decision")
    decisions = {event["body"]["code"]: event["body"] for event in events}
    assert {"range_test", "turned", "rung", "measured", "main"} <= decisions.keys()
    numbers = decisions["main"]["numbers"]
    assert numbers["log2_lr_low"] < numbers["log2_lr"] < numbers["log2_lr_high"]
    assert numbers["lr"] == pytest.approx(max(tuned.main_line().values()), rel=1e-3)
    assert "handed_over" not in {event["type"] for event in tuned.controller.events(tuned.job)}


def test_a_rate_that_is_trusted_is_not_probed(controller: ControllerProcess) -> None:
    training = Training(
        controller,
        strategy="zero_tuning",
        strategy_parameters={"trust": 1.0, "trust_octaves": 0.1},
        steps=400,
    )
    training.finish_training()
    training.run.finish()
    totals = controller.get(f"/v1/jobs/{training.job}/ledger")["totals"]
    assert (totals["main_steps"], totals["probe_steps"]) == (400, 0)
    assert max(training.main_line().values()) == pytest.approx(BASE["body"] * 0.6556, rel=0.2)
